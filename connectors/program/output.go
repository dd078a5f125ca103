package program

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// maxLine bounds a line that is told in an error, in bytes.
const maxLine = 300

// lastLine passes on what is written and keeps the last line, or the last of
// those that begin with what is wanted.
type lastLine struct {
	to     io.Writer
	wanted string

	part         []byte
	last, marked string
}

func (l *lastLine) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		line, after, ends := bytes.Cut(rest, []byte("\n"))
		l.part = append(l.part, line[:min(len(line), maxLine-len(l.part))]...)
		if rest = after; ends {
			l.end()
		}
	}
	return l.to.Write(p)
}

func (l *lastLine) end() {
	text := strings.TrimSpace(printable(string(l.part)))
	l.part = l.part[:0]
	if text == "" {
		return
	}
	l.last = text
	if strings.HasPrefix(text, l.wanted) {
		l.marked = text
	}
}

func (l *lastLine) text() string {
	l.end()
	if l.marked != "" {
		return l.marked
	}
	return l.last
}

// printable takes out what could steer a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// bytesText writes a number of bytes for people.
func bytesText(n int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.size {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/float64(u.size)), ".0") + " " + u.name
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
