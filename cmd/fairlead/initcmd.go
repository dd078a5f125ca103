package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/git"
)

// starter is what init writes.
//
//go:embed starter
var starter embed.FS

func (c *cli) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init DIR",
		Short: "Make a starter directory, ready to run",
		Long: `Makes a git repository with one commented instance, named after the directory.
The directory must be empty or absent.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return c.init(args[0]) },
	}
}

func (c *cli) init(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("init %s: %w", dir, err)
	}
	if len(entries) > 0 {
		return withHint(fmt.Errorf("init %s: it is not empty", dir),
			"name a new directory; in one that has a compose file already, git init and a commit is all that is needed")
	}
	name, err := nameFor(dir)
	if err != nil {
		return fmt.Errorf("init %s: %w", dir, err)
	}
	files := map[string][]byte{}
	for _, file := range []string{"instance.yaml", "compose.yaml", "README.md", "config/index.html"} {
		content, err := starter.ReadFile("starter/" + file)
		if err != nil {
			return fmt.Errorf("init %s: %w", dir, err)
		}
		files[file] = []byte(strings.ReplaceAll(string(content), "NAME", name))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("init %s: %w", dir, err)
	}
	rev, err := git.Init(dir, files, git.Author{})
	if err != nil {
		return fmt.Errorf("init %s: %w", dir, err)
	}
	fmt.Fprintf(c.out, "Made instance %s in %s, commit %s.\nNext:\n  fairlead validate %s\n  fairlead plan --repo %[2]s\n  fairlead run --repo %[2]s\n",
		name, dir, rev.Short(), dir)
	return nil
}

// nameFor makes the instance's name of the directory's, as the daemon would.
func nameFor(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	name, err := desired.NameOf(noFiles{}, ".", filepath.Base(abs))
	if err != nil {
		return "acme", nil // no name can be made of it
	}
	return name, nil
}

// noFiles is an empty file system.
type noFiles struct{}

func (noFiles) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}
