package files

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/rest"
)

// short is a text of a file's as it may be shown.
func short(s string) string { return rest.Short(strings.ToValidUTF8(s, "?")) }

// fold makes names that DuckDB takes for the same the same.
func fold(name string) string { return strings.ToLower(name) }

// digest tells texts apart.
func digest(parts ...string) string {
	sum := sha256.New()
	for _, p := range parts {
		sum.Write([]byte(p))
		sum.Write([]byte{0})
	}
	return hex.EncodeToString(sum.Sum(nil)[:12])
}

func shortList(names []string) string { return short(strings.Join(names, ", ")) }

// missingHint is what to do about a file that is not there; another error keeps
// its own.
func missingHint(err error) string {
	if errors.Is(err, errMissing) && connectors.Hint(err) == "" {
		return "See that the path is right, and that the file is there"
	}
	return connectors.Hint(err)
}

// natural orders names as people count: file 2 before file 10.
func natural(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		m, n := run10(x), run10(y)
		if m > 0 && n > 0 {
			p, q := strings.TrimLeft(x[:m], "0"), strings.TrimLeft(y[:n], "0")
			if c := cmp.Or(len(p)-len(q), strings.Compare(p, q)); c != 0 {
				return c
			}
			x, y = x[m:], y[n:]
			continue
		}
		if x[0] != y[0] {
			return int(x[0]) - int(y[0])
		}
		x, y = x[1:], y[1:]
	}
	return cmp.Or(len(x)-len(y), strings.Compare(a, b)) // 01 and 1 are not the same
}

// run10 is how many digits a text begins with.
func run10(s string) (n int) {
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

// exactly is a pattern of just one name.
func exactly(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}
