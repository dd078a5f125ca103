package desired

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

type unsupportedKey struct{ field, instead string }

// unsupported are the keys whose machinery this version does not have: they
// are read and checked, and using one is a problem. Deleting a line is all it
// takes to let a key through.
var unsupported = []unsupportedKey{
	{"policy.requireSignedCommits", "protect the followed branch: let the git host refuse commits without a signature"},
	{"policy.allowedSigners", "protect the followed branch: let the git host refuse commits without a signature"},
}

const notYet = "not supported by this version of Fairlead"

// checkSupported reports what is used of the above.
func (p *parsed) checkSupported() {
	for _, u := range unsupported {
		if p.has(u.field) {
			p.add(u.field, notYet, u.instead)
		}
	}
	p.checkSecrets()
}

// refused says whether a field is, or is in, an unsupported one.
func refused(field string) bool {
	return slices.ContainsFunc(unsupported, func(u unsupportedKey) bool {
		rest, ok := strings.CutPrefix(field, u.field)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

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
