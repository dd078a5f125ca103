package desired

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// The bounds of a program's directory: it is code, not data.
const (
	maxProgramFile  = 16 << 20
	maxProgramBytes = 64 << 20
	maxProgramFiles = 5000
	maxProgramDepth = 32
)

const connectorsDir = "connectors"

// connectorFiles lists connectors/NAME.yaml and connectors/NAME/connector.yaml,
// relative to an instance's directory, and tells of what looks like one and is
// none. A name that begins with a dot is an editor's, not a connector.
func connectorFiles(tree fs.FS, dir string) (found []string, odd Problems, err error) {
	entries, err := readDir(tree, path.Join(dir, connectorsDir))
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		name := path.Join(connectorsDir, e.Name())
		switch ext := path.Ext(name); {
		case strings.HasPrefix(e.Name(), "."):
		case e.IsDir():
			there, misnamed, err := connectorDir(tree, path.Join(dir, name))
			if err != nil {
				return nil, nil, err
			}
			if there {
				found = append(found, path.Join(name, connectorDirFile))
			} else if misnamed != "" {
				odd.add(Problem{File: path.Join(dir, name, misnamed), Text: "is not read", Hint: "rename it to " + connectorDirFile})
			}
		case ext == ".yaml":
			found = append(found, name)
		case ext == ".yml":
			odd.add(Problem{File: path.Join(dir, name), Text: "is not read", Hint: "rename it to " + strings.TrimSuffix(e.Name(), ext) + ".yaml"})
		}
	}
	return found, odd, nil
}

// connectorDir says whether a directory has a connector.yaml, or else how it is
// misnamed.
func connectorDir(tree fs.FS, dir string) (there bool, misnamed string, err error) {
	if there, err = isFile(tree, path.Join(dir, connectorDirFile)); err != nil || there {
		return there, "", err
	}
	for _, name := range []string{"connector.yml", path.Base(dir) + ".yaml"} {
		if is, err := isFile(tree, path.Join(dir, name)); err != nil || is {
			return false, name, err
		}
	}
	return false, "", nil
}

// programTree is the directory of a connector without its connector.yaml, which
// says when and how it runs and not what it is. What is wrong with it is told in
// the problem; an error is only what makes the answer unknown.
func programTree(fsys fs.FS, dir string) (FileTree, *Problem, error) {
	w := programWalk{fsys: fsys, root: dir}
	err := w.dir(".", 0)
	var odd programProblem
	if errors.As(err, &odd) {
		p := Problem(odd)
		return FileTree{}, &p, nil
	}
	if err != nil {
		return FileTree{}, nil, err
	}
	slices.SortFunc(w.entries, func(a, b FileEntry) int { return strings.Compare(a.Path, b.Path) })
	return FileTree{Entries: w.entries}, nil, nil
}

// programProblem is a Problem on its way out of a walk.
type programProblem Problem

func (p programProblem) Error() string { return Problem(p).String() }

type programWalk struct {
	fsys    fs.FS
	root    string
	entries []FileEntry
	bytes   int64
}

func (w *programWalk) refuse(rel, text, hint string) error {
	return programProblem{File: path.Join(w.root, rel), Text: text, Hint: hint}
}

func (w *programWalk) dir(rel string, depth int) error {
	if depth > maxProgramDepth {
		return w.refuse(rel, fmt.Sprintf("is nested deeper than %d directories", maxProgramDepth), "")
	}
	entries, err := readDir(w.fsys, path.Join(w.root, rel))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(rel, e.Name())
		if e.Name() == ".git" || e.Name() == "__pycache__" || name == connectorDirFile {
			continue
		}
		if err := w.entry(name, e, depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *programWalk) entry(rel string, e fs.DirEntry, depth int) error {
	switch mode := e.Type(); {
	case mode.IsDir():
		return w.dir(rel, depth+1)
	case len(w.entries) >= maxProgramFiles:
		return w.refuse(".", fmt.Sprintf("holds more than %d files", maxProgramFiles), "keep what the program does not need out of it")
	case mode&fs.ModeSymlink != 0:
		return w.link(rel)
	case mode.IsRegular():
		return w.file(rel)
	case mode&fs.ModeIrregular != 0: // how a commit's tree shows one
		return w.refuse(rel, "is a Git submodule, whose files are not in this repository", "vendor them: put a copy of what is needed into the repository")
	}
	return w.refuse(rel, "is neither a file nor a directory", "")
}

func (w *programWalk) link(rel string) error {
	target, err := fs.ReadLink(w.fsys, path.Join(w.root, rel))
	if err != nil {
		return fmt.Errorf("read link %s: %w", path.Join(w.root, rel), err)
	}
	if to := path.Join(path.Dir(rel), target); path.IsAbs(target) || to == ".." || strings.HasPrefix(to, "../") || strings.ContainsRune(target, 0) {
		return w.refuse(rel, "is a symbolic link that leads out of the directory", "put the file itself there")
	}
	w.entries = append(w.entries, FileEntry{Path: rel, Mode: 0o777, Link: target})
	return nil
}

func (w *programWalk) file(rel string) error {
	f, err := w.fsys.Open(path.Join(w.root, rel))
	if err != nil {
		return fmt.Errorf("open %s: %w", path.Join(w.root, rel), err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("stat %s: %w", path.Join(w.root, rel), err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxProgramFile+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", path.Join(w.root, rel), err)
	}
	if len(data) > maxProgramFile {
		return w.refuse(rel, fmt.Sprintf("is larger than %d MiB", maxProgramFile>>20), "fetch it when the program runs, or put it into an image")
	}
	if w.bytes += int64(len(data)); w.bytes > maxProgramBytes {
		return w.refuse(".", fmt.Sprintf("holds more than %d MiB", maxProgramBytes>>20), "keep what the program does not need out of it, or put it into an image")
	}
	w.entries = append(w.entries, FileEntry{Path: rel, Mode: info.Mode().Perm(), Content: data})
	return nil
}
