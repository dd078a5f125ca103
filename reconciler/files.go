package reconciler

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fairlead/fairlead/desired"
)

// filesDir and workDir are the places of an instance's files on this host
// (SPEC, data directory).
func filesDir(home string) string { return filepath.Join(home, "files") }
func workDir(home string) string  { return filepath.Join(home, "work") }

// materialize writes the tracked files of a spec under their hashes and seeds
// the writable binds. What is there already and intact is left as it is.
func materialize(home string, spec desired.Spec) error {
	mounted, programs := mountedFiles(spec), programFiles(spec.Connectors)
	for hash, tree := range spec.Files {
		if programs[hash] && !mounted[hash] {
			continue // kept by who runs them
		}
		if err := writeTree(filepath.Join(filesDir(home), hash), tree); err != nil {
			return fmt.Errorf("write tracked files %s: %w", hash, err)
		}
	}
	for _, name := range spec.ServiceNames() {
		for _, m := range spec.Services[name].Mounts {
			if m.Type != desired.MountWork || m.Seed == "" {
				continue
			}
			tree, here := spec.Files[m.Seed]
			if !here {
				var err error
				if tree, err = readTree(filepath.Join(filesDir(home), m.Seed)); err != nil {
					return fmt.Errorf("read seed of %s: %w", m.Source, err)
				}
			}
			if err := seed(home, m.Source, tree); err != nil {
				return fmt.Errorf("seed %s: %w", m.Source, err)
			}
		}
	}
	return nil
}

// writeTree makes dir hold exactly the tree. It is written beside and renamed,
// so that a path with that hash never holds half of it; what was changed by
// hand is written back in place where it can be.
func writeTree(dir string, tree desired.FileTree) error {
	if mendTree(dir, tree) {
		if _, err := readTree(dir); err == nil {
			return nil
		}
		return writeManifest(dir, tree) // it was lost or damaged
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".tmp-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	for _, e := range tree.Entries {
		if err := writeEntry(tmp, e); err != nil {
			return err
		}
	}
	if err := writeManifest(tmp, tree); err != nil {
		return err
	}
	mode := fs.FileMode(0o755)
	if tree.Secret {
		// The file itself carries the mode that its reader in the container
		// needs; the directory keeps every other user of the host out.
		mode = 0o700
	}
	if err := os.Chmod(tmp, mode); err != nil {
		return err
	}
	return replaceDir(tmp, dir)
}

// replaceDir puts tmp in the place of dir.
func replaceDir(tmp, dir string) error {
	old := ""
	if _, err := os.Lstat(dir); err == nil {
		old = tmp + ".old"
		if err := os.Rename(dir, old); err != nil {
			return err
		}
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	if old != "" {
		_ = os.RemoveAll(old)
	}
	return syncDir(filepath.Dir(dir))
}

func writeEntry(root string, e desired.FileEntry) error {
	name, err := within(root, e.Path)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if e.Link != "" {
		return os.Symlink(e.Link, name)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(e.Content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if e.UID != nil || e.GID != nil {
		if err := os.Lchown(name, orKeep(e.UID), orKeep(e.GID)); err != nil {
			return err
		}
	}
	return os.Chmod(name, e.Mode.Perm())
}

func orKeep(id *int) int {
	if id == nil {
		return -1
	}
	return *id
}

// within joins and refuses a path that leaves root. Loaders make clean paths;
// this is the second lock on the door.
func within(root, name string) (string, error) {
	if !fs.ValidPath(name) || name == "." {
		return "", fmt.Errorf("path %q leaves its directory", name)
	}
	return filepath.Join(root, filepath.FromSlash(name)), nil
}

// intact reports whether dir holds the tree as it was written.
func intact(dir string, tree desired.FileTree) bool {
	for _, e := range tree.Entries {
		name, err := within(dir, e.Path)
		if err != nil || !sameEntry(name, e) {
			return false
		}
	}
	info, err := os.Lstat(dir)
	return err == nil && info.IsDir()
}

func sameEntry(name string, e desired.FileEntry) bool {
	info, err := os.Lstat(name)
	if err != nil {
		return false
	}
	if e.Link != "" {
		link, err := os.Readlink(name)
		return err == nil && link == e.Link
	}
	if !info.Mode().IsRegular() || info.Size() != int64(len(e.Content)) || info.Mode().Perm() != e.Mode.Perm() {
		return false
	}
	content, err := os.ReadFile(name)
	return err == nil && bytes.Equal(content, e.Content)
}

// manifest names what a directory under files/ holds without repeating its
// content, so that a stored generation can be checked and seeded again without
// the repository. It lies beside the directory's content.
type manifest struct {
	Single  bool                `json:"single,omitempty"`
	Secret  bool                `json:"secret,omitempty"`
	Entries []desired.FileEntry `json:"entries"`
}

// The manifest must not appear in the container of a directory mount, so it is
// a hidden sibling: files/.<hash>.json.
func manifestPath(dir string) string {
	return filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+".json")
}

func writeManifest(tmp string, tree desired.FileTree) error {
	m := manifest{Single: tree.Single, Secret: tree.Secret, Entries: make([]desired.FileEntry, len(tree.Entries))}
	for i, e := range tree.Entries {
		e.Content = nil
		m.Entries[i] = e
	}
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	dir := filepath.Join(filepath.Dir(tmp), tree.Hash())
	return os.WriteFile(manifestPath(dir), data, 0o600)
}

// readTree reads back what writeTree wrote.
func readTree(dir string) (desired.FileTree, error) {
	data, err := os.ReadFile(manifestPath(dir))
	if err != nil {
		return desired.FileTree{}, err
	}
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return desired.FileTree{}, fmt.Errorf("read manifest: %w", err)
	}
	tree := desired.FileTree{Single: m.Single, Secret: m.Secret, Entries: m.Entries}
	for i, e := range tree.Entries {
		if e.Link != "" {
			continue
		}
		name, err := within(dir, e.Path)
		if err != nil {
			return tree, err
		}
		if tree.Entries[i].Content, err = os.ReadFile(name); err != nil {
			return tree, err
		}
	}
	if got := tree.Hash(); got != filepath.Base(dir) {
		return tree, fmt.Errorf("content of %s was changed by hand", dir)
	}
	return tree, nil
}

func contentHash(e desired.FileEntry) string {
	return desired.FileTree{Entries: []desired.FileEntry{{Path: e.Path, Link: e.Link, Content: e.Content}}}.Hash()
}

// writeJSON writes a file that is read back after a crash.
func writeJSON(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".tmp-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

// dropFiles removes the tracked files that no kept specification mounts.
func dropFiles(home string, keep map[string]bool) error {
	entries, err := os.ReadDir(filesDir(home))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list tracked files: %w", err)
	}
	for _, e := range entries {
		hash := strings.TrimSuffix(strings.TrimPrefix(e.Name(), "."), ".json")
		if keep[hash] {
			continue
		}
		if err := os.RemoveAll(filepath.Join(filesDir(home), e.Name())); err != nil {
			return fmt.Errorf("remove tracked files: %w", err)
		}
	}
	return nil
}

// mountedFiles lists the keys of Spec.Files that a spec mounts or seeds from.
func mountedFiles(spec desired.Spec) map[string]bool {
	keys := map[string]bool{}
	for _, s := range spec.Services {
		for _, m := range s.Mounts {
			switch m.Type {
			case desired.MountTracked:
				keys[m.Source] = true
			case desired.MountWork:
				keys[m.Seed] = true
			}
		}
	}
	delete(keys, "") // a writable bind without a seed
	return keys
}
