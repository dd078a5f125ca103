package desired

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
)

const instanceFile = "instance.yaml"

// maxLocalFiles bounds the host's own files of an instance, and their
// directories: nobody writes more than a few.
const maxLocalFiles = 1000

var errTooManyLocal = errors.New("too many local files")

// composeNames are the compose files that are read when none are named.
func composeNames() []string {
	return []string{"compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"}
}

// readBounded reads a file of at most maxBytes and one byte more, so that the
// reader of the content sees that there is more. A file that is not there is
// nil.
func readBounded(fsys fs.FS, name string) ([]byte, error) {
	there, err := isFile(fsys, name)
	if err != nil || !there {
		return nil, err
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if data == nil {
		data = []byte{}
	}
	return data, nil
}

// isFile says whether a regular file is there. An error is only what makes the
// answer unknown: absent and unreadable are not the same (law 3).
func isFile(fsys fs.FS, name string) (bool, error) {
	info, err := fs.Stat(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("stat %s: %w", name, err)
	}
	return info.Mode().IsRegular(), nil
}

// readDir lists a directory; one that is not there, or is a file, is empty.
func readDir(fsys fs.FS, name string) ([]fs.DirEntry, error) {
	info, err := fs.Stat(fsys, name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("stat %s: %w", name, err)
	}
	entries, err := fs.ReadDir(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", name, err)
	}
	return entries, nil
}

// findCompose returns the first of the default compose files in a directory.
func findCompose(fsys fs.FS, dir string) (string, error) {
	for _, name := range composeNames() {
		if there, err := isFile(fsys, path.Join(dir, name)); err != nil || there {
			return name, err
		}
	}
	return "", nil
}

// localFiles lists the files of local in order. What is neither a regular file
// nor a directory is a problem: it would be overlooked otherwise.
func localFiles(local fs.FS) (files []string, problems Problems, err error) {
	if local == nil {
		return nil, nil, nil
	}
	seen := 0
	err = fs.WalkDir(local, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			if name == "." && errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return fmt.Errorf("list local files: %w", err)
		}
		if seen++; seen > maxLocalFiles {
			return errTooManyLocal
		}
		switch {
		case e.Type().IsRegular():
			files = append(files, name)
		case !e.IsDir():
			problems = append(problems, Problem{File: path.Join("local", name), Text: "is not a regular file",
				Hint: "put the file itself there, not a link to it"})
		}
		return nil
	})
	if errors.Is(err, errTooManyLocal) {
		return nil, Problems{{File: "local", Text: fmt.Sprintf("holds more than %d files and directories", maxLocalFiles),
			Hint: "keep data under a volume, not under local/"}}, nil
	}
	slices.Sort(files)
	return files, problems, err
}
