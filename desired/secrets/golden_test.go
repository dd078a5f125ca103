package secrets

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each writing is another: it is encrypted. So the flag is not -update, which make verify gives to all.
var renew = flag.Bool("renew", false, "have sops write testdata/golden anew")

// goldens are files of the real sops: what it was given, and what .sops.yaml said.
func goldens() map[string]struct {
	plain string
	rule  []string
} {
	return map[string]struct {
		plain string
		rule  []string
	}{
		"flat":        {"flat", nil},
		"types":       {"types", nil},
		"nested":      {"nested", nil},
		"comments":    {"comments", nil},
		"suffix":      {"suffix", nil},
		"macsealed":   {"suffix", []string{"mac_only_encrypted: true"}},
		"regex":       {"partly", []string{"encrypted_regex: ^PASSWORD"}},
		"regexmac":    {"partly", []string{"mac_only_encrypted: true", "encrypted_regex: ^PASSWORD"}},
		"clearregex":  {"partly", []string{"unencrypted_regex: ^(host|port|name)$"}},
		"endsealed":   {"partly", []string{"encrypted_suffix: WORD"}},
		"cleartail":   {"suffix", []string{"unencrypted_suffix: _unencrypted"}},
		"recipients2": {"flat", []string{"age: " + ourRecipient + "," + theirRecipient}},
	}
}

// The public halves of testdata/age.key and testdata/other.key, which are for
// tests only.
const (
	ourRecipient   = "age1meugg44p7a85kmwlwrjqamkcj0mcr2knk5na0jnxfrnq4ln2ssnq78z7ms"
	theirRecipient = "age159xycc88aqjhw5acurhx9xvatkfw3umc3hd9g4rz9xmephcrsgkqmhym0f"
)

// TestGolden reads what the real sops wrote.
func TestGolden(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(goldens())) {
		g := goldens()[name]
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("testdata/golden", name+".yaml")
			if *renew {
				dir := t.TempDir()
				write(t, dir, "age.key", string(read(t, "testdata/age.key")))
				write(t, dir, "in.yaml", string(read(t, filepath.Join("testdata/plain", g.plain+".yaml"))))
				write(t, dir, ".sops.yaml", "creation_rules:\n  - "+strings.Join(withAge(g.rule), "\n    ")+"\n")
				write(t, "testdata/golden", name+".yaml", mustSops(t, dir, "encrypt", "in.yaml"))
			}
			values := open(t, read(t, file), testKeys(t))
			got, err := json.MarshalIndent(values, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			want := filepath.Join("testdata/golden", name+".json")
			if *renew {
				write(t, "testdata/golden", name+".json", string(got)+"\n")
			}
			if string(got)+"\n" != string(read(t, want)) {
				t.Errorf("got %s", got)
			}
			names, err := Names(file, read(t, file))
			if err != nil || !slices.Equal(names, sorted(values)) {
				t.Errorf("names %v, want %v: %v", names, sorted(values), err)
			}
		})
	}
}

func withAge(rule []string) []string {
	if slices.ContainsFunc(rule, func(s string) bool { return strings.HasPrefix(s, "age:") }) {
		return rule
	}
	return append(slices.Clone(rule), "age: "+ourRecipient)
}

func testKeys(t testing.TB) *Keys { return keysOf(t, "testdata/age.key") }

func keysOf(t testing.TB, file string) *Keys {
	t.Helper()
	k, err := ParseKeys(file, read(t, file))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, data []byte, keys *Keys) map[string]string {
	t.Helper()
	values, err := Open(File, data, keys)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return values
}

func set(t testing.TB, file string, old []byte, rule Rule, keys *Keys, values map[string]string) []byte {
	t.Helper()
	made, err := Set(file, old, rule, keys, pointers(values), noon())
	if err != nil {
		t.Fatalf("set: %v", err)
	}
	return made
}

func pointers(values map[string]string) map[string]*string {
	out := map[string]*string{}
	for name, v := range values {
		if out[name] = &v; strings.HasPrefix(v, "\x00") {
			out[name] = nil
		}
	}
	return out
}

func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }
