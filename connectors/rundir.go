package connectors

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/sirupsen/logrus"
)

// What is in the directory of a run.
const (
	outDir     = "out"     // what the run leaves; removed once it is published
	programDir = "program" // the files of a program; removed with it
	logFile    = "log"
)

func (o Options) runsDir(instance, source string) string {
	return filepath.Join(o.Dir, instance, "runs", source)
}

func (o Options) runDir(instance, source string, id int64) string {
	return filepath.Join(o.runsDir(instance, source), strconv.FormatInt(id, 10))
}

// freeBytes is what a user of the disk that dir is on may still write.
func freeBytes(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("ask for the free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// makeRunDir makes the directory of a run, with an empty out/, if the disk has
// room for it.
func (o Options) makeRunDir(dir string) error {
	o.step("make run directory")
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	if err := o.roomFor(filepath.Dir(dir)); err != nil {
		return err
	}
	for _, d := range []string{dir, filepath.Join(dir, outDir)} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return fmt.Errorf("make run directory: %w", err)
		}
	}
	return nil
}

func (o Options) roomFor(dir string) error {
	if o.MinFree < 0 {
		return nil
	}
	free, err := o.free(dir)
	if err != nil {
		return err
	}
	if free >= o.MinFree {
		return nil
	}
	err = fmt.Errorf("run connector: the disk of %s has %s free, and a run needs %s", dir, sizeText(free), sizeText(o.MinFree))
	return WithHint(err, "make room on the disk, or keep fewer generations of the data; what is attached stays")
}

func sizeText(n int64) string {
	const mib = 1 << 20
	if n < 10*1024*mib {
		return fmt.Sprintf("%d MiB", n/mib)
	}
	return fmt.Sprintf("%d GiB", n/mib/1024)
}

// clearRun removes all of a run but its log.
func (o Options) clearRun(dir string) error {
	o.step("clear run directory")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.Name() != logFile || !e.Type().IsRegular() {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// pruneRuns removes the directories of all runs but those that are kept, and of
// these all but the log unless the run is under way. What is not a run's is left.
func (o Options) pruneRuns(instance, source string, keep []int64, running int64) error {
	dir := o.runsDir(instance, source)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		id, ok := runID(e)
		path := filepath.Join(dir, e.Name())
		switch {
		case !ok || id == running:
		case slices.Contains(keep, id):
			err = errors.Join(err, o.clearRun(path))
		default:
			o.step("remove run directory")
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	if err != nil {
		return fmt.Errorf("clean up runs of %s: %w", source, err)
	}
	return nil
}

// runID is the number of the run that a directory is of.
func runID(e fs.DirEntry) (int64, bool) {
	id, err := strconv.ParseInt(e.Name(), 10, 64)
	return id, err == nil && id > 0 && e.IsDir() && strconv.FormatInt(id, 10) == e.Name()
}

// highestRun is the highest number of a run's directory, for a register that
// was lost.
func (o Options) highestRun(instance, source string) (highest int64) {
	entries, _ := os.ReadDir(o.runsDir(instance, source))
	for _, e := range entries {
		if id, ok := runID(e); ok {
			highest = max(highest, id)
		}
	}
	return highest
}

// openLog opens the log of a run. Nobody but this program writes there, and
// still nothing is followed out of the directory.
func (o Options) openLog(instance, source string, id int64) (*os.File, error) {
	root, err := os.OpenRoot(o.runDir(instance, source, id))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(logFile, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		_ = f.Close()
		return nil, errors.Join(err, errors.New("it is not a file"))
	}
	return f, nil
}

func silent() *logrus.Entry {
	quiet := logrus.New()
	quiet.SetOutput(writerFunc(func(p []byte) (int, error) { return len(p), nil }))
	quiet.SetLevel(logrus.PanicLevel)
	return logrus.NewEntry(quiet)
}
