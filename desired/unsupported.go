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
	{"policy", "review commits before they reach the followed branch"},
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

// checkDirectory reports the files of an instance's directory whose machinery
// is missing. Without an instance.yaml they are not Fairlead's, and a note
// says that they were not read; so are the files of connectors.
func checkDirectory(tree fs.FS, dir string, ours bool) (notes []string, problems Problems, err error) {
	const secrets = "secrets.enc.yaml"
	there, err := isFile(tree, path.Join(dir, secrets))
	if err != nil {
		return nil, nil, err
	}
	if there && ours {
		return nil, Problems{{File: path.Join(dir, secrets), Text: notYet,
			Hint: "put the values into .env in the host's local/ directory"}}, nil
	}
	if ours {
		return nil, nil, nil
	}
	found, _, err := connectorFiles(tree, dir)
	if err != nil {
		return nil, nil, err
	}
	if there {
		found = append(found, secrets)
	}
	for _, f := range found {
		notes = append(notes, fmt.Sprintf("%s is not read: there is no instance.yaml", f))
	}
	return notes, nil, nil
}
