package program

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/reconciler"
)

const (
	// requirementsFile is looked for when the spec names none.
	requirementsFile = "requirements.txt"
	maxRequirements  = 1 << 20 // bytes
	// maxPackages bounds what is installed, in bytes; maxTree what of a program's
	// directory is read to tell whether it changed.
	maxPackages = 4 << 30
	maxTree     = 256 << 20
	pipMemory   = 1 << 30 // some packages are built
	// unusedFor is how long packages are kept that no run used.
	unusedFor  = 30 * 24 * time.Hour
	unfinished = ".new-"
)

// install lets those who want the same packages wait for one to install them.
type install struct {
	turn  chan struct{} // holds a token while somebody installs
	users int
}

// lock waits for the turn to install into a directory.
func (r *Runner) lock(ctx context.Context, dir string) (unlock func(), err error) {
	r.mu.Lock()
	i := r.installs[dir]
	if i == nil {
		i = &install{turn: make(chan struct{}, 1)}
		r.installs[dir] = i
	}
	i.users++
	r.mu.Unlock()
	leave := func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if i.users--; i.users == 0 {
			delete(r.installs, dir)
		}
	}
	select {
	case i.turn <- struct{}{}:
		return func() { <-i.turn; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}

// installer installs the requirements in a file of the program's directory into
// a directory's deps, and may use its build. It returns pip's exit code.
type installer func(ctx context.Context, requirements, into string) (int, error)

// packages returns the directory with the Python packages that the program
// needs; empty when it needs none. They are installed once for an interpreter
// and what is asked for.
func (a *attempt) packages(ctx context.Context, interpreter string, pip installer) (string, error) {
	name, content, err := a.requirements()
	if err != nil || name == "" {
		return "", err
	}
	key, err := packagesKey(a.run.Program, interpreter, content)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	base := filepath.Join(a.cache(a.run.Instance), "python")
	dir := filepath.Join(base, key)
	unlock, err := a.lock(ctx, dir)
	if err != nil {
		return "", err
	}
	defer unlock()
	now := time.Now()
	if os.Chtimes(dir, now, now) == nil {
		return dir, nil
	}
	if err := a.installInto(ctx, dir, name, pip); err != nil {
		return "", err
	}
	a.dropUnused(base, now)
	return dir, nil
}

// requirements reads the file that names packages. No name means that there is
// nothing to install.
func (a *attempt) requirements() (name string, content []byte, err error) {
	root, err := os.OpenRoot(a.run.Program)
	if err != nil {
		return "", nil, fmt.Errorf("open the connector's directory: %w", err)
	}
	defer root.Close()
	name = a.spec.Requirements
	if name == "" {
		name = requirementsFile
		if _, err := root.Stat(name); errors.Is(err, fs.ErrNotExist) {
			return "", nil, nil
		}
	}
	content, err = readSmall(root, name, maxRequirements)
	if err != nil {
		return "", nil, reconciler.Terminal(fmt.Errorf("read %s: %w", name, err))
	}
	for line := range bytes.Lines(content) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return name, content, nil
		}
	}
	return "", nil, nil
}

// readSmall reads a regular file that may not be larger than most.
func readSmall(root *os.Root, name string, most int64) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO does not hold us up
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not an ordinary file")
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("it is larger than %s", bytesText(most))
	}
	return data, err
}

// packagesKey names what is installed. Requirements that name files of the
// directory are others whenever the directory is.
func packagesKey(dir, interpreter string, content []byte) (string, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "1\x00%s\x00%d\x00%s", interpreter, len(content), content)
	if namesFiles(content) {
		if err := hashTree(sum, dir); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:32], nil
}

// namesFiles reports whether requirements refer to files: by an option (-r, -c,
// -f, -e), or by a path (pip, Requirements File Format).
func namesFiles(content []byte) bool {
	for line := range bytes.Lines(content) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && (line[0] == '-' || line[0] == '.') || bytes.Contains(line, []byte("file:")) ||
			bytes.Contains(line, []byte("/")) && !bytes.Contains(line, []byte("://")) || bytes.HasSuffix(line, []byte(".whl")) {
			return true
		}
	}
	return false
}

func hashTree(sum io.Writer, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	left := int64(maxTree)
	return fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := readSmall(root, path, left)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		left -= int64(len(content))
		_, err = fmt.Fprintf(sum, "\x00%s\x00%d\x00%s", path, len(content), content)
		return err
	})
}

// installInto installs beside the directory and renames, so that it is there
// whole or not at all.
func (a *attempt) installInto(ctx context.Context, dir, name string, pip installer) error {
	fail := func(err error) error { return fmt.Errorf("install the packages in %s: %w", name, err) }
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fail(err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), unfinished)
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(tmp)
	deps := filepath.Join(tmp, "deps")
	if err := errors.Join(os.Mkdir(deps, 0o755), os.Mkdir(filepath.Join(tmp, "build"), 0o755)); err != nil {
		return fail(err)
	}
	a.say("installing the packages in %s", name)
	last := &lastLine{to: a.output, wanted: "ERROR"}
	watched, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	end := a.watchTree(watched, tmp, maxPackages, maxInstalled, stop)
	before := a.output
	a.output = last
	code, err := pip(watched, name, tmp)
	a.output = before
	end()
	switch {
	case err != nil:
		return fail(err)
	case code != 0:
		said := hideValues(last.text(), a.spec.Env)
		return connectors.WithHint(fail(fmt.Errorf("pip ended with exit code %d: %s", code, said)),
			"the log of the run has what pip said; its index is set by PIP_INDEX_URL in env")
	}
	if err := publishDir(deps, dir); err != nil {
		return fail(err)
	}
	return nil
}

// publishDir gives a directory its name once all of it is on the disk.
func publishDir(from, to string) error {
	d, err := os.Open(from)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	defer parent.Close()
	return parent.Sync()
}

// dropUnused removes packages that no run used for long. One that is used has
// the time of the run, which is shorter.
func (a *attempt) dropUnused(base string, now time.Time) {
	entries, err := os.ReadDir(base)
	if err != nil {
		a.log.WithError(err).Warn("unused packages of connectors are not removed")
		return
	}
	for _, e := range entries {
		if err := a.dropIfUnused(filepath.Join(base, e.Name()), now); err != nil {
			a.log.WithError(err).Warn("unused packages of a connector are not removed")
		}
	}
}

// dropIfUnused looks, and removes, while nobody else is about to use them.
func (a *attempt) dropIfUnused(dir string, now time.Time) error {
	a.mu.Lock()
	_, busy := a.installs[dir]
	a.mu.Unlock()
	if busy || strings.HasPrefix(filepath.Base(dir), unfinished) {
		return nil
	}
	unlock, err := a.lock(context.Background(), dir)
	if err != nil {
		return err
	}
	defer unlock()
	if info, err := os.Lstat(dir); err != nil || now.Sub(info.ModTime()) < unusedFor {
		return nil
	}
	return os.RemoveAll(dir)
}

func pipArguments(target, requirements string) []string {
	return []string{"-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-cache-dir", "--progress-bar", "off",
		"--target", target, "-r", requirements}
}

// pipEnvironment is what of the declared variables reaches pip, which runs what
// packages bring along: where to install from, and how to get there.
func pipEnvironment(declared map[string]string) (env []string) {
	way := []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"}
	for k, v := range declared {
		if strings.HasPrefix(k, "PIP_") || slices.Contains(way, k) {
			env = append(env, k+"="+v)
		}
	}
	slices.Sort(env)
	return env
}

// hideValues takes the values of declared variables out of a text: any of them
// may be a secret.
func hideValues(text string, declared map[string]string) string {
	for _, v := range declared {
		if len(v) >= 4 {
			text = strings.ReplaceAll(text, v, "(sensitive)")
		}
	}
	return text
}
