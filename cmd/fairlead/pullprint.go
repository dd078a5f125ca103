package main

import (
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	"github.com/fairlead/fairlead/server"
)

// pullPrinter shows how far pulls are: bars that move on a terminal, otherwise
// a line now and then.
type pullPrinter struct {
	w     io.Writer
	width int // 0: not a terminal
	now   func() time.Time
	pulls map[string]server.Pull
	said  map[string]time.Time
	drawn int // lines of bars that stand on the terminal
	last  time.Time
}

// How often a line is written where there is no terminal, and bars are drawn
// where there is one.
const (
	linesEvery = 5 * time.Second
	drawEvery  = 100 * time.Millisecond
)

func newPullPrinter(w io.Writer) *pullPrinter {
	width, _ := terminal(w)
	return &pullPrinter{w: w, width: width, now: time.Now, pulls: map[string]server.Pull{}, said: map[string]time.Time{}}
}

func (p *pullPrinter) show(u server.Pull) {
	done := u.Total > 0 && u.Current >= u.Total
	if p.width == 0 {
		if last, before := p.said[u.Image]; before && !done && p.now().Sub(last) < linesEvery {
			return
		}
		if old := p.pulls[u.Image]; done && old.Total > 0 && old.Current >= old.Total {
			return
		}
		p.pulls[u.Image], p.said[u.Image] = u, p.now()
		fmt.Fprintf(p.w, "  pull %s: %s\n", oneLine(u.Image), amount(u))
		return
	}
	p.pulls[u.Image] = u
	if done || p.now().Sub(p.last) >= drawEvery {
		p.draw()
	}
}

func (p *pullPrinter) draw() {
	p.last = p.now()
	p.erase()
	var names []string
	for name := range p.pulls {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Fprintln(p.w, p.bar(p.pulls[name]))
	}
	p.drawn = len(names)
}

// clear takes the bars away, so that something else can be written.
func (p *pullPrinter) clear() {
	if p.width > 0 {
		p.erase()
		p.drawn = 0
	}
}

func (p *pullPrinter) erase() {
	if p.drawn > 0 {
		fmt.Fprintf(p.w, "\x1b[%dA\x1b[J", p.drawn)
	}
}

func (p *pullPrinter) bar(u server.Pull) string {
	const length = 24
	fill := 0
	if u.Total > 0 {
		fill = int(length * min(u.Current, u.Total) / u.Total)
	}
	text := amount(u)
	name := clip(oneLine(u.Image), max(p.width-length-len(text)-12, 16))
	return fmt.Sprintf("  pull %s [%s%s] %s", name, strings.Repeat("#", fill), strings.Repeat(".", length-fill), text)
}

func amount(u server.Pull) string {
	if u.Total <= 0 {
		return bytesOf(u.Current)
	}
	return fmt.Sprintf("%s of %s (%d%%)", bytesOf(u.Current), bytesOf(u.Total), 100*min(u.Current, u.Total)/u.Total)
}

func bytesOf(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.0f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d B", n)
}
