//go:build cgo

package duck

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

const extractFile = "extract.duckdb"

// takeExtract checks an extract.duckdb as far as that goes without DuckDB, and
// gives it another name in a directory of ours: there nothing lies beside it
// that DuckDB would take for its log, and it is the very file that was checked.
func takeExtract(path, rel, to string, most int64) (string, error) {
	if f := regular(path, rel, most); f != nil {
		return "", f
	}
	if err := noLog(path, rel); err != nil {
		return "", err
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", wrong(badMissing, rel, short(errors.Unwrap(err).Error()), "let the user that Fairlead runs as read it")
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > most {
		return "", wrong(badFileKind, rel, "it changed while it was looked at", "leave it alone once it is there")
	}
	head := make([]byte, headerBytes)
	n, err := io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", wrong(badDamage, rel, short(err.Error()), "write it anew")
	}
	if _, f := probeHeader(rel, head[:n]); f != nil {
		return "", f
	}
	own := filepath.Join(to, "taken.duckdb")
	if err := take(file, own); err != nil {
		return "", fmt.Errorf("take %s: %w", rel, err)
	}
	return own, noLog(path, rel)
}

// noLog refuses a file that was not closed. A log of an earlier file would be
// merged into this one without a word (DuckDB 1.5.6).
func noLog(path, rel string) error {
	if _, err := os.Lstat(path + ".wal"); !errors.Is(err, fs.ErrNotExist) {
		return wrong(badWAL, rel, "there is "+rel+".wal beside it: it was not closed, or the log is of an earlier file",
			"close the database before it is renamed to extract.duckdb, and remove an old .wal first")
	}
	return nil
}

// take links an open file under another name, or copies it where that cannot be.
func take(file *os.File, to string) error {
	open := fmt.Sprintf("/proc/self/fd/%d", file.Fd())
	if unix.Linkat(unix.AT_FDCWD, open, unix.AT_FDCWD, to, unix.AT_SYMLINK_FOLLOW) == nil {
		return nil
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.Copy(out, file); err != nil {
		return err
	}
	return out.Close()
}
