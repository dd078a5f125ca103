package compose

import (
	"bytes"
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// environment merges env_file and environment in compose's order: a later file
// is stronger than an earlier one, environment is stronger than every file.
func (l *loader) environment(s *types.ServiceConfig) map[string]string {
	vars := environment{}
	own := map[string]*string{}
	for name, value := range s.Environment {
		if value == nil {
			if v, ok := l.env[name]; ok {
				value = &v
			}
		}
		own[name] = value
		if value != nil {
			vars[name] = *value
		}
	}
	lookup := func(name string) (string, bool) {
		if v, ok := l.env[name]; ok {
			return v, true
		}
		if v := own[name]; v != nil {
			return *v, true
		}
		return "", false
	}
	for i, f := range s.EnvFiles {
		l.serviceFile([]string{"services", s.Name, "env_file", itoa(i)}, f.Path, f.Format, bool(f.Required), vars, lookup)
	}
	for _, name := range slices.Sorted(maps.Keys(own)) {
		if value := own[name]; value != nil {
			vars[name] = *value
			continue
		}
		delete(vars, name)
		l.noteAt([]string{"services", s.Name, "environment", name}, "the variable has no value in .env or compose.env, so the container does not get it")
	}
	return filled(vars)
}

// serviceFile adds what an env_file or label_file says to vars.
func (l *loader) serviceFile(p []string, name, format string, required bool, vars environment, lookup func(string) (string, bool)) {
	where := l.locate(p)
	in, host, err := l.stage.where(name, l.in.Dir)
	if err == nil && host {
		err = &fileError{
			text: name + " is a file of the host: nothing is read from there",
			hint: "put it into the repository, or into the instance's local directory on the host",
		}
	}
	if err != nil {
		l.problem(where, where.field, err)
		return
	}
	f, err := l.tree.read(in, maxEnvFile)
	switch {
	case format != "" && format != ".env" && format != "raw":
		l.problem(where, where.field, &fileError{text: "the format " + format + " is not known", hint: "leave it out, or write raw"})
	case isMissing(err) && !required:
	case isMissing(err):
		l.problem(where, where.field, &fileError{
			text: "the file " + in + " does not exist",
			hint: "add it to the repository or to the instance's local directory on the host, or write required: false",
		})
	case err != nil:
		l.problem(where, where.field, err)
	default:
		l.parseEnv(f, in, format, vars, lookup)
	}
}

func (l *loader) labels(s *types.ServiceConfig) map[string]string {
	labels := environment{}
	for i, name := range s.LabelFiles {
		l.serviceFile([]string{"services", s.Name, "label_file", itoa(i)}, name, "", true, labels, labels.lookup)
	}
	maps.Copy(labels, s.Labels)
	return filled(labels)
}

// securityOpt inlines seccomp profiles, as the client of the engine has to.
func (l *loader) securityOpt(s *types.ServiceConfig) []string {
	var out []string
	for i, opt := range s.SecurityOpt {
		name, value, ok := strings.Cut(opt, "=")
		if !ok {
			name, value, ok = strings.Cut(opt, ":")
		}
		p := []string{"services", s.Name, "security_opt", itoa(i)}
		switch {
		case !ok && opt != "no-new-privileges":
			l.wrong(p, opt+" is not a security option", "write NAME=VALUE, or no-new-privileges")
		case name == "seccomp" && value != "unconfined" && value != "builtin":
			if profile, ok := l.seccomp(p, value); ok {
				out = append(out, "seccomp="+profile)
			}
		default:
			out = append(out, opt)
		}
	}
	return out
}

func (l *loader) seccomp(p []string, name string) (string, bool) {
	where := l.locate(p)
	in, host, err := l.stage.where(name, l.in.Dir)
	if err == nil && host {
		err = &fileError{text: name + " is a file of the host: nothing is read from there", hint: "put the profile into the repository"}
	}
	var f file
	if err == nil {
		f, err = l.tree.read(in, maxEnvFile)
	}
	if err != nil {
		l.problem(where, where.field, err)
		return "", false
	}
	var b bytes.Buffer
	if err := json.Compact(&b, f.data); err != nil {
		l.problem(where, where.field, &fileError{text: path.Base(in) + " is not JSON: " + err.Error()})
		return "", false
	}
	return b.String(), true
}
