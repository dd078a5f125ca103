//go:build cgo

package duck

import (
	_ "embed"
	"strings"
)

//go:embed gate_functions.txt
var reviewedFunctions string

// allowedFunctions are the functions that a statement may call, by name in lower
// case.
func allowedFunctions() map[string]bool {
	allowed := map[string]bool{"unnest": true} // which is not listed, as it is no function by itself
	for name, refusal := range reviewed() {
		if refusal == "" {
			allowed[lower(name)] = true
		}
	}
	return allowed
}

// reviewed are all functions that somebody looked at, with why they are refused.
func reviewed() map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(reviewedFunctions) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		if rest, denied := strings.CutPrefix(line, "- "); denied {
			name, why, _ := strings.Cut(rest, "  ")
			out[name] = why
			continue
		}
		out[line] = ""
	}
	return out
}
