package git

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// savePack writes a pack and its index into dir. Nothing but dir is touched,
// so that an exchange that fails leaves nothing behind in a repository.
func savePack(r io.Reader, dir string) error {
	tmp := filepath.Join(dir, "tmp.pack")
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("save pack: %w", err)
	}
	defer f.Close()
	n, err := io.Copy(f, io.LimitReader(r, maxPackBytes+1))
	if err != nil {
		return fmt.Errorf("read pack: %w", err)
	}
	if n > maxPackBytes {
		return fmt.Errorf("read pack: %w: more than %d bytes", ErrTooLarge, int64(maxPackBytes))
	}
	if n == 0 {
		return errEmptyPack
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("save pack: %w", err)
	}
	name, err := indexPack(f, dir)
	if err != nil {
		return fmt.Errorf("index pack: %w", err)
	}
	return os.Rename(tmp, filepath.Join(dir, name+".pack"))
}

var errEmptyPack = errors.New("read pack: the server sent none")

// indexPack checks the pack in f and writes its index. It gives the pack's name.
func indexPack(f *os.File, dir string) (name string, err error) {
	defer func() { // go-git's parser reads what a server sent
		if p := recover(); p != nil {
			err = fmt.Errorf("the pack is malformed: %v", p)
		}
	}()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	w := new(idxfile.Writer)
	parser, err := packfile.NewParser(packfile.NewScanner(f), w)
	if err != nil {
		return "", err
	}
	sum, err := parser.Parse()
	if err != nil {
		return "", err
	}
	index, err := w.Index()
	if err != nil {
		return "", err
	}
	name = "pack-" + sum.String()
	out, err := os.OpenFile(filepath.Join(dir, name+".idx"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return "", err
	}
	defer out.Close()
	if _, err := idxfile.NewEncoder(out).Encode(index); err != nil {
		return "", err
	}
	return name, out.Sync()
}

// movePacks lets the packs of from into a repository: pack before index, as
// readers go by the index.
func movePacks(from, to string) error {
	for _, kind := range []string{"*.pack", "*.idx"} {
		files, err := filepath.Glob(filepath.Join(from, kind))
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := os.Rename(f, filepath.Join(to, filepath.Base(f))); err != nil {
				return fmt.Errorf("install pack: %w", err)
			}
		}
	}
	return syncDir(to)
}
