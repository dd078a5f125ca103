package program

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/reconciler"
)

// command is what is started for the files of a tier a connector: what the spec
// says, or the one file that is called extractor.
func command(dir string, run []string) ([]string, error) {
	if len(run) > 0 {
		return run, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look for the program: %w", err)
	}
	var found []fs.DirEntry
	var names []string
	for _, e := range entries {
		if name := e.Name(); !e.IsDir() && (name == "extractor" || strings.HasPrefix(name, "extractor.")) {
			found, names = append(found, e), append(names, name)
		}
	}
	const hint = "have one extractor.py, extractor.sh or executable extractor in the directory, or say what to start with run"
	switch len(found) {
	case 0:
		return nil, reconciler.Terminal(connectors.WithHint(fmt.Errorf("look for the program: there is no file extractor.* in the connector's directory"), hint))
	case 1:
		return start(filepath.Join(dir, names[0]))
	}
	return nil, reconciler.Terminal(connectors.WithHint(fmt.Errorf("look for the program: it may be any of %s", strings.Join(names, ", ")), hint))
}

// start is how a file is started.
func start(path string) ([]string, error) {
	name := filepath.Base(path)
	switch filepath.Ext(name) {
	case ".py":
		return []string{"python3", name}, nil
	case ".sh":
		return []string{"sh", name}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("look for the program: %w", err)
	}
	if info.Mode().Perm()&0o111 == 0 {
		return nil, reconciler.Terminal(connectors.WithHint(fmt.Errorf("look for the program: %s is not executable", name),
			fmt.Sprintf("git update-index --chmod=+x %s, or say how it is started with run", name)))
	}
	return []string{"./" + name}, nil
}
