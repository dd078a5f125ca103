package acme

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"golang.org/x/sys/unix"
)

// The folders of the directory. Each file in the first four is complete in
// itself, so no crash can leave two that do not belong together.
const (
	accountsDir = "accounts"
	pairsDir    = "pairs"
	statesDir   = "states"
	windowsDir  = "windows"
	locksDir    = "locks"
)

const (
	maxFile   = 1 << 20
	lockEvery = 100 * time.Millisecond // how often a lock is tried
)

// store is certmagic's storage with locks of our own, whose writes also survive
// a power cut: certmagic syncs files but not folders.
type store struct{ certmagic.FileStorage }

func newStore(dir string) *store { return &store{certmagic.FileStorage{Path: dir}} }

func key(folder, name string) string { return folder + "/" + name + ".json" }

// load reads a file into v. The error is fs.ErrNotExist if there is none, and
// errBroken if it holds something else.
func (s *store) load(folder, name string, v any) error {
	f, err := os.Open(s.Filename(key(folder, name)))
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", key(folder, name), err)
	}
	if err := json.Unmarshal(text, v); err != nil || len(text) > maxFile {
		return fmt.Errorf("read %s: %w (%d bytes)", key(folder, name), errBroken, len(text))
	}
	return nil
}

var errBroken = errors.New("the file is damaged")

// save replaces a file by v, all of it or nothing. What is there already is
// not written again.
func (s *store) save(ctx context.Context, folder, name string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", key(folder, name), err)
	}
	text = append(text, '\n')
	if have, err := os.ReadFile(s.Filename(key(folder, name))); err == nil && bytes.Equal(have, text) {
		return nil
	}
	if err := s.Store(ctx, key(folder, name), text); err != nil {
		return fmt.Errorf("write %s: %w", key(folder, name), err)
	}
	return syncDirs(filepath.Join(s.Path, folder), s.Path)
}

func syncDirs(dirs ...string) error {
	for _, dir := range dirs {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		err = d.Sync()
		_ = d.Close() // was only read
		if err != nil {
			return fmt.Errorf("sync %s: %w", dir, err)
		}
	}
	return nil
}

// aside keeps a damaged file under another name for whoever wants to look at it.
func (s *store) aside(folder, name string) error {
	file := s.Filename(key(folder, name))
	err := os.Rename(file, file+".damaged")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// locked runs do while nobody else, in this process or in another, works on the
// same thing. The kernel frees the lock of a process that died.
func (s *store) locked(ctx context.Context, what string, do func() error) error {
	f, err := s.lock(ctx, what)
	if err != nil {
		return fmt.Errorf("lock %s: %w", what, err)
	}
	defer f.Close() // which frees it
	return do()
}

// lock waits for a lock. Its file stays: to remove it would let two others have
// the lock at once.
func (s *store) lock(ctx context.Context, what string) (*os.File, error) {
	dir := filepath.Join(s.Path, locksDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, what+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(lockEvery)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(err, f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-tick.C:
		}
	}
}

// repair makes the directory usable after a crash: it removes what a write left
// half-done, and sets damaged files aside. It returns what it did.
func (s *store) repair() ([]string, error) {
	if err := os.MkdirAll(s.Path, 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	if err := os.Chmod(s.Path, 0o700); err != nil {
		return nil, fmt.Errorf("close directory to others: %w", err)
	}
	var did []string
	for folder, check := range map[string]func(name string) error{
		accountsDir: func(name string) error { _, err := s.account(name); return err },
		pairsDir:    func(name string) error { _, err := s.pair(name); return err },
		statesDir:   func(name string) error { return s.load(statesDir, name, &state{}) },
		windowsDir:  func(name string) error { return s.load(windowsDir, name, &window{}) },
	} {
		names, err := s.names(folder)
		if err != nil {
			return did, err
		}
		for _, file := range names {
			name, whole := strings.CutSuffix(file, ".json")
			switch {
			case strings.HasSuffix(file, ".damaged"):
			case !whole && s.young(folder, file): // another process may be writing it
			case !whole: // the temporary name of a write that did not end
				did = append(did, "removed "+folder+"/"+file)
				err = os.Remove(filepath.Join(s.Path, folder, file))
			case errors.Is(check(name), errBroken):
				did = append(did, "set aside the damaged "+folder+"/"+file)
				err = s.aside(folder, name)
			}
			if err != nil {
				return did, fmt.Errorf("repair %s/%s: %w", folder, file, err)
			}
		}
	}
	return did, nil
}

func (s *store) names(folder string) (names []string, err error) {
	entries, err := os.ReadDir(filepath.Join(s.Path, folder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look at %s: %w", folder, err)
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// young reports whether a file was written just now, or is gone.
func (s *store) young(folder, file string) bool {
	info, err := os.Stat(filepath.Join(s.Path, folder, file))
	return err != nil || time.Since(info.ModTime()).Abs() < 10*time.Second
}
