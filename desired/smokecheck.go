package desired

import (
	"fmt"
	"net/textproto"
	"regexp"
	"strings"
)

// maxSteps is more than a smoke test has; it bounds how long one may take.
const maxSteps = 100

func (p *parsed) checkSmoke() {
	if len(p.Smoke) > maxSteps {
		p.add("smoke", fmt.Sprintf("has more than %d steps", maxSteps), "")
	}
	names, saved := map[string]bool{}, map[string]bool{}
	for i, s := range p.Smoke {
		at := fmt.Sprintf("smoke[%d]", i)
		if names[s.Name] && s.Name != "" {
			p.add(at+".name", fmt.Sprintf("a step %q stands above already", s.Name), "")
		}
		names[s.Name] = true
		p.checkMethod(at, s)
		p.checkHeaders(at, s)
		_, secret := p.secrets[at+".bearer"]
		if s.Bearer != "" && !saved[s.Bearer] && !secret && !p.bad(at+".bearer") {
			p.add(at+".bearer", fmt.Sprintf("no step above saves %q", s.Bearer), didYouMean(s.Bearer, sortedKeys(saved)))
		}
		for name := range s.Save {
			saved[name] = true
		}
		p.checkExpect(at+".expect", s.Expect)
	}
}

func (p *parsed) checkMethod(at string, s SmokeStep) {
	var methods []string
	for _, m := range []string{"get", "post", "put", "patch", "delete"} {
		if p.has(at + "." + m) {
			methods = append(methods, m)
		}
	}
	switch {
	case len(methods) == 0:
		p.add(at, "has no method", "add one of get, post, put, patch, delete with a path")
	case len(methods) > 1:
		p.add(at+"."+methods[1], "is a second method beside "+methods[0], "make it a step of its own")
	case s.Body != nil && (methods[0] == "get" || methods[0] == "delete"):
		p.add(at+".body", "cannot be sent with "+methods[0], "use post, put or patch")
	}
}

// checkHeaders refuses one header twice: names do not differ by case (RFC 9110
// section 5.1).
func (p *parsed) checkHeaders(at string, s SmokeStep) {
	first := map[string]string{}
	for _, name := range sortedKeys(s.Headers) {
		here, key := join(at+".headers", name), textproto.CanonicalMIMEHeaderKey(name)
		if other, twice := first[key]; twice {
			p.add(here, "is the same header as "+other, "")
		} else if key == "Authorization" && s.Bearer != "" {
			p.add(here, "stands beside bearer", "which is sent in this header; remove one of them")
		}
		first[key] = name
	}
}

// checkVariables looks at each ${name} of what an instance's steps send: a slip
// would fail the test of a release that is right. The steps of fairlead smoke
// are run at once, which says the same.
func (p *parsed) checkVariables() {
	saved := map[string]bool{}
	for i, s := range p.Smoke {
		p.checkSent(fmt.Sprintf("smoke[%d]", i), s, saved)
		for name := range s.Save {
			saved[name] = true
		}
	}
}

// checkSent looks for each ${name} in what is sent; $${ is a plain ${.
func (p *parsed) checkSent(at string, s SmokeStep, saved map[string]bool) {
	for _, e := range []struct{ key, text string }{{"get", s.Get}, {"post", s.Post}, {"put", s.Put}, {"patch", s.Patch}, {"delete", s.Delete}} {
		p.checkText(at+"."+e.key, e.text, saved)
	}
	for _, name := range sortedKeys(s.Headers) {
		p.checkText(join(at+".headers", name), s.Headers[name], saved)
	}
	p.checkFree(at+".body", s.Body, saved)
}

func (p *parsed) checkFree(at string, v any, saved map[string]bool) {
	switch v := v.(type) {
	case string:
		p.checkText(at, v, saved)
	case []any:
		for i := range v {
			p.checkFree(fmt.Sprintf("%s[%d]", at, i), v[i], saved)
		}
	case map[string]any:
		for _, key := range sortedKeys(v) {
			p.checkFree(join(at, key), v[key], saved)
		}
	}
}

func (p *parsed) checkText(at, text string, saved map[string]bool) {
	for !p.bad(at) {
		before, rest, found := strings.Cut(text, "${")
		if text = rest; !found {
			return
		}
		if strings.HasSuffix(before, "$") {
			continue
		}
		name, after, closed := strings.Cut(rest, "}")
		switch {
		case !closed:
			p.add(at, `"${" has no }`, "write $${ for a plain ${")
		case !saved[name] && !strings.HasPrefix(name, "secret:"):
			p.add(at, fmt.Sprintf("no step above saves %q", clip(name)), didYouMean(name, sortedKeys(saved)))
		}
		text = after
	}
}

func (p *parsed) checkExpect(at string, e *Expect) {
	if e == nil {
		return
	}
	if p.has(at+".status") && p.has(at+".statusIn") {
		p.add(at+".statusIn", "stands beside status", "put all status codes into statusIn")
	}
	for _, field := range sortedKeys(e.JSON) {
		if m, ok := e.JSON[field].(map[string]any); ok { // a map is one of the matchers
			p.checkMatcher(join(at+".json", field), m)
		}
	}
}

// maxRegexp bounds the pattern of a matcher.
const maxRegexp = 1000

func (p *parsed) checkMatcher(at string, matcher map[string]any) {
	if len(matcher) == 0 {
		p.add(at, "is an empty map", "write a value, or a matcher such as {exists: true}")
	}
	if matcher["exists"] == false && len(matcher) > 1 {
		p.add(join(at, "exists"), "is false, and other matchers stand beside it", "what does not exist matches nothing else")
	}
	for _, key := range sortedKeys(matcher) {
		text, hint := "", ""
		switch key {
		case "not":
		case "minItems":
			if n, ok := matcher[key].(int); !ok || n < 0 {
				text, hint = "is not a count", "for example minItems: 1"
			}
		case "exists":
			if _, ok := matcher[key].(bool); !ok {
				text, hint = "is not true or false", "for example exists: true"
			}
		case "matches":
			text, hint = badRegexp(matcher[key])
		default:
			text, hint = "unknown matcher", didYouMean(key, []string{"not", "minItems", "exists", "matches"})
		}
		if text != "" {
			p.add(join(at, key), text, hint)
		}
	}
}

func badRegexp(v any) (text, hint string) {
	s, ok := v.(string)
	if !ok || s == "" || len(s) > maxRegexp {
		return fmt.Sprintf("is not a regular expression of at most %d characters", maxRegexp), `for example matches: "^2026"`
	}
	if _, err := regexp.Compile(s); err != nil {
		return "is not a regular expression: " + strings.Map(printable, clip(err.Error())), "the syntax is that of Go, RE2"
	}
	return "", ""
}

// printable keeps a message on one line.
func printable(r rune) rune {
	if r < ' ' {
		return ' '
	}
	return r
}
