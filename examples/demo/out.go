package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/fairlead/fairlead/reconciler"
)

// printer writes the story. On a terminal it keeps to its width, and uses colour unless NO_COLOR is set (no-color.org).
type printer struct {
	w      io.Writer
	colour bool
	width  int // 0: as wide as the text is
}

func newPrinter(w io.Writer) printer {
	f, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return printer{w: w}
	}
	p := printer{w: w, colour: os.Getenv("NO_COLOR") == ""}
	if width, _, err := term.GetSize(int(f.Fd())); err == nil {
		p.width = max(width, leastWidth)
	}
	return p
}

const (
	leastWidth = 60
	margin     = 10
)

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

func (p printer) heading(text string) {
	p.line("\n%s", p.paint(bold, strings.Join(fold("── "+text, p.width), "\n")))
}

// prose writes a sentence of its own, after an empty line.
func (p printer) prose(format string, args ...any) {
	p.line("\n%s", strings.Join(fold(fmt.Sprintf(format, args...), p.width), "\n"))
}

// block writes lines under a word in the margin.
func (p printer) block(word string, lines []string) {
	for _, l := range lines {
		style := styleOf(l)
		for _, piece := range fold(l, p.width-margin) {
			p.line("%s %s", p.paint(dim, fmt.Sprintf("%*s", margin-1, word)), p.styled(style, piece))
			word = ""
		}
	}
}

// table writes lines of columns: what is too wide is cut off.
func (p printer) table(word string, lines []string) {
	cut := make([]string, len(lines))
	for i, l := range lines {
		cut[i] = clip(l, p.width-margin)
	}
	p.block(word, cut)
}

// clip cuts a line at a width, if there is one.
func clip(line string, width int) string {
	if runes := []rune(line); width > 0 && len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return line
}

// fold breaks a line between words when there is a width to keep to; what follows stands further in.
func fold(line string, width int) (pieces []string) {
	if width <= 0 || utf8.RuneCountInString(line) <= width {
		return []string{line}
	}
	text := strings.TrimLeft(line, " ")
	indent := line[:len(line)-len(text)]
	piece := indent
	for _, word := range strings.SplitAfter(text, " ") {
		if piece != indent && utf8.RuneCountInString(piece+strings.TrimRight(word, " ")) > width {
			pieces = append(pieces, strings.TrimRight(piece, " "))
			indent = line[:len(line)-len(text)] + "  "
			piece = indent
		}
		if piece == indent {
			word = strings.TrimLeft(word, " ")
		}
		piece += word
	}
	return append(pieces, strings.TrimRight(piece, " "))
}

// styleOf is the colour of a line of a diff or plan, by its sign.
func styleOf(line string) string {
	sign, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	switch {
	case sign == "-/+" || sign == "~":
		return yellow
	case strings.HasPrefix(sign, "+"):
		return green
	case strings.HasPrefix(sign, "-"):
		return red
	}
	return ""
}

func (p printer) styled(style, text string) string {
	if rest, ticked := strings.CutPrefix(text, tick); ticked {
		return p.paint(green, tick) + rest
	}
	if style == "" {
		return text
	}
	return p.paint(style, text)
}

const tick = "✓ "

func (p printer) checked(says string) { p.block("checked", []string{tick + says}) }

var glyphs = map[reconciler.Verb]string{reconciler.Create: "+", reconciler.Update: "~", reconciler.Replace: "-/+", reconciler.Remove: "-"}

// actionLines are a plan as fairlead prints it, in short.
func actionLines(actions []reconciler.Action) (lines []string) {
	for _, a := range actions {
		lines = append(lines, fmt.Sprintf("%3s %s %s: %s", glyphs[a.Verb], a.Kind, a.Object, a.Reason))
		for _, c := range a.Changes {
			lines = append(lines, fmt.Sprintf("      %s: %s → %s", c.Field, short(c.Old), short(c.New)))
		}
	}
	return lines
}

// short keeps a text on one line.
func short(value string) string {
	const most = 100
	return clip(strings.Join(strings.Fields(value), " "), most)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

func indented(text string) []string { return strings.Split(strings.TrimRight(text, "\n"), "\n") }
