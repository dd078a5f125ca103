package desired

import (
	"fmt"
	"io/fs"
	"path"
)

// unread notes the files of a directory without instance.yaml that one would
// have Fairlead read: without it they are not Fairlead's.
func unread(tree fs.FS, dir string, ours bool) (notes []string, err error) {
	if ours {
		return nil, nil
	}
	there, err := isFile(tree, path.Join(dir, secretsFile))
	if err != nil {
		return nil, err
	}
	found, _, err := connectorFiles(tree, dir)
	if err != nil {
		return nil, err
	}
	if there {
		found = append(found, secretsFile)
	}
	for _, f := range found {
		notes = append(notes, fmt.Sprintf("%s is not read: there is no instance.yaml", f))
	}
	return notes, nil
}
