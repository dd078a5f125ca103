package git

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the format of packs is defined with it
	"encoding/binary"
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
	if err := checkPack(f, n); err != nil {
		return fmt.Errorf("read pack: %w", err)
	}
	name, err := indexPack(f, dir)
	if err != nil {
		return fmt.Errorf("index pack: %w", err)
	}
	return os.Rename(tmp, filepath.Join(dir, name+".pack"))
}

// checkPack looks at a pack's header and checksum before go-git parses it:
// the parser allocates for as many objects as the header claims.
func checkPack(f *os.File, size int64) error {
	const header, smallest = 12, 9 // an object is a byte of type and eight of empty deflate at least
	var head [header]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return fmt.Errorf("it ended early: %w", io.ErrUnexpectedEOF)
	}
	count := int64(binary.BigEndian.Uint32(head[8:]))
	if string(head[:4]) != "PACK" || count > size/smallest {
		return errors.New("it is not a pack")
	}
	return verifyTrailer(f, size)
}

// verifyFile checks a pack or an index on disk.
func verifyFile(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return verifyTrailer(f, info.Size())
}

// verifyTrailer compares a file with the SHA-1 of everything before it that is
// at its end (gitformat-pack(5)).
func verifyTrailer(f *os.File, size int64) error {
	if size < 2*sha1.Size {
		return errors.New("it is cut off")
	}
	sum := sha1.New() //nolint:gosec // see the import
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, size-sha1.Size)); err != nil {
		return err
	}
	var want [sha1.Size]byte
	if _, err := f.ReadAt(want[:], size-sha1.Size); err != nil {
		return err
	}
	if !bytes.Equal(sum.Sum(nil), want[:]) {
		return errors.New("it is damaged: its checksum is another")
	}
	return nil
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
