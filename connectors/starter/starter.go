package starter

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors"
)

//go:embed templates
var templates embed.FS

// placeholder stands for the connector's name in the templates.
const placeholder = "__NAME__"

// Sources are the built-in sources that there are files for.
func Sources() []string { return []string{"bigquery", "files", "jira", "keboola", "postgres"} }

// Write writes the files of a new connector into an instance's directory and
// returns their paths in it. The tier is a, b or c; of c the source is one of
// Sources. It overwrites nothing: what is there already is an error, and then
// nothing is written.
func Write(dir, name, tier, source string) ([]string, error) {
	if !connectors.ValidName(name) {
		return nil, fmt.Errorf("make connector: %q is no name: use letters, digits and _, up to 64, not a digit first", name)
	}
	from, err := chosen(name, tier, source)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("make connector: %w", err)
	}
	defer root.Close()
	if err := free(root, name); err != nil {
		return nil, err
	}
	var written []string
	for _, f := range from {
		if err := copyOut(root, f.from, f.to, name); err != nil {
			for _, w := range written {
				_ = root.Remove(w) // of what was made a moment ago
			}
			return nil, fmt.Errorf("make connector: %w", err)
		}
		written = append(written, f.to)
	}
	return written, nil
}

// file is a template and where it goes.
type file struct{ from, to string }

// chosen are the files of a tier.
func chosen(name, tier, source string) ([]file, error) {
	alone, inside := "connectors/"+name+".yaml", "connectors/"+name+"/"
	if source != "" && tier != "c" {
		return nil, fmt.Errorf("make connector: a source is of tier c, not of %s", tier)
	}
	switch tier {
	case "a":
		return []file{{"a/connector.yaml", inside + "connector.yaml"}, {"a/extractor.py", inside + "extractor.py"},
			{"a/requirements.txt", inside + "requirements.txt"}}, nil
	case "b":
		return []file{{"b/connector.yaml", alone}, {"b/Dockerfile", inside + "Dockerfile"}, {"b/main.py", inside + "main.py"}}, nil
	case "c":
		if !slices.Contains(Sources(), source) {
			return nil, fmt.Errorf("make connector: %q is no built-in source: there are %s", source, strings.Join(Sources(), ", "))
		}
		return []file{{"c/" + source + ".yaml", alone}}, nil
	}
	return nil, fmt.Errorf("make connector: %q is no tier: a is a directory with a program, b an image of its own, c is built in", tier)
}

// free makes sure that nothing has the name. Names are not told by case.
func free(root *os.Root, name string) error {
	entries, err := fs.ReadDir(root.FS(), "connectors")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make connector: %w", err)
	}
	for _, e := range entries {
		stem := e.Name()
		if ext := path.Ext(stem); ext == ".yaml" || ext == ".yml" {
			stem = strings.TrimSuffix(stem, ext)
		}
		if strings.EqualFold(stem, name) {
			return fmt.Errorf("make connector: connectors/%s is there already; take another name, or remove it first", e.Name())
		}
	}
	return nil
}

func copyOut(root *os.Root, from, to, name string) error {
	content, err := templates.ReadFile("templates/" + from)
	if err != nil {
		return err
	}
	if err := root.MkdirAll(path.Dir(to), 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strings.ReplaceAll(string(content), placeholder, name))
	return errors.Join(err, f.Close())
}
