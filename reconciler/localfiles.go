package reconciler

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

const (
	maxLocalFiles = 1000
	maxLocalBytes = 16 << 20
)

// localFiles opens the host-only files of an instance and digests them; the
// file system is nil when there are none.
func localFiles(dir string) (files fs.FS, digest string, done func(), err error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", func() {}, nil
	}
	if err != nil {
		return nil, "", nil, fmt.Errorf("read host files: %w", err)
	}
	digest, err = digestFiles(root.FS())
	if err != nil {
		return nil, "", nil, errors.Join(fmt.Errorf("read host files in %s: %w", dir, err), root.Close())
	}
	return root.FS(), digest, func() { _ = root.Close() }, nil
}

func digestFiles(fsys fs.FS) (string, error) {
	sum, count, left := sha256.New(), 0, int64(maxLocalBytes)
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := fsys.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		fmt.Fprintf(sum, "%q ", name)
		n, err := io.Copy(sum, io.LimitReader(f, left+1))
		count, left = count+1, left-n
		if left < 0 || count > maxLocalFiles {
			return fmt.Errorf("more than %d files or %d MiB; it is meant for a few small ones", maxLocalFiles, maxLocalBytes>>20)
		}
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)[:16]), err
}
