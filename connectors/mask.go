package connectors

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/fairlead/fairlead/desired"
)

const (
	hidden = "(sensitive)"
	// shortest is the least length of a value that is hidden wherever it turns up:
	// hiding every "1" would leave nothing to read.
	shortest = 4
	maxText  = 2000 // bytes of an error or a warning that is kept
)

// mask hides the secrets of one spec.
type mask struct {
	values [][]byte // the longest first
	first  [256]bool
}

// newMask hides what a spec says that nobody is to read, also as JSON, URLs and
// basic authentication write it, and each line of what has several.
func newMask(spec desired.ConnectorSpec) *mask {
	m := &mask{}
	for _, secret := range secrets(spec) {
		m.add(secret)
		if strings.Contains(secret, "\n") {
			for line := range strings.Lines(secret) {
				if line = strings.TrimSpace(line); len(line) >= 2*shortest {
					m.add(line)
				}
			}
		}
	}
	slices.SortFunc(m.values, func(a, b []byte) int { return len(b) - len(a) })
	return m
}

func (m *mask) add(v string) {
	if len(v) < shortest {
		return
	}
	quoted, _ := json.Marshal(v) // a string can always be written
	for _, form := range []string{v, string(quoted[1 : len(quoted)-1]), url.PathEscape(v), url.QueryEscape(v), base64.StdEncoding.EncodeToString([]byte(v))} {
		if !slices.ContainsFunc(m.values, func(have []byte) bool { return string(have) == form }) {
			m.values = append(m.values, []byte(form))
			m.first[form[0]] = true
		}
	}
}

// secrets are the values of a spec that are nobody's business.
func secrets(spec desired.ConnectorSpec) (all []string) {
	if f := spec.Files; f != nil {
		for _, v := range f.Headers {
			all = append(all, v)
			if _, rest, found := strings.Cut(v, " "); found { // Bearer …
				all = append(all, rest)
			}
		}
		if f.S3 != nil {
			all = append(all, f.S3.SecretKey)
		}
		if f.GS != nil {
			all = append(all, f.GS.Key)
			all = append(all, keysOf(f.GS.Key)...)
		}
	}
	if s := spec.Keboola; s != nil {
		all = append(all, s.Token)
	}
	if s := spec.BigQuery; s != nil {
		all = append(all, s.Key)
		all = append(all, keysOf(s.Key)...)
	}
	if s := spec.Jira; s != nil {
		all = append(all, s.Token, s.PAT, s.WebhookSecret)
	}
	if s := spec.Postgres; s != nil {
		all = append(all, s.URL)
		if u, err := url.Parse(s.URL); err == nil {
			password, _ := u.User.Password()
			all = append(all, password)
		}
	}
	if s := spec.Program; s != nil {
		for _, v := range s.Env {
			all = append(all, v)
			all = append(all, keysOf(v)...)
		}
	}
	return all
}

// keysOf are the secret fields of the JSON of a service account.
func keysOf(text string) (all []string) {
	var fields map[string]any
	if json.Unmarshal([]byte(text), &fields) != nil {
		return nil
	}
	for name, v := range fields {
		if s, ok := v.(string); ok && strings.Contains(name, "key") {
			all = append(all, s)
		}
	}
	return all
}

func (m *mask) hide(b []byte) []byte {
	out, _ := m.scan(b, true)
	return out
}

// scan hides values from left to right, of two that begin at one place the
// longer. Unless the text is at its end, what may be how a value begins is left.
func (m *mask) scan(b []byte, end bool) (out, left []byte) {
	for i := 0; i < len(b); {
		n, open := m.at(b[i:])
		switch {
		case open && !end:
			return out, b[i:]
		case n > 0:
			out = append(out, hidden...)
			i += n
		default:
			out = append(out, b[i])
			i++
		}
	}
	return out, nil
}

// at is the length of the longest value that b begins with, 0 for none; open
// says that a longer one may be there once there is more.
func (m *mask) at(b []byte) (n int, open bool) {
	if !m.first[b[0]] {
		return 0, false
	}
	for _, v := range m.values {
		switch {
		case len(v) > len(b):
			open = open || bytes.HasPrefix(v, b)
		case bytes.HasPrefix(b, v):
			return len(v), open
		}
	}
	return 0, open
}

// text is a bounded text of a few lines without what is secret.
func (m *mask) text(s string) string {
	s = string(m.hide([]byte(s)))
	s = strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}

// writer hides what is secret in a stream, also where it comes in pieces. Close
// writes what was held back.
func (m *mask) writer(w io.Writer) io.WriteCloser { return &maskWriter{mask: m, to: w} }

type maskWriter struct {
	*mask
	to   io.Writer
	held []byte // may be how a secret begins
}

func (w *maskWriter) Write(p []byte) (int, error) {
	out, left := w.scan(append(w.held, p...), false)
	w.held = bytes.Clone(left)
	_, err := w.to.Write(out)
	return len(p), err
}

func (w *maskWriter) Close() error {
	_, err := w.to.Write(w.hide(w.held))
	w.held = nil
	return err
}
