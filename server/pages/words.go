package pages

import (
	"fmt"
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// words are the functions of the templates.
func words(f *files) template.FuncMap {
	return template.FuncMap{
		"static": func(name string) string { return f.names[name] },
		"list":   func(items ...any) []any { return items },
		"dict":   dict,
		"badge":  func(tone, text string) badge { return badge{Tone: tone, Text: text} },
		"sync":   syncBadge, "health": healthBadge, "phase": phaseBadge, "outcome": outcomeBadge,
		"ago": ago, "due": due, "day": day, "took": reconciler.Took, "lasted": lasted, "age": age,
		"count": reconciler.Count, "grouped": grouped, "bytes": bytesOf, "short": short, "digest": shortDigest,
		"first": firstLine, "join": strings.Join, "clean": clean, "icon": func(name string) iconOf { return iconOf{Name: name} },
		"initials": initials, "revision": func(r desired.Revision) desired.Revision { return r },
		"empty": func(icon, title, text string) emptyState { return emptyState{icon, title, text} },
		"add":   func(a, b int) int { return a + b },
		"input": input, "glyph": glyph, "glyphClass": glyphClass, "changes": changes, "oneLine": oneLine, "asError": server.AsError, "logText": logText, "path": url.PathEscape, "title": titled,
	}
}

// dict makes a map for a template that takes several things.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("dict: %d is not an even number of arguments", len(pairs))
	}
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		m[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return m, nil
}

// badge is a word with a tone: ok, run, warn, bad, off. Each tone has a shape,
// so that nobody needs the colour.
type badge struct{ Tone, Text string }

// Icon is the shape of the tone.
func (b badge) Icon() string {
	if b.Tone == "" {
		return "off"
	}
	return b.Tone
}

type iconOf struct{ Name string }

// emptyState says that there is nothing, why, and what to do.
type emptyState struct{ Icon, Title, Text string }

func syncBadge(s reconciler.Sync) badge {
	switch s {
	case reconciler.Synced:
		return badge{"ok", "Synced"}
	case reconciler.OutOfSync:
		return badge{"warn", "Out of sync"}
	}
	return badge{"off", "Sync unknown"}
}

func healthBadge(h reconciler.HealthStatus) badge {
	switch h {
	case reconciler.Healthy:
		return badge{"ok", "Healthy"}
	case reconciler.Progressing:
		return badge{"run", "Progressing"}
	case reconciler.Degraded, reconciler.Missing:
		return badge{"bad", string(h)}
	case reconciler.Suspended:
		return badge{"pause", "Suspended"}
	}
	return badge{"off", "Health unknown"}
}

func phaseBadge(p reconciler.Phase) badge {
	switch p {
	case reconciler.PhaseIdle:
		return badge{"ok", "Idle"}
	case reconciler.PhaseApplying, reconciler.PhaseBaking:
		return badge{"run", string(p)}
	case reconciler.PhasePending:
		return badge{"off", "Pending"}
	case reconciler.PhaseRefused, reconciler.PhaseQuarantined, reconciler.PhaseStalled:
		return badge{"bad", string(p)}
	case reconciler.PhaseRolledBack:
		return badge{"bad", "Rolled back"}
	case reconciler.PhaseSuspended, reconciler.PhaseHeld, reconciler.PhaseDeferred:
		return badge{"pause", string(p)}
	}
	return badge{"warn", string(p)}
}

func outcomeBadge(o reconciler.Outcome) badge {
	switch o {
	case reconciler.Applied:
		return badge{"ok", "Applied"}
	case reconciler.RolledBack:
		return badge{"bad", "Rolled back"}
	case reconciler.Superseded:
		return badge{"off", "Superseded"}
	}
	return badge{"bad", string(o)}
}

// moment is a time as people say it, and as it is.
type moment struct{ ISO, Text, Full string }

// ago is a time as seen from now, past or to come; the script keeps it fresh.
func ago(t time.Time) moment {
	if t.IsZero() {
		return moment{Text: "–"}
	}
	now, text := time.Now(), ""
	switch d := now.Sub(t); {
	case d > -time.Second && d < 5*time.Second:
		text = "just now"
	case d < 0:
		text = "in " + age(-d)
	default:
		text = age(d) + " ago"
	}
	return moment{ISO: t.UTC().Format(time.RFC3339), Text: text, Full: t.UTC().Format("Mon 2 Jan 2006 15:04:05 MST")}
}

// due is a time to come; one that is over is now.
func due(t time.Time) moment {
	m := ago(t)
	if m.ISO != "" && !t.After(time.Now()) {
		m.ISO, m.Text = "", "now"
	}
	return m
}

// age is a duration in the unit that people would use: 5s, 3m, 2h, 4d.
func age(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// lasted is the time from one moment to another; a dash when it is not over.
func lasted(from, to time.Time) string {
	if from.IsZero() || to.IsZero() {
		return "–"
	}
	return reconciler.Took(to.Sub(from))
}

func day(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2 Jan 2006, 15:04 MST")
}

// grouped writes a number with its thousands apart.
func grouped(n any) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// bytesOf is a size as people say it.
func bytesOf(n int64) string {
	if n < 1<<10 {
		return strconv.FormatInt(n, 10) + " B"
	}
	size, unit := float64(n), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB"} {
		if size /= 1 << 10; size < 1<<10 {
			break
		}
	}
	return strconv.FormatFloat(size, 'f', 1, 64) + " " + unit
}

func short(commit string) string { return commit[:min(8, len(commit))] }

// shortDigest is what people compare of a digest or an ID.
func shortDigest(digest string) string {
	digest = digest[strings.LastIndexByte(digest, '@')+1:]
	digest = strings.TrimPrefix(digest, "sha256:")
	return digest[:min(12, len(digest))]
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// clean takes out what steers a terminal or turns text around, and keeps lines.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return r
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, s)
}

// initials stand for a person.
func initials(name string) string {
	out := []rune{}
	for _, word := range strings.FieldsFunc(name, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if len(out) < 2 {
			out = append(out, unicode.ToUpper([]rune(word)[0]))
		}
	}
	if len(out) == 0 {
		return "?"
	}
	return string(out)
}

// titled is a word of the API as people read it: RolledBack, Rolled back.
func titled(word any) string {
	var b strings.Builder
	for i, r := range fmt.Sprint(word) {
		if i > 0 && unicode.IsUpper(r) {
			b.WriteByte(' ')
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

func seconds(d time.Duration) string { return strconv.Itoa(int((d + time.Second - 1) / time.Second)) }

// article puts a or an before a word.
func article(word string) string {
	if word != "" && strings.ContainsRune("aeiou", rune(word[0])) {
		return "an " + word
	}
	return "a " + word
}

// clip cuts a text to so many characters.
func clip(s string, most int) string {
	r := []rune(s[:min(len(s), 4*most+4)])
	if len(r) <= most {
		return s
	}
	return string(r[:most-1]) + "…"
}
