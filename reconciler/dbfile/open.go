package dbfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Options say where a database is, and what is known of what is in it.
type Options struct {
	Path    string // of the file
	Copies  string // directory of its copies (Keeper)
	Damaged string // directory for files that were found damaged
	Judge   Judge
	// Fill reports whether what is lost of a bucket may be taken from a copy.
	Fill    func(path []string) bool
	Timeout time.Duration // for another process that has the file
	Now     func() time.Time
}

// Open opens the database, for this process alone. A file that is damaged is put
// aside, and one that holds what can be read of it and of the newest copy takes
// its place: the report says so. It is nil when all was well. Whoever calls it
// keeps others from doing so at the same time.
func Open(o Options) (*bolt.DB, *Report, error) {
	report, err := o.mend()
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", o.Path, err)
	}
	db, err := bolt.Open(o.Path, 0o600, &bolt.Options{Timeout: o.Timeout})
	if err != nil {
		return nil, report, fmt.Errorf("open %s: %w", o.Path, err)
	}
	return db, report, nil
}

// OpenToRead opens the database for reading only, beside others who do. A file
// that is damaged is a *DamagedError, and stays as it is.
func OpenToRead(o Options) (*bolt.DB, error) {
	if err := o.examineShared(); err != nil {
		return nil, fmt.Errorf("open %s: %w", o.Path, err)
	}
	db, err := bolt.Open(o.Path, 0o600, &bolt.Options{Timeout: o.Timeout, ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", o.Path, err)
	}
	return db, nil
}

// examineShared looks at the file while nobody writes to it: bbolt locks it by
// flock(2), which holds files that are open and not processes, so that our lock
// has to be gone before bbolt takes its own.
func (o Options) examineShared() error {
	f, err := os.Open(o.Path)
	if err != nil {
		return err
	}
	defer f.Close() // which ends the lock
	for end := time.Now().Add(o.Timeout); ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || !time.Now().Before(end) {
			return fmt.Errorf("lock: %w", err)
		}
		time.Sleep(lockPause)
	}
	found, err := examine(o.Path, o.Judge)
	if err == nil && len(found.places) > 0 {
		err = &DamagedError{found.places[0].what}
	}
	return err
}

// lockPause is that of bbolt.
const lockPause = 50 * time.Millisecond

// DamagedError says that a file cannot be used as it is.
type DamagedError struct{ What string }

func (e *DamagedError) Error() string { return "it is damaged: " + e.What }

// findings are what a look at a file brought.
type findings struct {
	places []place
	opened int // sealed values that can be opened
	values int
}

// examine looks at a whole file, which nobody writes to. An error says that it
// could not be looked at.
func examine(name string, judge Judge) (findings, error) {
	f, size, err := openFile(name)
	if err != nil {
		return findings{}, err
	}
	defer f.Close()
	pages, err := openPager(f, size)
	if errors.Is(err, errNoMeta) {
		return findings{places: []place{{what: err.Error()}}}, nil
	} else if err != nil {
		return findings{}, err
	}
	var n counter
	s := newScan(pages, judge, &n)
	err = s.run()
	return findings{s.places, s.opened, n.values}, err
}

// counter is a visitor that only counts.
type counter struct{ values int }

func (*counter) bucket([]string, uint64) error          { return nil }
func (c *counter) value([]string, []byte, []byte) error { c.values++; return nil }

// openFile opens a regular file to read it.
func openFile(name string) (*os.File, int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// mend makes sure that the file is one which bbolt can use, or that there is
// none and never was one.
func (o Options) mend() (*Report, error) {
	o.sweep()
	info, err := os.Stat(o.Path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return nil, err
	}
	if missing || info.Size() == 0 {
		if len(o.copies()) == 0 {
			return nil, nil // the first start, or one that was cut off in it
		}
		what := "it is empty"
		if missing {
			what = "it is gone"
		}
		return o.rebuild(findings{places: []place{{what: what}}}, !missing)
	}
	found, err := examine(o.Path, o.Judge)
	if err != nil || len(found.places) == 0 {
		return nil, err
	}
	return o.rebuild(found, true)
}

// The names of what is written before it is renamed.
const unfinished = ".unfinished-"

// sweep removes what a start or a copy that was cut off left.
func (o Options) sweep() {
	for _, dir := range []string{filepath.Dir(o.Path), o.Copies, o.Damaged} {
		left, _ := filepath.Glob(filepath.Join(dir, unfinished+"*"))
		for _, name := range left {
			_ = os.Remove(name)
		}
	}
}

// rebuild puts a new file in the place of the damaged one. Whenever it is cut
// off, either the damaged file is there still, or the new one is whole.
func (o Options) rebuild(found findings, there bool) (*Report, error) {
	r := &Report{At: o.Now().UTC().Truncate(time.Second)}
	fresh := filepath.Join(filepath.Dir(o.Path), unfinished+filepath.Base(o.Path))
	defer os.Remove(fresh)
	if err := o.build(fresh, found, there, r); err != nil {
		return nil, err
	}
	check, err := examine(fresh, o.Judge)
	if err == nil && len(check.places) > 0 && !check.only(found) {
		err = &DamagedError{check.places[0].what}
	}
	if err != nil {
		return nil, fmt.Errorf("check the new file: %w", err)
	}
	if there {
		if r.Kept, err = o.setAside(r.At); err != nil {
			return nil, err
		}
	}
	if err := o.keepReport(r); err != nil {
		return nil, err
	}
	if err := errors.Join(os.Rename(fresh, o.Path), syncDir(filepath.Dir(o.Path))); err != nil {
		return nil, fmt.Errorf("put the new file in place: %w", err)
	}
	return r, nil
}

// only reports whether nothing is wrong but that sealed values of a key cannot be
// told from damaged ones: they were taken over as they are.
func (f findings) only(before findings) bool { return before.opened == 0 && f.opened > 0 }

// build writes the new file.
func (o Options) build(fresh string, found findings, there bool, r *Report) error {
	b, err := newBuilder(fresh)
	if err != nil {
		return err
	}
	if there {
		err = carry(o.Path, o.Judge, found.opened == 0, b)
	}
	r.Read = sum(b.counts)
	places := append(found.places, b.lost...)
	fill := newFiller(b, places, o.Fill)
	if err == nil {
		err = o.fill(fill, r)
	}
	if err != nil {
		return errors.Join(err, b.abandon())
	}
	r.tell(places, fill.filled)
	return b.finish()
}

// carry takes over what can be read of a file.
func carry(name string, judge Judge, lenient bool, v visitor) error {
	f, size, err := openFile(name)
	if err != nil {
		return err
	}
	defer f.Close()
	pages, err := openPager(f, size)
	if err != nil {
		return nil // nothing of it can be read
	}
	s := newScan(pages, judge, v)
	s.lenient = lenient
	return s.run()
}

// fill takes what was lost from the newest copy that is whole, or, when none is,
// from what can be read of them.
func (o Options) fill(f *filler, r *Report) error {
	names := o.copies()
	for _, name := range names {
		if found, err := examine(name, o.Judge); err == nil && len(found.places) == 0 {
			names = []string{name}
			break
		}
	}
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && r.Copy.IsZero() {
			r.Copy = info.ModTime().UTC().Truncate(time.Second)
		}
		if err := carry(name, o.Judge, true, f); err != nil {
			return err
		}
	}
	return nil
}

// copies are the files that there are of Keeper, the newest first.
func (o Options) copies() (names []string) {
	for _, name := range copyNames(o.Copies) {
		if info, err := os.Lstat(name); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			names = append(names, name)
		}
	}
	return names
}

// maxDamaged is how many damaged files are kept.
const maxDamaged = 3

// setAside keeps the damaged file under another name, beside its own.
func (o Options) setAside(at time.Time) (string, error) {
	if err := os.MkdirAll(o.Damaged, 0o700); err != nil {
		return "", fmt.Errorf("keep the damaged file: %w", err)
	}
	kept := o.kept()
	for _, name := range kept { // by a start that was cut off
		if sameFile(name, o.Path) {
			return name, nil
		}
	}
	for len(kept) >= maxDamaged {
		_, _ = os.Remove(kept[0]), os.Remove(kept[0]+reportSuffix)
		kept = kept[1:]
	}
	name := filepath.Join(o.Damaged, filepath.Base(o.Path)+at.Format(".20060102T150405Z"))
	for n := 1; exists(name); n++ {
		name = filepath.Join(o.Damaged, fmt.Sprintf("%s%s-%d", filepath.Base(o.Path), at.Format(".20060102T150405Z"), n))
	}
	err := os.Link(o.Path, name)
	if err != nil { // of file systems without links
		err = os.Rename(o.Path, name)
	}
	if err = errors.Join(err, syncDir(o.Damaged)); err != nil {
		return "", fmt.Errorf("keep the damaged file: %w", err)
	}
	return name, nil
}

// kept are the damaged files, the oldest first: their names begin with the time.
func (o Options) kept() (names []string) {
	all, _ := filepath.Glob(filepath.Join(o.Damaged, filepath.Base(o.Path)+".*"))
	for _, name := range all {
		if !strings.HasSuffix(name, reportSuffix) {
			names = append(names, name)
		}
	}
	return names
}

func sameFile(a, b string) bool {
	one, err1 := os.Stat(a)
	other, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(one, other)
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
