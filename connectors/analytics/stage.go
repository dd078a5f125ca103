package analytics

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/fairlead/fairlead/connectors"
)

const extractFile = "extract.duckdb"

// stage makes the directory that a generation is built in.
func (s *store) stage(n int) (string, error) {
	dir := filepath.Join(s.dir, tmpPrefix+strconv.Itoa(n))
	s.at("make staging")
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o750)); err != nil {
		return "", fmt.Errorf("stage generation %d: %w", n, err)
	}
	return dir, nil
}

// commit publishes what was built: every file is hashed and on disk, the manifest
// comes last, and then the directory gets its name. On an error nothing is left.
func (s *store) commit(staged string, m *connectors.Manifest, before *generation) (g *generation, err error) {
	defer func() {
		if err != nil {
			_ = os.RemoveAll(staged)
			err = fmt.Errorf("publish generation %d of %s: %w", m.Generation, s.source, err)
		}
	}()
	if err := s.seal(staged, m, before); err != nil {
		return nil, err
	}
	if err := checkManifest(m, s.source); err != nil {
		return nil, err
	}
	data, err := encode(m)
	if err != nil {
		return nil, err
	}
	s.at("write the manifest")
	if err := writeFile(filepath.Join(staged, manifestFile), data, 0o640); err != nil {
		return nil, err
	}
	if err := syncDir(staged); err != nil {
		return nil, err
	}
	s.at("rename the directory")
	if err := s.rename(staged, s.path(m.Generation)); err != nil {
		return nil, err
	}
	g = &generation{number: m.Generation, dir: s.path(m.Generation), manifest: m}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gens[g.number] = g
	return g, nil
}

// seal hashes the files of a manifest, brings everything onto the disk and
// removes what the manifest does not name.
func (s *store) seal(staged string, m *connectors.Manifest, before *generation) error {
	root, err := os.OpenRoot(staged)
	if err != nil {
		return err
	}
	defer root.Close()
	known := knownFiles(before)
	named := map[string]bool{extractFile: true}
	for i := range m.Tables {
		for j := range m.Tables[i].Files {
			f := &m.Tables[i].Files[j]
			if err := s.sealFile(root, f, known, before); err != nil {
				return fmt.Errorf("file %s of table %s: %w", f.Path, m.Tables[i].Name, err)
			}
			named[f.Path] = true
		}
	}
	return s.sealRest(root, named)
}

func knownFiles(g *generation) map[string]connectors.ManifestFile {
	known := map[string]connectors.ManifestFile{}
	if g != nil {
		for _, t := range g.manifest.Tables {
			for _, f := range t.Files {
				known[f.Path] = f
			}
		}
	}
	return known
}

// sealFile fills in what a manifest says of a file. One that is a link to that
// of the generation before, untouched since, was hashed then.
func (s *store) sealFile(root *os.Root, f *connectors.ManifestFile, known map[string]connectors.ManifestFile, before *generation) error {
	s.at("seal " + f.Path)
	in, err := openRegular(root, f.Path)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if past, ok := known[f.Path]; ok && unchanged(info, past) {
		if had, err := os.Lstat(filepath.Join(before.dir, f.Path)); err == nil && os.SameFile(had, info) {
			f.Size, f.SHA256, f.Modified = past.Size, past.SHA256, past.Modified
			return nil
		}
	}
	sum := sha256.New()
	size, err := io.Copy(sum, in)
	if err != nil {
		return err
	}
	if size != info.Size() {
		return fmt.Errorf("it has %d bytes and had %d: something still writes to it", size, info.Size())
	}
	if f.SHA256 != "" && f.SHA256 != hex.EncodeToString(sum.Sum(nil)) {
		return errors.New("it is not what was built: the SHA-256 differs")
	}
	f.Size, f.SHA256, f.Modified = size, hex.EncodeToString(sum.Sum(nil)), info.ModTime().UTC()
	return in.Sync()
}

func unchanged(info fs.FileInfo, f connectors.ManifestFile) bool {
	return info.Size() == f.Size && info.ModTime().Equal(f.Modified)
}

// sealRest syncs directories and what else belongs there, and refuses what is
// neither a directory nor a file.
func (s *store) sealRest(root *os.Root, named map[string]bool) error {
	return fs.WalkDir(root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir():
			return syncIn(root, path)
		case !e.Type().IsRegular():
			return fmt.Errorf("%s is neither a directory nor a file", path)
		case path == extractFile:
			return syncIn(root, path)
		case !named[path]:
			return root.Remove(path)
		}
		return nil
	})
}

func syncIn(root *os.Root, path string) error {
	f, err := root.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// errDamaged says that a file is not what was published. Any other error of a
// check says that it could not be looked at, which is not the same.
var errDamaged = errors.New("it is damaged")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errDamaged}, args...)...)
}

// verify compares the files of a generation with its manifest: size and time,
// and the content when these differ, or in any case when it is asked for. No two
// may do so at a time.
func (g *generation) verify(whole bool) error {
	root, err := os.OpenRoot(g.dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = damaged("its directory is missing")
	}
	if err != nil {
		return fmt.Errorf("check generation %d: %w", g.number, err)
	}
	defer root.Close()
	for _, t := range g.manifest.Tables {
		for _, f := range t.Files {
			if err := g.verifyFile(root, f, whole); err != nil {
				return fmt.Errorf("check generation %d: %s of table %s: %w", g.number, f.Path, t.Name, err)
			}
		}
	}
	return nil
}

func (g *generation) verifyFile(root *os.Root, f connectors.ManifestFile, whole bool) error {
	info, err := root.Lstat(f.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return damaged("it is missing")
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return damaged("it is not a regular file any more")
	case info.Size() != f.Size:
		return damaged("it has %d bytes and had %d when it was published", info.Size(), f.Size)
	case !whole && (unchanged(info, f) || info.ModTime().Equal(g.touched[f.Path])):
		return nil
	}
	in, err := openRegular(root, f.Path)
	if err != nil {
		return err
	}
	defer in.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, in); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != f.SHA256 {
		return damaged("its content was changed since it was published")
	}
	if g.touched == nil {
		g.touched = map[string]time.Time{}
	}
	g.touched[f.Path] = info.ModTime()
	return nil
}

// writeFile makes a file, onto the disk, or leaves none.
func writeFile(path string, data []byte, mode fs.FileMode) error {
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(path)
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
