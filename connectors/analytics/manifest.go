package analytics

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
)

const (
	manifestFile    = "manifest.json"
	manifestVersion = 1
	maxManifest     = 32 << 20 // bytes; thousands of tables with hundreds of columns
	dataDir         = "data"
)

// readManifest reads the manifest of a generation's directory.
func readManifest(root *os.Root, source string) (*connectors.Manifest, error) {
	f, err := openRegular(root, manifestFile)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	return parseManifest(data, source)
}

// parseManifest reads a manifest and checks that it names nothing outside of its
// directory. The file is ours, but a disk or a person may have changed it.
func parseManifest(data []byte, source string) (*connectors.Manifest, error) {
	if len(data) > maxManifest {
		return nil, fmt.Errorf("read manifest: it is longer than %d MiB", maxManifest>>20)
	}
	var m connectors.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	if err := checkManifest(&m, source); err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	return &m, nil
}

func checkManifest(m *connectors.Manifest, source string) error {
	switch {
	case m.Version != manifestVersion:
		return fmt.Errorf("version %d is not one that this program knows (%d)", m.Version, manifestVersion)
	case m.Source != source:
		return fmt.Errorf("it is of source %q, not of %q", m.Source, source)
	case m.Generation < 1:
		return fmt.Errorf("generation %d cannot be", m.Generation)
	}
	seen, files := map[string]bool{}, map[string]bool{}
	for _, t := range m.Tables {
		if seen[fold(t.Name)] {
			return fmt.Errorf("table %q is there twice", t.Name)
		}
		seen[fold(t.Name)] = true
		if err := checkTable(t, files); err != nil {
			return fmt.Errorf("table %q: %w", t.Name, err)
		}
	}
	for _, r := range m.Remotes {
		if !connectors.ValidName(r.Alias) || !connectors.ValidName(r.Extension) || r.TokenEnv != "" && !connectors.ValidEnv(r.TokenEnv) {
			return fmt.Errorf("remote %q: a name is not valid", r.Alias)
		}
	}
	return nil
}

func checkTable(t connectors.ManifestTable, files map[string]bool) error {
	switch {
	case !connectors.ValidName(t.Name):
		return errors.New("the name is not valid")
	case t.QueryMode != desired.QueryLocal && t.QueryMode != desired.QueryRemote && t.QueryMode != desired.QueryMaterialized:
		return fmt.Errorf("query mode %q cannot be", t.QueryMode)
	case t.Rows < 0 || t.Bytes < 0:
		return errors.New("rows or bytes are below zero")
	case t.QueryMode == desired.QueryRemote && t.Remote == nil:
		return errors.New("it is remote and does not say where")
	}
	for _, f := range t.Files {
		if err := checkFile(f); err != nil {
			return fmt.Errorf("file %q: %w", f.Path, err)
		}
		if files[f.Path] {
			return fmt.Errorf("file %q is there twice", f.Path)
		}
		files[f.Path] = true
	}
	return nil
}

func checkFile(f connectors.ManifestFile) error {
	sum, err := hex.DecodeString(f.SHA256)
	switch {
	case !filepath.IsLocal(f.Path) || filepath.Clean(f.Path) != f.Path || !strings.HasPrefix(f.Path, dataDir+"/") || strings.ContainsAny(f.Path, "\x00\\*?["):
		return errors.New("the path is not one below data/")
	case f.Size < 0:
		return errors.New("the size is below zero")
	case err != nil || len(sum) != 32:
		return errors.New("the SHA-256 is none")
	}
	return nil
}

// openRegular opens a regular file; nothing is followed, and a FIFO does not
// hold us up.
func openRegular(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s is not a regular file", name), err, f.Close())
	}
	return f, nil
}

// fold is a name as DuckDB compares names.
func fold(name string) string { return strings.ToLower(name) }
