package compose

import (
	"strings"

	"github.com/compose-spec/compose-go/v2/template"
)

// wanted is a reference to a variable that has no value, or a text that is no
// valid template.
type wanted struct {
	template string // the whole scalar, by which it is found in the files
	name     string // empty: the template is not valid
	reason   string // what ${NAME:?reason} says
	required bool
}

// variables substitutes ${…} as compose does, and keeps a record of what had
// no value instead of warning on the process-wide logger as compose-go does.
type variables struct {
	wanted []wanted
	home   []string // scalars that begin with ~
	seen   map[wanted]bool
	values map[string]string // by template: what it became
	// secret is the value of a ${secret:NAME}; nil: there are none here.
	secret func(name string) (string, bool)
	// sealed are the scalars with such a reference.
	sealed []string
}

// A reference to a secret is no template of compose. It is made one, of a
// variable that nobody has.
const (
	secretStart  = "${secret:"
	secretPrefix = "_fairlead_secret_"
)

// unsealed makes variables of the references to secrets; $${secret: is none.
func unsealed(text string) string {
	var b strings.Builder
	for {
		at := strings.Index(text, "$")
		if at < 0 || at+1 >= len(text) {
			return b.String() + text
		}
		b.WriteString(text[:at])
		text = text[at:]
		switch {
		case strings.HasPrefix(text, "$$"):
			b.WriteString("$$")
			text = text[2:]
		case strings.HasPrefix(text, secretStart):
			b.WriteString("${" + secretPrefix)
			text = text[len(secretStart):]
		default:
			b.WriteByte('$')
			text = text[1:]
		}
	}
}

// withSecrets looks up secrets beside variables.
func (v *variables) withSecrets(lookup template.Mapping) template.Mapping {
	return func(name string) (string, bool) {
		if secret, is := strings.CutPrefix(name, secretPrefix); is {
			return v.secret(secret)
		}
		return lookup(name)
	}
}

func newVariables() *variables {
	return &variables{seen: map[wanted]bool{}, values: map[string]string{}}
}

func (v *variables) want(w wanted) {
	if !v.seen[w] {
		v.seen[w] = true
		v.wanted = append(v.wanted, w)
	}
}

// substitute has the signature of compose-go's interpolation hook. A missing
// variable is recorded and stood in for, so that everything wrong is found in
// one run.
func (v *variables) substitute(text string, lookup template.Mapping) (string, error) {
	out := text
	if strings.Contains(text, "$") {
		out = v.expand(text, lookup)
		v.values[text] = out
	}
	if strings.HasPrefix(out, "~") {
		v.home = append(v.home, text)
	}
	return out, nil
}

func (v *variables) expand(text string, lookup template.Mapping) string {
	stand, whole := map[string]string{}, text
	if out := unsealed(text); v.secret != nil && out != text {
		text, lookup = out, v.withSecrets(lookup)
		v.sealed = append(v.sealed, whole)
	}
	s := scanner{lookup: lookup, found: func(name, reason string, required bool) {
		v.want(wanted{whole, name, reason, required})
		stand[name] = ""
		if required {
			stand[name] = "1" // not empty, and a number where one is expected
		}
	}}
	s.scan(text)
	out, err := template.Substitute(text, func(name string) (string, bool) {
		if value, ok := stand[name]; ok {
			return value, true
		}
		return lookup(name)
	})
	if err != nil {
		v.want(wanted{template: whole})
		return whole
	}
	return out
}

// scanner finds the references of a template that need a value and have none.
// It follows the grammar of compose-go's template package.
type scanner struct {
	lookup template.Mapping
	found  func(name, reason string, required bool)
}

func (s scanner) scan(text string) {
	for i := 0; i < len(text)-1; {
		switch c := text[i+1]; {
		case text[i] != '$':
			i++
		case c == '$':
			i += 2
		case c == '{':
			end := closing(text[i+1:])
			if end < 0 || !s.braced(text[i+2:i+1+end]) {
				i += 2 // not valid: compose-go reads on behind the brace
				continue
			}
			i += end + 2
		default:
			n := nameLen(text[i+1:])
			if n > 0 {
				s.plain(text[i+1 : i+1+n])
			}
			i += n + 1
		}
	}
}

func (s scanner) plain(name string) {
	if _, ok := s.lookup(name); !ok {
		s.found(name, "", false)
	}
}

// braced looks at the inside of ${…}; false when it is not valid.
func (s scanner) braced(body string) bool {
	n := nameLen(body)
	name, op := body[:n], body[n:]
	if n == 0 {
		return false
	}
	if op == "" {
		s.plain(name)
		return true
	}
	value, ok := s.lookup(name)
	soft := strings.HasPrefix(op, ":")
	op = strings.TrimPrefix(op, ":")
	if op == "" || !strings.ContainsAny(op[:1], "-?+") {
		return false
	}
	absent := !ok || soft && value == ""
	switch word := op[1:]; {
	case op[0] == '?' && absent:
		s.found(name, word, true)
	case op[0] == '-' && absent, op[0] == '+' && !absent:
		s.scan(word)
	}
	return true
}

// closing is the index of the brace that closes the one text begins with.
func closing(text string) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// nameLen is the length of the variable name at the start of text.
func nameLen(text string) int {
	for i := 0; i < len(text); i++ {
		c := text[i]
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return i
		}
	}
	return len(text)
}
