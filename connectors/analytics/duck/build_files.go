//go:build cgo

package duck

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fairlead/fairlead/connectors"
)

// linkFile takes a file of one generation over into another. The file is never
// opened for writing; where it cannot be linked it is copied.
func linkFile(before, to, path string) error {
	if !filepath.IsLocal(path) || !strings.HasPrefix(path, "data/") {
		return fmt.Errorf("take over %s: it is not below data/", short(path))
	}
	from, target := filepath.Join(before, path), filepath.Join(to, path)
	info, err := os.Lstat(from)
	if err != nil {
		return fmt.Errorf("take over %s: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("take over %s: it is a %s", path, kindOf(info.Mode()))
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		return fmt.Errorf("take over %s: %w", path, err)
	}
	if err := os.Link(from, target); err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	return copyFile(from, target, info)
}

func copyFile(from, to string, info fs.FileInfo) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	defer out.Close()
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close(), os.Chtimes(to, info.ModTime(), info.ModTime())); err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	return nil
}

// seal has a file on the disk for good and says what it is. A hash that is known
// of the same file is not made again.
func seal(to string, f connectors.ManifestFile, known map[string]connectors.ManifestFile) (connectors.ManifestFile, error) {
	file, err := os.Open(filepath.Join(to, f.Path))
	if err != nil {
		return f, fmt.Errorf("seal %s: %w", f.Path, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return f, fmt.Errorf("seal %s: %w", f.Path, err)
	}
	f.Size, f.Modified = info.Size(), info.ModTime().UTC()
	if k, ok := known[f.Path]; ok && k.SHA256 != "" && k.Size == f.Size && k.Modified.Equal(f.Modified) {
		return k, nil
	}
	hash := sha256.New()
	_, err = io.Copy(hash, file)
	if err = errors.Join(err, file.Sync()); err != nil {
		return f, fmt.Errorf("seal %s: %w", f.Path, err)
	}
	f.SHA256 = hex.EncodeToString(hash.Sum(nil))
	return f, nil
}

// syncTree has the names in a directory and those below it on the disk for good.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return syncPath(path)
	})
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}
