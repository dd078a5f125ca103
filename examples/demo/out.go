package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/fairlead/fairlead/reconciler"
)

// printer writes the story; in colour on a terminal, unless NO_COLOR is set (no-color.org).
type printer struct {
	w      io.Writer
	colour bool
}

func newPrinter(w io.Writer) printer {
	f, isFile := w.(*os.File)
	no := os.Getenv("NO_COLOR") != ""
	return printer{w, isFile && !no && term.IsTerminal(int(f.Fd()))}
}

const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (p printer) paint(style, text string) string {
	if !p.colour {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (p printer) line(format string, args ...any) { fmt.Fprintf(p.w, format+"\n", args...) }

func (p printer) heading(text string) { p.line("\n%s", p.paint(bold, "── "+text)) }

// block writes lines under a word in the margin.
func (p printer) block(word string, lines []string) {
	for i, l := range lines {
		if i > 0 {
			word = ""
		}
		p.line("%s %s", p.paint(dim, fmt.Sprintf("%9s", word)), p.plus(l))
	}
}

// plus colours the lines of diffs and plans by their sign.
func (p printer) plus(line string) string {
	sign, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	switch {
	case sign == "-/+" || sign == "~":
		return p.paint(yellow, line)
	case strings.HasPrefix(sign, "+"):
		return p.paint(green, line)
	case strings.HasPrefix(sign, "-"):
		return p.paint(red, line)
	}
	return line
}

func (p printer) checked(says string) { p.block("checked", []string{p.paint(green, "✓ ") + says}) }

var glyphs = map[reconciler.Verb]string{reconciler.Create: "+", reconciler.Update: "~", reconciler.Replace: "-/+", reconciler.Remove: "-"}

// actionLines are a plan as fairlead prints it, in short.
func actionLines(actions []reconciler.Action) (lines []string) {
	for _, a := range actions {
		lines = append(lines, fmt.Sprintf("%3s %s %s: %s", glyphs[a.Verb], a.Kind, a.Object, a.Reason))
		for _, c := range a.Changes {
			lines = append(lines, fmt.Sprintf("      %s: %s → %s", c.Field, short(c.Old), short(c.New)))
		}
	}
	if len(lines) == 0 {
		lines = []string{"nothing to do"}
	}
	return lines
}

// short keeps a text on one line.
func short(value string) string {
	const most = 100
	value = strings.Join(strings.Fields(value), " ")
	if runes := []rune(value); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return value
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func indented(text string) []string { return strings.Split(strings.TrimRight(text, "\n"), "\n") }
