package desired

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// secretPlaces are the fields in which a secret reference is filled in: what
// is sent by a smoke step, what certificates are got and kept by, and where
// notices go.
var secretPlaces = regexp.MustCompile(`^compose\.env\.|^upgrade\.busy\.url$|^smoke\[[0-9]+\]\.((get|post|put|patch|delete)$|headers\.|body($|[.\[]))` +
	`|^certificates\.[^.]*\.(acme\.(issuers\[[0-9]+\]\.)?eab\.macKey$|acme\.dns\.with\.|deliver\[[0-9]+\]\.password$)` +
	`|^notify\[[0-9]+\](\.url|\.secret)?$`)

// smoke are the steps with the host's secrets filled in.
func (l *loader) smoke(p Project) []SmokeStep {
	if len(l.file.Smoke) == 0 || l.file.bad("smoke") {
		return nil
	}
	steps := slices.Clone(l.file.Smoke)
	if l.in.AnyHost {
		l.noteSecrets(steps)
		return steps
	}
	f := l.filler(&l.file.document, p.HostEnv)
	for i := range steps {
		f.step(fmt.Sprintf("smoke[%d]", i), &steps[i])
	}
	return steps
}

// noteSecrets tells which secrets each host has to have.
func (l *loader) noteSecrets(steps []SmokeStep) {
	text, err := json.Marshal(steps)
	if err != nil {
		return // then nothing can be sent either, and was refused
	}
	var names []string
	for _, m := range secretUse.FindAllStringSubmatch(string(text), -1) {
		names = append(names, m[1])
	}
	l.noteHostSecrets("smoke", names)
}

func (l *loader) noteHostSecrets(field string, names []string) {
	l.noteHostSecretsIn(&l.file.document, field, names)
}

func (l *loader) noteHostSecretsIn(doc *document, field string, names []string) {
	names = slices.DeleteFunc(slices.Sorted(slices.Values(names)), func(name string) bool { return slices.Contains(l.kept.names, name) })
	if names = slices.Compact(names); len(names) > 0 {
		l.noteIn(doc, field, "each host needs values for "+strings.Join(names, ", "),
			fmt.Sprintf("fairlead secret set %[1]s NAME; or NAME=VALUE in instances/%[1]s/local/.env of its data directory", l.name))
	}
}

// filler puts the host's values in the place of the secret references of a
// file.
type filler struct {
	*loader
	doc    *document
	own    bool // the file is the host's own
	env    map[string]string
	told   map[string]bool // problems, by field and name
	wanted []string        // names, where no host is meant
}

func (l *loader) filler(doc *document, env map[string]string) *filler {
	return &filler{loader: l, doc: doc, own: l.ownFile(doc.file), env: env, told: map[string]bool{}}
}

func (f *filler) step(at string, s *SmokeStep) {
	for key, text := range map[string]*string{"get": &s.Get, "post": &s.Post, "put": &s.Put, "patch": &s.Patch, "delete": &s.Delete} {
		*text = f.text(at+"."+key, *text, escapeSecret)
	}
	s.Body = f.free(at+".body", s.Body)
	s.Headers = maps.Clone(s.Headers)
	for _, name := range sortedKeys(s.Headers) {
		field := join(at+".headers", name)
		s.Headers[name] = f.text(field, s.Headers[name], strings.TrimSpace)
		if text := syntaxes["headerValue"].text(s.Headers[name]); text != "" && !f.doc.bad(field) {
			f.doc.add(field, text, "the value has a line break or a control character")
		}
	}
}

// free fills in a value of any shape, in a copy.
func (f *filler) free(at string, v any) any {
	switch v := v.(type) {
	case string:
		return f.text(at, v, func(s string) string { return s })
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = f.free(fmt.Sprintf("%s[%d]", at, i), v[i])
		}
		return list
	case map[string]any:
		m := make(map[string]any, len(v))
		for _, key := range sortedKeys(v) {
			m[key] = f.free(join(at, key), v[key])
		}
		return m
	}
	return v
}

// text fills in one text; write is how a value is written at this place. A
// ${ that comes of a value is written $${: what makes the requests would take
// it for a saved variable.
func (f *filler) text(at, text string, write func(string) string) string {
	var b strings.Builder
	end := 0
	for _, m := range secretUse.FindAllStringSubmatchIndex(text, -1) {
		appendText(&b, text[end:m[0]])
		name := text[m[2]:m[3]]
		value, ok := f.env[name]
		if value == "" {
			f.missing(at, name, ok)
		}
		f.hide(value, write(value))
		appendText(&b, strings.ReplaceAll(write(value), "${", "$${"))
		if end = m[1]; strings.HasSuffix(write(value), "$") && strings.HasPrefix(text[end:], "${") &&
			!strings.HasPrefix(text[end:], "${secret:") {
			f.doc.add(at, "the secret "+name+" ends with $, right before ${", "put something between the two, or choose another value")
		}
	}
	appendText(&b, text[end:])
	return b.String()
}

// appendText adds a piece. A ${ that would come about between the two pieces
// is written as a plain one.
func appendText(b *strings.Builder, piece string) {
	if strings.HasSuffix(b.String(), "$") && strings.HasPrefix(piece, "{") {
		b.WriteByte('$')
	}
	b.WriteString(piece)
}

func (f *filler) missing(at, name string, empty bool) {
	if f.told[at+" "+name] {
		return
	}
	f.told[at+" "+name] = true
	text := fmt.Sprintf("this host has no value for the secret %s", name)
	if empty {
		text = fmt.Sprintf("the secret %s is empty on this host", name)
	}
	line := f.doc.secrets[at]
	if line == 0 {
		line = f.doc.line(at)
	}
	f.doc.problems.add(Problem{File: f.doc.file, Line: line, Field: at, Text: text,
		Hint: f.setHint(name)})
}

// lookAtValue is the hint of a value that is not as its place needs it.
const lookAtValue = "look at the value, in secrets.enc.yaml or the host's local/.env"

// minSecret is the least length that is hidden: hiding a shorter text would
// blot out half of every message and still not hide it.
const minSecret = 4

// hide has a value, in each form in which it can turn up, never shown.
func (f *filler) hide(value, written string) {
	if len(strings.TrimSpace(value)) < minSecret {
		return
	}
	forms := append(strings.Split(value, "\n"), written)
	if b, err := json.Marshal(value); err == nil {
		forms = append(forms, string(b[1:len(b)-1]))
	}
	for _, s := range forms {
		if s = strings.TrimSpace(s); len(s) >= minSecret && !slices.Contains(f.secrets, s) {
			f.secrets = append(f.secrets, s)
		}
	}
}

// escapeSecret writes a value so that it stays one piece of a path or a query:
// everything but RFC 3986's unreserved characters is escaped.
func escapeSecret(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}

// checkSecrets refuses references where nothing fills them in.
func (p *parsed) checkSecrets() {
	for _, field := range sortedKeys(p.secrets) {
		if secretPlaces.MatchString(field) {
			continue // filled in
		}
		hint := "it may stand in compose.env, upgrade.busy.url, smoke, notify, and where certificates have credentials"
		if strings.HasPrefix(field, "smoke[") && strings.HasSuffix(field, ".bearer") {
			hint = "write headers: {Authorization: \"Bearer ${secret:NAME}\"}"
		}
		if strings.HasPrefix(field, "certificates.") {
			hint = "a reference holds no secret; bearer names one, without ${secret:}"
		}
		p.problems.add(Problem{File: p.file, Line: p.secrets[field], Field: field,
			Text: "a secret reference is not filled in here", Hint: hint})
	}
}
