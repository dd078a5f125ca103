package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"golang.org/x/term"
)

// structured writes a value as -o asks; done is false for the form for people.
func (c *cli) structured(v any) (done bool, err error) {
	switch c.format {
	case "json":
		enc := json.NewEncoder(c.out)
		enc.SetIndent("", "  ")
		return true, enc.Encode(v)
	case "yaml":
		return true, writeYAML(c.out, v)
	}
	return false, nil
}

// structuredLine writes one value of a stream.
func (c *cli) structuredLine(v any) (done bool, err error) {
	switch c.format {
	case "json":
		return true, json.NewEncoder(c.out).Encode(v)
	case "yaml":
		if _, err := io.WriteString(c.out, "---\n"); err != nil {
			return true, err
		}
		return true, writeYAML(c.out, v)
	}
	return false, nil
}

// writeYAML writes what JSON would say, in the same order of keys.
func writeYAML(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil { // JSON is YAML
		return fmt.Errorf("write YAML: %w", err)
	}
	plain(&doc)
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	_, err = w.Write(out.Bytes())
	return err
}

// plain takes the style of JSON off, but for texts that some parser of YAML
// would take for something else (yes, 1:30).
func plain(n *yaml.Node) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || unmistakable(n.Value) {
		n.Style = 0
	}
	for _, child := range n.Content {
		plain(child)
	}
}

var word = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./ -]*[A-Za-z0-9]$`)

func unmistakable(s string) bool {
	switch strings.ToLower(s) {
	case "yes", "no", "on", "off", "true", "false", "null":
		return false
	}
	return word.MatchString(s)
}

// terminal says whether a writer is one, and how wide.
func terminal(w io.Writer) (width int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 20 {
		width = 80
	}
	return width, true
}

// painter colours text, or leaves it as it is.
type painter bool

// paint colours on a terminal only, and never with NO_COLOR set (no-color.org).
func (c *cli) paint(w io.Writer) painter {
	_, ok := terminal(w)
	return painter(ok && c.getenv("NO_COLOR") == "" && c.getenv("TERM") != "dumb")
}

func (p painter) code(code, s string) string {
	if !p || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p painter) red(s string) string    { return p.code("31", s) }
func (p painter) green(s string) string  { return p.code("32", s) }
func (p painter) yellow(s string) string { return p.code("33", s) }
func (p painter) bold(s string) string   { return p.code("1", s) }
func (p painter) dim(s string) string    { return p.code("2", s) }

// cell is text with a colour that does not count for its width.
type cell struct {
	text  string
	paint func(string) string
}

func plainCell(s string) cell { return cell{text: s} }

// table writes rows in columns of equal width, two spaces apart.
func table(w io.Writer, rows [][]cell) {
	var widths []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, c := range row {
			text := oneLine(c.text)
			pad := widths[i] - utf8.RuneCountInString(c.text) + 2
			if c.paint != nil {
				text = c.paint(text)
			}
			line.WriteString(text)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", pad))
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// oneLine keeps what came from elsewhere from steering the terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, s)
}

// clip cuts a text to a width.
func clip(s string, width int) string {
	r := []rune(s)
	if len(r) <= width || width < 2 {
		return s
	}
	return string(r[:width-1]) + "…"
}

// age is a duration as people say it: 5s, 3m, 2h, 4d.
func age(since, now time.Time) string {
	if since.IsZero() {
		return "-"
	}
	switch d := max(now.Sub(since), 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func commas(list []string) string { return strings.Join(list, ", ") }
