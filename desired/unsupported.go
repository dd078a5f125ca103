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
	{"release.channel", "pin release.version or release.digest"},
	{"upgrade.every", "pin release.version and commit a new one to upgrade"},
	{"upgrade.window", "commit when the change may be applied"},
	{"upgrade.minAge", "commit the new version when it is old enough"},
	{"upgrade.busy", "commit when the application is idle, or fairlead suspend until it is"},
	{"health.service", "give the service a healthcheck in its compose file"},
	{"health.path", "give the service a healthcheck in its compose file"},
	{"health.port", "give the service a healthcheck in its compose file"},
	{"smoke", "give the services healthchecks in the compose files"},
	{"certificates", "mount the files of a certificate that you renew yourself"},
	{"front", "run a proxy as a service, see examples/agnes"},
	{"policy", "review commits before they reach the followed branch"},
	{"notify", "watch fairlead events"},
	{"retain.certificates", "remove it: there are no certificates to keep"},
}

const notYet = "not supported by this version of Fairlead"

// checkSupported reports what is used of the above.
func (p *parsed) checkSupported() {
	pinned := p.Release != nil && (p.Release.Version != "" || p.Release.Digest != "")
	for _, u := range unsupported {
		if !p.has(u.field) || u.field == "release.channel" && pinned {
			continue
		}
		p.add(u.field, notYet, u.instead)
	}
	for _, field := range sortedKeys(p.secrets) {
		line := p.secrets[field]
		if slices.ContainsFunc(unsupported, func(u unsupportedKey) bool {
			return strings.HasPrefix(field, u.field)
		}) {
			continue // said already, for the whole of it
		}
		p.problems.add(Problem{File: p.file, Line: line, Field: field,
			Text: "a secret reference is " + notYet, Hint: "put the value into .env in the host's local/ directory"})
	}
}

// checkDirectory reports the files of an instance's directory whose machinery
// is missing. Without an instance.yaml they are not Fairlead's, and a note
// says that they were not read.
func checkDirectory(tree fs.FS, dir string, ours bool) (notes []string, problems Problems, err error) {
	found, err := connectorFiles(tree, dir)
	if err != nil {
		return nil, nil, err
	}
	const secrets = "secrets.enc.yaml"
	there, err := isFile(tree, path.Join(dir, secrets))
	if err != nil {
		return nil, nil, err
	}
	if there {
		found = append(found, secrets)
	}
	for _, f := range found {
		if !ours {
			notes = append(notes, fmt.Sprintf("%s is not read: there is no instance.yaml", f))
			continue
		}
		hint := "run the connector as a service of a compose file"
		if f == secrets {
			hint = "put the values into .env in the host's local/ directory"
		}
		problems = append(problems, Problem{File: path.Join(dir, f), Text: notYet, Hint: hint})
	}
	return notes, problems, nil
}

// connectorFiles lists connectors/NAME.yaml and connectors/NAME/connector.yaml.
func connectorFiles(tree fs.FS, dir string) ([]string, error) {
	entries, err := readDir(tree, path.Join(dir, "connectors"))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		name := path.Join("connectors", e.Name())
		if e.IsDir() {
			name = path.Join(name, "connector.yaml")
			there, err := isFile(tree, path.Join(dir, name))
			if err != nil {
				return nil, err
			}
			if there {
				found = append(found, name)
			}
		} else if strings.HasSuffix(name, ".yaml") {
			found = append(found, name)
		}
	}
	return found, nil
}
