package analytics

import (
	"fmt"
	"strings"
	"testing"
)

// TestOfACrashTheBeginningIsTold: what follows are addresses of memory.
func TestOfACrashTheBeginningIsTold(t *testing.T) {
	trace := strings.Repeat("\t/usr/local/go/src/runtime/cgocall.go:167 +0x4b fp=0x3f86a2473c0 sp=0x3f86a247388\n", 200)
	for said, want := range map[string]string{
		"worker: no Landlock\nSIGSEGV: segmentation violation\nPC=0x7f67694ac0ba m=0\n" + trace + "fatal error: x\n": "SIGSEGV: segmentation violation",
		"fatal error: runtime: out of memory\n" + trace:                                                              "fatal error: runtime: out of memory", "read set-up: EOF\n": "read set-up: EOF", "": "",
	} {
		for _, size := range []int{1, 100, 1 << 20} {
			var got tail
			for rest := said; rest != ""; {
				n := min(size, len(rest))
				_, _ = fmt.Fprint(&got, rest[:n])
				rest = rest[n:]
			}
			if got.last() != want || len(got.text) > maxTail {
				t.Errorf("in pieces of %d: %q of %d bytes, not %q", size, got.last(), len(got.text), want)
			}
		}
	}
}
