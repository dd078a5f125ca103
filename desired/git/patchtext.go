package git

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/utils/diff"
)

const (
	patchContext = 3 // lines around a change, as git has
	// diffLimit bounds the search for the shortest difference; after it the rest
	// is shown as replaced.
	diffLimit = time.Second
)

// patchLine is a line of a hunk with its end, behind ' ', '-' or '+'.
type patchLine struct {
	mark byte
	text string
}

// lineDiff lists all lines of two texts, those that both have once.
func lineDiff(before, after string) (lines []patchLine) {
	parts := diff.DoWithTimeout(before, after, diffLimit)
	if diff.Src(parts) != before || diff.Dst(parts) != after {
		return append(marked('-', before), marked('+', after)...)
	}
	for _, p := range parts {
		lines = append(lines, marked(" +-"[(int(p.Type)+3)%3], p.Text)...)
	}
	return lines
}

func marked(mark byte, text string) (lines []patchLine) {
	for line := range strings.SplitAfterSeq(text, "\n") {
		if line != "" {
			lines = append(lines, patchLine{mark, line})
		}
	}
	return lines
}

// writeHunks writes the differences of two texts with the lines around them.
func writeHunks(b *bytes.Buffer, before, after string) {
	lines := lineDiff(before, after)
	oldAt, newAt := 0, 0 // lines before the place
	for i := 0; i < len(lines); {
		next := slices.IndexFunc(lines[i:], func(l patchLine) bool { return l.mark != ' ' })
		if next < 0 {
			return
		}
		begin := max(i+next-patchContext, i)
		oldAt, newAt = oldAt+begin-i, newAt+begin-i
		end := hunkEnd(lines, i+next)
		olds, news := 0, 0
		for _, l := range lines[begin:end] {
			if l.mark != '+' {
				olds++
			}
			if l.mark != '-' {
				news++
			}
		}
		fmt.Fprintf(b, "@@ -%s +%s @@\n", hunkRange(oldAt, olds), hunkRange(newAt, news))
		for _, l := range lines[begin:end] {
			b.WriteByte(l.mark)
			b.WriteString(l.text)
			if !strings.HasSuffix(l.text, "\n") {
				b.WriteString("\n\\ No newline at end of file\n")
			}
		}
		oldAt, newAt, i = oldAt+olds, newAt+news, end
	}
}

// hunkEnd is where a hunk ends whose first change is at a line: before as many
// equal lines as two hunks have around them.
func hunkEnd(lines []patchLine, at int) int {
	last := at
	for i := at; i < len(lines) && i-last <= 2*patchContext; i++ {
		if lines[i].mark != ' ' {
			last = i
		}
	}
	return min(last+1+patchContext, len(lines))
}

// hunkRange is where lines begin, counted from 1, and how many there are. No
// line at all is said to be after the one before.
func hunkRange(before, n int) string {
	if n == 0 {
		return fmt.Sprintf("%d,0", before)
	}
	return fmt.Sprintf("%d,%d", before+1, n)
}

// isBinary says of what no mail may be made: git am takes the CR from the end of
// each line, and reads the rest as UTF-8.
func isBinary(b []byte) bool {
	return bytes.IndexByte(b, 0) >= 0 || bytes.IndexByte(b, '\r') >= 0 || !utf8.Valid(b)
}

// writeBinary writes both contents as git's binary patches do, there and back.
func writeBinary(b *bytes.Buffer, before, after []byte) error {
	b.WriteString("GIT binary patch\n")
	for _, content := range [][]byte{after, before} {
		var packed bytes.Buffer
		z := zlib.NewWriter(&packed)
		if _, err := z.Write(content); err != nil {
			return fmt.Errorf("pack patch: %w", err)
		}
		if err := z.Close(); err != nil {
			return fmt.Errorf("pack patch: %w", err)
		}
		fmt.Fprintf(b, "literal %d\n", len(content))
		for chunk := range slices.Chunk(packed.Bytes(), 52) {
			writeBase85(b, chunk)
		}
		b.WriteByte('\n')
	}
	return nil
}

const base85 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"

// writeBase85 writes a line of at most 52 bytes: its length as a letter, then
// five digits for each four bytes (git's base85.c).
func writeBase85(b *bytes.Buffer, chunk []byte) {
	if n := len(chunk); n <= 26 {
		b.WriteByte('A' + byte(n) - 1)
	} else {
		b.WriteByte('a' + byte(n) - 27)
	}
	for four := range slices.Chunk(chunk, 4) {
		var word [4]byte
		copy(word[:], four)
		n := binary.BigEndian.Uint32(word[:])
		var digits [5]byte
		for i := 4; i >= 0; i-- {
			digits[i] = base85[n%85]
			n /= 85
		}
		b.Write(digits[:])
	}
	b.WriteByte('\n')
}
