package reconciler

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/desired"
)

// sensitiveMark stands for a value that must not be shown (law 12).
const sensitiveMark = "(sensitive)"

// sensitiveName matches fields that hold secrets by their name, whatever their
// value came from.
var sensitiveName = regexp.MustCompile(`(?i)(passw|secret|token|api_?key|private_?key|credential|auth|_key$|_dsn$|_pwd$)`)

func (p *planner) imageChange(s desired.Service, c Container) Change {
	old, now := c.ImageRef, s.Image
	was, is := Image{ID: c.ImageID}, p.t.Images[s.Image]
	if old == now {
		return Change{"image", old + " (" + p.imageName(was) + ")", now + " (" + p.imageName(is) + ")"}
	}
	if f := p.t.Spec.Follow; f != nil && f.Ref == s.Image { // a pin, its end, or another channel: what it comes to is the question
		old, now = p.withDigest(old, was), p.withDigest(now, is)
	}
	return Change{"image", old, now}
}

// withDigest adds the digest of an image to a reference that does not say it.
func (p *planner) withDigest(ref string, img Image) string {
	digest := p.digestOf(img)
	if digest == "" || strings.Contains(ref, "@") {
		return ref
	}
	return ref + " (" + shortDigest(digest) + ")"
}

// imageName is the digest of an image, as registries show it, or else its ID.
func (p *planner) imageName(img Image) string {
	if digest := p.digestOf(img); digest != "" {
		return shortDigest(digest)
	}
	return shortID(img.ID)
}

func (p *planner) digestOf(img Image) string { return cmp.Or(img.Digest, p.have.Digests[img.ID]) }

func shortID(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(12, len(id))]
}

// fieldChanges compares the service with the one that the container was made
// from, when an older generation still knows it.
func (p *planner) fieldChanges(s desired.Service, c Container) []Change {
	old, known := p.have.Known[c.Hash]
	if !known {
		return []Change{{"specification", shortID(c.Hash), shortID(s.Hash())}}
	}
	hide := redactor(append(slices.Clone(p.have.Sensitive), p.t.Spec.Sensitive...))
	return diffServices(old, s, hide)
}

// diffServices lists the fields of the hash that differ, in order of name.
func diffServices(old, now desired.Service, hide func(field, value string) string) (changes []Change) {
	was, is := flatten(hashed(old)), flatten(hashed(now))
	for _, field := range sortedKeys(union(was, is)) {
		before, hadIt := was[field]
		after, hasIt := is[field]
		if before == after && hadIt == hasIt {
			continue
		}
		c := Change{field, hide(field, before), hide(field, after)}
		if !hadIt {
			c.Old = "(none)"
		}
		if !hasIt {
			c.New = "(none)"
		}
		changes = append(changes, ofContent(c))
	}
	return changes
}

// contentKey matches the hash under which a tracked file is mounted.
var contentKey = regexp.MustCompile(`^[0-9a-f]{32}$`)

// ofContent says of a tracked file or a seed that its content changed, where
// the fields only show two hashes.
func ofContent(c Change) Change {
	if !contentKey.MatchString(c.Old) || !contentKey.MatchString(c.New) {
		return c
	}
	for _, part := range []string{".source", ".seed"} {
		if mount, found := strings.CutSuffix(c.Field, part); found && strings.HasPrefix(mount, "mounts[") {
			return Change{mount, "content " + c.Old[:8], "content " + c.New[:8]}
		}
	}
	return c
}

// hashed drops the fields that have no part in Service.Hash.
func hashed(s desired.Service) desired.Service {
	s.Image, s.PullPolicy, s.UpdateOrder = "", "", ""
	s.Replicas, s.DependsOn, s.Job, s.PullAfter = 0, nil, false, 0
	return s
}

func union(a, b map[string]string) map[string]string {
	all := make(map[string]string, len(a)+len(b))
	for k, v := range a {
		all[k] = v
	}
	for k, v := range b {
		all[k] = v
	}
	return all
}

// flatten turns a value into dotted fields as people write them:
// environment.DOMAIN, mounts[/etc/app].source.
func flatten(v any) map[string]string {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	var tree any
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.UseNumber()
	if err := dec.Decode(&tree); err != nil {
		return nil
	}
	out := map[string]string{}
	flattenInto(out, "", tree)
	return out
}

func flattenInto(out map[string]string, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			flattenInto(out, strings.TrimPrefix(path+"."+k, "."), inner)
		}
	case []any:
		if text, plain := plainList(v); plain {
			out[path] = text
			return
		}
		for i, inner := range v {
			flattenInto(out, path+"["+entryKey(inner, i)+"]", inner)
		}
	default:
		out[path] = fmt.Sprint(v)
	}
}

func plainList(list []any) (text string, plain bool) {
	words := make([]string, len(list))
	for i, v := range list {
		switch v.(type) {
		case map[string]any, []any:
			return "", false
		}
		words[i] = fmt.Sprint(v)
	}
	return strings.Join(words, " "), true
}

// entryKey names an entry of a list by what identifies it to a person.
func entryKey(v any, i int) string {
	if m, ok := v.(map[string]any); ok {
		for _, key := range []string{"target", "network", "name", "service", "host"} {
			if id, ok := m[key]; ok {
				return fmt.Sprint(id)
			}
		}
	}
	return strconv.Itoa(i)
}

// redactError hides sensitive values in the text of an error: engines and
// health checks repeat what a container was made from (law 12).
func redactError(values []string, err error) error {
	if err == nil {
		return nil
	}
	text := redactText(values, err.Error())
	if text == err.Error() {
		return err
	}
	return redactedError{text, err}
}

// redactText hides sensitive values in a text.
func redactText(values []string, text string) string {
	values = slices.Clone(values)
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) }) // one may be a part of another
	for _, v := range values {
		if v != "" {
			text = strings.ReplaceAll(text, v, sensitiveMark)
		}
	}
	return text
}

type redactedError struct {
	text string
	err  error
}

func (e redactedError) Error() string { return e.text }
func (e redactedError) Unwrap() error { return e.err }

// redactor returns a function that hides what must not be shown: fields with a
// telling name, and any text that holds one of the sensitive values.
func redactor(values []string) func(field, value string) string {
	return func(field, value string) string {
		if value != "" && sensitiveName.MatchString(field) {
			return sensitiveMark
		}
		for _, v := range values {
			if strings.Contains(value, v) {
				return sensitiveMark
			}
		}
		return value
	}
}
