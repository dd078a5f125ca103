package connectors

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNamesOfTheContract(t *testing.T) {
	long := strings.Repeat("a", 64)
	for _, good := range []string{"a", "_", "A9_z", "orders", long} {
		if !ValidName(good) {
			t.Errorf("ValidName(%q) = false", good)
		}
	}
	for _, bad := range []string{"", "9a", "a-b", "a.b", "a/b", "..", "á", "a\n", "a\x00", "a b", `a"b`, long + "a"} {
		if ValidName(bad) || ValidEnv(bad) {
			t.Errorf("%q passes: name %v, env %v", bad, ValidName(bad), ValidEnv(bad))
		}
	}
	for name, want := range map[string]bool{"A": true, "TOKEN_9": true, "_A": false, "token": false, "Token": false} {
		if got := ValidEnv(name); got != want {
			t.Errorf("ValidEnv(%q) = %v", name, got)
		}
	}
}

// The patterns of the contract are what counts.
func TestNamesAreThoseOfThePattern(t *testing.T) {
	name := regexp.MustCompile(`\A[a-zA-Z_][a-zA-Z0-9_]{0,63}\z`)
	env := regexp.MustCompile(`\A[A-Z][A-Z0-9_]{0,63}\z`)
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-zA-Z0-9_.\n-]{0,70}`)).Draw(t, "s")
		if ValidName(s) != name.MatchString(s) || ValidEnv(s) != env.MatchString(s) {
			t.Fatalf("%q: name %v, env %v", s, ValidName(s), ValidEnv(s))
		}
	})
}
