package analytics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/connectors"
)

const (
	tmpPrefix   = ".tmp-"    // how names begin that a crash may leave
	currentLink = "current"  // leads to the generation that counts
	numberFile  = ".number"  // the last number that was given
	lockFile    = ".lock"    // is held while something is written
	asideSuffix = ".damaged" // <n>.damaged says why generation n is not used
)

// ErrLocked says that another process writes to a source.
var ErrLocked = errors.New("another process writes to this source; stop the second daemon of this data directory")

// generation is one that is whole.
type generation struct {
	number   int
	dir      string
	manifest *connectors.Manifest
	// touched are the times of files that are good although they have another one
	// than was published: their content was compared.
	touched map[string]time.Time
}

// store keeps the generations of one source. What is in memory is what was on
// the disk when it was opened and what was done since: nobody else writes there.
type store struct {
	dir, source string
	writing     chan struct{} // holds a value while somebody writes
	step        func(string)  // tells a test what is about to be done

	mu      sync.Mutex
	gens    map[int]*generation
	damaged map[int]string // why a generation is not used
	current int            // 0: none
	last    int            // number that was given
}

// openStore reads what is there, and removes what a crash left.
func openStore(dir, source string, step func(string)) (*store, error) {
	s := &store{dir: dir, source: source, step: step, writing: make(chan struct{}, 1), gens: map[int]*generation{}, damaged: map[int]string{}}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("open source %s: %w", source, err)
	}
	if err := s.sweep(); err != nil && !errors.Is(err, ErrLocked) {
		return nil, fmt.Errorf("open source %s: %w", source, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open source %s: %w", source, err)
	}
	for _, e := range entries {
		s.admit(e)
	}
	s.readNumbers()
	return s, nil
}

func (s *store) at(step string) {
	if s.step != nil {
		s.step(step)
	}
}

// admit takes note of one entry of the directory.
func (s *store) admit(e fs.DirEntry) {
	name, aside := strings.CutSuffix(e.Name(), asideSuffix)
	n, err := strconv.Atoi(name)
	if err != nil || n < 1 || strconv.Itoa(n) != name {
		return
	}
	if s.last = max(s.last, n); aside {
		reason, _ := os.ReadFile(filepath.Join(s.dir, e.Name()))
		s.damaged[n] = string(reason)
		return
	}
	g, err := s.read(n)
	if err != nil {
		if s.damaged[n] == "" {
			s.damaged[n] = err.Error()
		}
		return
	}
	s.gens[n] = g
}

func (s *store) read(n int) (*generation, error) {
	dir := s.path(n)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	m, err := readManifest(root, s.source)
	if err != nil {
		return nil, err
	}
	if m.Generation != n {
		return nil, fmt.Errorf("the manifest is of generation %d", m.Generation)
	}
	return &generation{number: n, dir: dir, manifest: m}, nil
}

func (s *store) path(n int) string { return filepath.Join(s.dir, strconv.Itoa(n)) }

// readNumbers finds which generation counts, and the last number that was given.
func (s *store) readNumbers() {
	if target, err := os.Readlink(filepath.Join(s.dir, currentLink)); err == nil {
		s.current, _ = strconv.Atoi(target)
	}
	if s.gens[s.current] == nil || s.damaged[s.current] != "" {
		s.current = 0
	}
	if data, err := os.ReadFile(filepath.Join(s.dir, numberFile)); err == nil {
		n, _ := strconv.Atoi(strings.TrimSpace(string(data)))
		s.last = max(s.last, n)
	}
}

// lock waits until nobody else of this process writes to the source, and fails
// when another process does.
func (s *store) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case s.writing <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := os.MkdirAll(s.dir, 0o750); err != nil { // somebody may have removed it since it was opened
		<-s.writing
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(s.dir, lockFile), os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err == nil {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			return func() { free(f); <-s.writing }, nil
		}
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrLocked
		}
		_ = f.Close()
	}
	<-s.writing
	return nil, err
}

// free gives a lock back by name, not by closing alone: a child that is between
// fork and exec has the file open too, and would hold the lock for that long.
func free(f *os.File) {
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
	_ = f.Close()
}

// sweep removes what a crash left. What another process writes is not touched.
func (s *store) sweep() error {
	unlock, err := s.lock(context.Background())
	if err != nil {
		return err
	}
	defer unlock()
	left, err := filepath.Glob(filepath.Join(s.dir, tmpPrefix+"*"))
	for _, path := range left {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

// next gives a number that was never given before. It is on disk before it is
// used, so that it is not given again.
func (s *store) next() (int, error) {
	s.mu.Lock()
	n := s.last + 1
	s.mu.Unlock()
	s.at("number")
	if err := s.replace(numberFile, []byte(strconv.Itoa(n)+"\n")); err != nil {
		return 0, fmt.Errorf("number a generation: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = n
	return n, nil
}

// replace puts a file in the place of another in one step.
func (s *store) replace(name string, data []byte) error {
	tmp := filepath.Join(s.dir, tmpPrefix+name)
	s.at("write " + name)
	if err := writeFile(tmp, data, 0o640); err != nil {
		return err
	}
	s.at("rename " + name)
	return s.rename(tmp, filepath.Join(s.dir, name))
}

func (s *store) rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		_ = os.RemoveAll(from)
		return err
	}
	s.at("sync the directory of " + filepath.Base(to))
	return syncDir(filepath.Dir(to))
}

// setCurrent makes a generation the one that counts, in one step.
func (s *store) setCurrent(n int) error {
	s.mu.Lock()
	had := s.current
	s.mu.Unlock()
	if had == n {
		return nil
	}
	tmp := filepath.Join(s.dir, tmpPrefix+currentLink)
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("make generation %d current: %w", n, err)
	}
	s.at("link current")
	if err := os.Symlink(strconv.Itoa(n), tmp); err != nil {
		return fmt.Errorf("make generation %d current: %w", n, err)
	}
	s.at("flip current")
	if err := s.rename(tmp, filepath.Join(s.dir, currentLink)); err != nil {
		return fmt.Errorf("make generation %d current: %w", n, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = n
	return nil
}

// setAside says that a generation is not to be used any more. Its files stay, as
// a worker may read the good ones of them still, until prune removes them.
func (s *store) setAside(n int, reason string) error {
	s.mu.Lock()
	s.damaged[n] = reason
	if s.current == n {
		s.current = 0
	}
	s.mu.Unlock()
	return s.replace(strconv.Itoa(n)+asideSuffix, []byte(reason))
}

// good are the generations that may be used, the newest first.
func (s *store) good() (list []*generation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, g := range s.gens {
		if s.damaged[n] == "" {
			list = append(list, g)
		}
	}
	slices.SortFunc(list, func(a, b *generation) int { return b.number - a.number })
	return list
}

// get is a generation that may be used; nil when it is not there.
func (s *store) get(n int) *generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.damaged[n] != "" {
		return nil
	}
	return s.gens[n]
}

func (s *store) currentNumber() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// newestDamaged is the newest generation that is not used, and why.
func (s *store) newestDamaged() (n int, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, why := range s.damaged {
		if at > n {
			n, reason = at, why
		}
	}
	return n, reason
}

// prune removes generations that are older than the keep newest and that nobody
// holds. The caller has the lock.
func (s *store) prune(keep int, held func(n int) bool) error {
	good, newest := s.good(), 0
	kept := map[int]bool{s.currentNumber(): true}
	for i, g := range good {
		if i < keep {
			kept[g.number] = true
		}
		newest = max(newest, g.number)
	}
	s.mu.Lock()
	var gone []int
	for n := range s.gens {
		if !kept[n] && n < newest && !held(n) {
			gone = append(gone, n)
		}
	}
	for n := range s.damaged {
		if s.gens[n] == nil && n < newest && !held(n) {
			gone = append(gone, n)
		}
	}
	s.mu.Unlock()
	slices.Sort(gone)
	return s.remove(gone)
}

// remove takes generations away so that no half of one is ever seen.
func (s *store) remove(list []int) (err error) {
	for _, n := range list {
		tmp := filepath.Join(s.dir, tmpPrefix+"gone-"+strconv.Itoa(n))
		s.at("set aside " + strconv.Itoa(n))
		moved := os.Rename(s.path(n), tmp)
		if moved != nil && !errors.Is(moved, fs.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("remove generation %d of %s: %w", n, s.source, moved))
			continue
		}
		s.mu.Lock()
		delete(s.gens, n)
		delete(s.damaged, n)
		s.mu.Unlock()
		s.at("remove " + strconv.Itoa(n))
		aside := filepath.Join(s.dir, strconv.Itoa(n)+asideSuffix)
		if e := errors.Join(os.RemoveAll(tmp), os.RemoveAll(aside)); e != nil {
			err = errors.Join(err, fmt.Errorf("remove generation %d of %s: %w", n, s.source, e))
		}
	}
	return err
}

// purge removes everything but the last number, which is not given again. The
// caller has the lock.
func (s *store) purge() error {
	if err := os.RemoveAll(filepath.Join(s.dir, currentLink)); err != nil {
		return fmt.Errorf("purge %s: %w", s.source, err)
	}
	s.mu.Lock()
	s.current = 0
	var all []int
	for n := range s.gens {
		all = append(all, n)
	}
	for n := range s.damaged {
		if s.gens[n] == nil {
			all = append(all, n)
		}
	}
	s.mu.Unlock()
	return errors.Join(s.remove(all), syncDir(s.dir))
}

// Generation is one generation of a source, as people are told of it.
type Generation struct {
	Number   int       `json:"number"`
	Identity string    `json:"identity,omitempty"`
	Commit   string    `json:"commit,omitempty"`
	At       time.Time `json:"at,omitzero"`
	Tables   int       `json:"tables"`
	Rows     int64     `json:"rows"`
	Bytes    int64     `json:"bytes"`
	Current  bool      `json:"current,omitempty"`
	Damaged  string    `json:"damaged,omitempty"` // why it is not used
}

// list are all generations, the newest first.
func (s *store) list() (out []Generation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, why := range s.damaged {
		if s.gens[n] == nil {
			out = append(out, Generation{Number: n, Damaged: why})
		}
	}
	for n, g := range s.gens {
		one := Generation{Number: n, Identity: g.manifest.Identity, Commit: g.manifest.Commit, At: g.manifest.At,
			Tables: len(g.manifest.Tables), Current: n == s.current, Damaged: s.damaged[n]}
		for _, t := range g.manifest.Tables {
			one.Rows, one.Bytes = one.Rows+t.Rows, one.Bytes+t.Bytes
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b Generation) int { return b.Number - a.Number })
	return out
}

func encode(v any) ([]byte, error) {
	data, err := json.MarshalIndent(v, "", "  ")
	return append(data, '\n'), err
}
