package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Kind is how something differs from what it should be.
type Kind string

// The kinds of Drift.
const (
	Missing    Kind = "Missing"
	Edited     Kind = "Edited"
	Replaced   Kind = "Replaced" // by a link, a directory, something else
	Mode       Kind = "Mode"
	Owner      Kind = "Owner"
	Unreadable Kind = "Unreadable"
	Damaged    Kind = "Damaged"  // a whole generation, which is not used any more
	Leftover   Kind = "Leftover" // of a crash
	Outdated   Kind = "Outdated" // another pair than the wanted one
)

// Drift is one thing that is not as it should be. It holds nothing secret.
type Drift struct {
	Path     string `json:"path"` // below the directory; "." is the directory itself
	Kind     Kind   `json:"kind"`
	Found    string `json:"found"`
	Expected string `json:"expected"`
}

func (d Drift) String() string {
	return fmt.Sprintf("%s: found %s, expected %s", d.Path, d.Found, d.Expected)
}

// Exposed reports whether a private key may have been read by others.
func (d Drift) Exposed() bool {
	base := path.Base(d.Path)
	if d.Kind != Mode && d.Kind != Owner || base != keyName && base != privkeyName {
		return false
	}
	return d.Kind == Owner || !strings.HasSuffix(d.Found, "00")
}

// Verify says what was changed on disk since it was written. An error says that
// it could not be looked at.
func (s *Store) Verify() ([]Drift, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, err := s.verify()
	if err != nil {
		return list, fmt.Errorf("verify certificate store %s: %w", s.dir, err)
	}
	return list, nil
}

// Restore puts back what Verify tells, and returns it.
func (s *Store) Restore() ([]Drift, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, err := s.mend()
	if err != nil {
		return list, fmt.Errorf("restore certificate store %s: %w", s.dir, err)
	}
	return list, nil
}

func (s *Store) verify() (list []Drift, err error) {
	if d, err := s.place(); d != nil || err != nil {
		if d != nil {
			list = append(list, *d)
		}
		return list, err
	}
	for _, g := range s.gens {
		list = append(list, s.verifyGeneration(g)...)
	}
	if live, any := s.current(); any {
		if d := s.room.compareLink(currentName, live.name()); d != nil {
			list = append(list, *d)
		}
	}
	for _, f := range []*file{s.key, s.csr} {
		if f == nil {
			continue
		}
		if d := s.room.compare(f.name, *f); d != nil {
			list = append(list, *d)
		}
	}
	return list, nil
}

// place tells whether the directory itself is still there and ours. One that
// others own is an error: nothing is written to it.
func (s *Store) place() (*Drift, error) {
	info, err := os.Lstat(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return &Drift{".", Missing, "nothing", "a directory"}, nil
	}
	if err != nil {
		return nil, err
	}
	mine, err := s.room.Stat(".")
	if err != nil {
		return nil, err
	}
	if !os.SameFile(info, mine) {
		if _, err := owned(s.dir); err != nil {
			return nil, err
		}
		return &Drift{".", Replaced, "another directory", "the one that was written to"}, nil
	}
	if info.Mode()&0o022 == 0 {
		if _, err = owned(s.dir); err != nil {
			return nil, err
		}
	}
	if info.Mode().Perm() != dirMode {
		return &Drift{".", Mode, fmt.Sprintf("%04o", info.Mode().Perm()), fmt.Sprintf("%04o", dirMode)}, nil
	}
	return nil, nil
}

func (s *Store) verifyGeneration(g Generation) (list []Drift) {
	info, err := s.room.Lstat(g.name())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []Drift{{g.name(), Missing, "nothing", "a directory"}}
	case err != nil:
		return []Drift{{g.name(), Unreadable, err.Error(), "a directory"}}
	case !info.IsDir():
		return []Drift{{g.name(), Replaced, what(info.Mode()), "a directory"}}
	case info.Mode().Perm() != dirMode:
		list = append(list, Drift{g.name(), Mode, fmt.Sprintf("%04o", info.Mode().Perm()), fmt.Sprintf("%04o", dirMode)})
	default:
		if d := s.room.compareOwner(g.name(), info); d != nil {
			return []Drift{*d}
		}
	}
	return append(list, s.room.compareAll(g.name(), g.files())...)
}

func (r room) compareLink(name, target string) *Drift {
	info, err := r.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &Drift{name, Missing, "nothing", "a link to " + target}
	case err != nil:
		return &Drift{name, Unreadable, err.Error(), "a link to " + target}
	case info.Mode()&fs.ModeSymlink == 0:
		return &Drift{name, Replaced, what(info.Mode()), "a link to " + target}
	}
	if to, err := r.Readlink(name); err != nil || to != target {
		return &Drift{name, Edited, fmt.Sprintf("a link to %.100q", to), "a link to " + target}
	}
	return nil
}

// mend puts everything back that is not as it is in memory. Generations come
// first, the link to one of them after.
func (s *Store) mend() (mended []Drift, err error) {
	d, err := s.place()
	if err != nil {
		return nil, err
	}
	if d != nil {
		mended = append(mended, *d)
		if err := s.replacePlace(d); err != nil {
			return nil, err
		}
	}
	list, err := s.verify()
	if err != nil {
		return mended, err
	}
	byName := map[string]file{}
	for _, g := range s.gens {
		for _, f := range g.files() {
			byName[path.Join(g.name(), f.name)] = f
		}
	}
	for _, f := range []*file{s.key, s.csr} {
		if f != nil {
			byName[f.name] = *f
		}
	}
	for _, d := range list {
		if err := s.mendOne(d, byName); err != nil {
			return mended, fmt.Errorf("put back %s: %w", d.Path, err)
		}
		mended = append(mended, d)
	}
	return mended, nil
}

func (s *Store) replacePlace(d *Drift) error {
	if d.Kind == Mode {
		return s.room.Chmod(".", dirMode)
	}
	opened, err := s.enter()
	if err != nil {
		return err
	}
	old := s.room
	s.room = opened
	return old.Close()
}

func (s *Store) mendOne(d Drift, byName map[string]file) error {
	if f, isFile := byName[d.Path]; isFile {
		if d.Kind == Replaced {
			if err := s.room.RemoveAll(d.Path); err != nil { // a directory is in the way of a rename
				return err
			}
		}
		return s.room.replace(d.Path, f)
	}
	if d.Path == currentName {
		live, _ := s.current()
		if d.Kind == Replaced {
			if err := s.room.RemoveAll(d.Path); err != nil {
				return err
			}
		}
		return s.room.link(currentName, live.name())
	}
	for _, g := range s.gens {
		switch {
		case g.name() != d.Path:
		case d.Kind == Mode:
			return s.room.Chmod(d.Path, dirMode)
		default:
			if err := s.room.RemoveAll(d.Path); err != nil {
				return err
			}
			return s.room.directory(g.name(), dirMode, g.files())
		}
	}
	return errors.New("nobody knows what it should be")
}
