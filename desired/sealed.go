package desired

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
)

// secretsFile holds the values of secret references, encrypted.
const secretsFile = "secrets.enc.yaml"

// kept is what secrets.enc.yaml has.
type kept struct {
	names  []string
	values map[string]string // nil where no host is meant
}

// readSecrets reads the file of secrets, if there is one. Where no host is
// meant it is read as far as that goes without a key.
func (l *loader) readSecrets() error {
	file := path.Join(l.dir, secretsFile)
	data, err := readBounded(l.fsys, file)
	if err != nil || data == nil {
		return err
	}
	if l.in.Secrets == nil {
		l.problems = append(l.problems, Problem{File: file, Text: "cannot be read here: nothing that decrypts is at hand"})
		l.in.AnyHost = true
		return nil
	}
	var problems Problems
	if l.kept.names, err = l.in.Secrets.Names(file, data); err == nil && !l.in.AnyHost {
		l.kept.values, err = l.in.Secrets.Open(file, data)
	}
	if errors.As(err, &problems) {
		l.problems = append(l.problems, problems...)
		l.in.AnyHost = true // references stay: each of them would be told of as missing
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	return nil
}

// values are those of secret references: what the host's own .env says is
// stronger than secrets.enc.yaml.
func (l *loader) values(host map[string]string) map[string]string {
	if len(l.kept.values) == 0 {
		return host
	}
	all := maps.Clone(l.kept.values)
	maps.Copy(all, host)
	return all
}

// composeValues fills in the secrets of compose.env, and gives the compose
// files what they refer to themselves.
func (l *loader) composeValues(host map[string]string) ComposeValues {
	f := l.filler(&l.file.document, l.values(host))
	before := len(l.secrets)
	out := ComposeValues{Env: map[string]string{}}
	if l.file.Compose != nil {
		for _, name := range sortedKeys(l.file.Compose.Env) {
			out.Env[name] = f.checked(join("compose.env", name), l.file.Compose.Env[name], "envValue")
		}
	}
	l.noteHostSecrets("compose.env", f.wanted)
	out.Sensitive = slices.Clone(l.secrets[before:])
	out.Secret = func(name string) (string, bool) {
		if l.in.AnyHost {
			if !slices.Contains(l.kept.names, name) {
				l.wanted = append(l.wanted, name)
			}
			return "${secret:" + name + "}", true
		}
		value := f.env[name]
		f.hide(value, value)
		return value, value != ""
	}
	return out
}

// setHint says how a secret gets a value.
func (l *loader) setHint(name string) string {
	return fmt.Sprintf("fairlead secret set %[1]s %[2]s; or write %[2]s=VALUE into instances/%[1]s/local/.env of the host's data directory", l.name, name)
}
