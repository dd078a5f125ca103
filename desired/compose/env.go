package compose

import (
	"bytes"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"

	"github.com/fairlead/fairlead/desired"
)

// environment is the variables that an interpolation sees.
type environment map[string]string

func (e environment) lookup(name string) (string, bool) { v, ok := e[name]; return v, ok }

// projectEnv reads the .env file of the instance. What instance.yaml sets is
// stronger (SPEC, Interpolation); the process's own environment is not read.
func (l *loader) projectEnv() environment {
	env := environment{}
	name := path.Join(l.in.Dir, ".env")
	f, err := l.tree.read(name, maxEnvFile)
	switch {
	case isMissing(err):
	case err != nil:
		l.problem(at{file: name}, "", err)
	default:
		l.parseEnv(f, name, "", env, l.plainEnv().lookup)
		if f.local {
			l.hostEnv = maps.Clone(env)
		}
	}
	maps.Copy(env, l.fill())
	env["COMPOSE_PROJECT_NAME"] = l.in.Name
	return env
}

// plainEnv are the variables of instance.yaml without those that a secret has
// to be filled into: that needs the .env file first.
func (l *loader) plainEnv() environment {
	env := environment(maps.Clone(l.in.Env))
	maps.DeleteFunc(env, func(_, value string) bool { return strings.Contains(value, secretStart) })
	return env
}

// fill are the variables of instance.yaml with their secrets.
func (l *loader) fill() environment {
	if l.in.Fill == nil {
		return l.in.Env
	}
	values := l.in.Fill(l.hostEnv)
	for _, v := range values.Sensitive {
		l.sensitive(v)
	}
	l.vars.secret = func(name string) (string, bool) {
		value, ok := values.Secret(name)
		if value != secretStart+name+"}" { // which is what stands for it where no host is meant
			l.sensitive(value)
		}
		return value, ok
	}
	return values.Env
}

// parseEnv adds the variables of an env file to vars. Values that came from
// one of the host's own files are sensitive.
func (l *loader) parseEnv(f file, name, format string, vars environment, lookup func(string) (string, bool)) {
	known := len(l.problems)
	defer func() { l.envWrong = l.envWrong || len(l.problems) > known }()
	before := maps.Clone(vars)
	if format == "raw" {
		parseRaw(f.data, vars, lookup)
	} else if err := l.parseDotenv(f, name, vars, lookup); err != nil {
		l.problem(at{file: name, line: lineOf(err)}, "", envError(err))
	}
	if !f.local {
		return
	}
	for k, v := range vars {
		if old, ok := before[k]; !ok || old != v {
			l.sensitive(v)
		}
	}
}

func (l *loader) parseDotenv(f file, name string, vars environment, lookup func(string) (string, bool)) error {
	undefined := map[string]int{}
	return dotenv.ParseWithFormat(bytes.NewReader(f.data), name, vars, func(k string) (string, bool) {
		if v, ok := lookup(k); ok {
			return v, true
		}
		if v, ok := vars[k]; ok {
			return v, true
		}
		line := plainUse(f.data, k)
		if line == 0 {
			return "", false // it has a default
		}
		if undefined[k] == 0 {
			undefined[k] = line
			l.add(desired.Problem{
				File: name, Line: line, Field: k, Text: "the variable " + k + " is not defined",
				Hint: "define it above, or write $$ (or single quotes) for a dollar sign that is meant as one",
			})
		}
		return "", true // so that compose-go does not warn on the process-wide logger
	}, "")
}

// plainUse is the first line of an env file which uses a variable without a
// default, 0 when none does.
func plainUse(data []byte, name string) int {
	use := regexp.MustCompile(`(^|[^$\\])(\$\$)*\$(` + regexp.QuoteMeta(name) + `($|[^A-Za-z0-9_])|\{` + regexp.QuoteMeta(name) + `\})`)
	for i, line := range bytes.Split(data, []byte("\n")) {
		if text := bytes.TrimSpace(line); len(text) > 0 && text[0] != '#' && use.Match(text) {
			return i + 1
		}
	}
	return 0
}

var envLine = regexp.MustCompile(`line (\d+): `)

// envError takes the file's name out of a dotenv error: the problem has it.
func envError(err error) error {
	text := strings.ReplaceAll(err.Error(), "\n", " ")
	if _, after, ok := strings.Cut(text, "Invalid template: "); ok {
		return &fileError{text: "the ${…} is not written correctly: " + after, hint: "write $$ for a dollar sign that is meant as one"}
	}
	if i := envLine.FindStringIndex(text); i != nil {
		text = text[i[1]:]
	}
	if _, ok := err.(*fileError); ok {
		return err
	}
	return &fileError{text: text, hint: "an env file holds NAME=value lines"}
}

func lineOf(err error) int {
	if m := envLine.FindStringSubmatch(err.Error()); m != nil {
		return atoi(m[1])
	}
	return 0
}

// parseRaw reads NAME=value lines and changes nothing in the values, as docker
// run --env-file does.
func parseRaw(data []byte, vars environment, lookup func(string) (string, bool)) {
	for line := range strings.Lines(string(bytes.TrimPrefix(data, []byte("\uFEFF")))) {
		line = strings.TrimLeft(strings.TrimRight(line, "\r\n"), " \t")
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			if value, ok = lookup(strings.TrimSpace(name)); !ok {
				continue
			}
			name = strings.TrimSpace(name)
		}
		vars[name] = value
	}
}

// trivial values would blot out half of a log when redacted.
var trivial = []string{
	"true", "false", "none", "null", "auto", "info", "warn", "warning", "error", "debug", "http", "https",
	"root", "localhost", "production", "development", "staging", "test", "default", "enabled", "disabled",
}

func isTrivial(v string) bool {
	if len(v) < 4 || slices.Contains(trivial, strings.ToLower(v)) {
		return true
	}
	return len(v) < 6 && strings.Trim(v, "0123456789") == ""
}

// sensitive records a value that must not be shown.
func (l *loader) sensitive(value string) {
	for _, v := range append([]string{strings.TrimSpace(value)}, strings.Split(value, "\n")...) {
		v = strings.TrimSpace(v)
		if !isTrivial(v) && len(l.secret) < 1000 {
			l.secret[v] = true
		}
	}
}
