//go:build cgo

package duck

import (
	"errors"
	"fmt"
	"io"
)

// maxDepth is how deep objects and lists of JSON may be in each other: the engine
// (1.5.6) reads each level with a call of its own, and its stack ends at some ten
// thousand, which ends the process.
const maxDepth = 500

// shallow looks through a file of JSON for what would be too deep. It is for
// files of somebody else's program.
func (f leftFile) shallow() error {
	if f.format != "json" && f.format != "ndjson" {
		return nil
	}
	in, err := f.open()
	if err != nil {
		return err
	}
	defer in.Close()
	d := depth{lines: f.format == "ndjson"}
	block := make([]byte, 256<<10)
	for {
		n, err := in.Read(block)
		if d.read(block[:n]); d.deepest > maxDepth {
			return wrong(badContent, f.rel, fmt.Sprintf("objects and lists are in each other more than %d deep", maxDepth), "write such a value as a text, or with fewer levels")
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return wrong(badContent, f.rel, "read: "+short(err.Error()), "write it anew: it is cut off or damaged")
		}
	}
}

// depth counts brackets outside of texts.
type depth struct {
	now, deepest    int
	quoted, escaped bool
	lines           bool // each is a value of its own
}

func (d *depth) read(block []byte) {
	for _, c := range block {
		switch {
		case c == '\n': // which no text has, so that a quote that is never closed hides nothing
			d.quoted, d.escaped = false, false
			if d.lines {
				d.now = 0
			}
		case d.escaped:
			d.escaped = false
		case d.quoted && c == '\\':
			d.escaped = true
		case c == '"':
			d.quoted = !d.quoted
		case d.quoted:
		case c == '{' || c == '[':
			d.now++
			d.deepest = max(d.deepest, d.now)
		case (c == '}' || c == ']') && d.now > 0:
			d.now--
		}
	}
}
