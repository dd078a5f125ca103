package secrets

import (
	"bytes"
	"errors"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/desired"
)

// TestRoundTrip sets and removes values in any order, and reads after each step
// what was set last.
func TestRoundTrip(t *testing.T) {
	keys := testKeys(t)
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[A-Z][A-Z0-9_]{0,8}`), 1, 5, rapid.ID).Draw(t, "names")
		rule := Rule{Recipients: keys.Recipients(), onlyMAC: rapid.Bool().Draw(t, "mac only encrypted")}
		var file []byte
		want := map[string]string{}
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			name := rapid.SampledFrom(names).Draw(t, "name")
			value := rapid.OneOf(rapid.String(), rapid.StringMatching(`(true|null|~|0x1F|1e3|2026-11-23|- a: b|#x|'"\n\t )+`)).Draw(t, "value")
			change := &value
			if value == "" || strings.ContainsRune(value, 0) || !utf8.ValidString(value) {
				change = nil
				delete(want, name)
			} else {
				want[name] = value
			}
			made, err := Set(File, file, rule, keys, map[string]*string{name: change}, noon())
			if err != nil {
				t.Fatal(err)
			}
			got, err := Open(File, made, keys)
			if err != nil || !maps.Equal(got, want) {
				t.Fatalf("got %q, want %q: %v\n%s", got, want, err, made)
			}
			file = made
		}
	})
}

// FuzzOpen reads anything: what cannot be used is Problems with places, the
// values of what can be are stable under a change of another.
func FuzzOpen(f *testing.F) {
	files, err := filepath.Glob("testdata/golden/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal(err)
	}
	for _, file := range files {
		f.Add(read(f, file))
	}
	f.Add([]byte("A: b\nsops:\n  age: [{recipient: x, enc: y}]\n  lastmodified: 2026-11-23T12:00:00Z\n  mac: ENC[AES256_GCM,data:,iv:AA==,tag:AA==,type:str]\n"))
	f.Add([]byte(bomb()))
	f.Add([]byte("? {a: b}\n: c\n"))
	keys := testKeys(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		var problems desired.Problems
		if _, err := Names(File, data); err != nil && !errors.As(err, &problems) {
			t.Fatalf("not a problem: %v", err)
		}
		values, err := Open(File, data, keys)
		if err != nil {
			if !errors.As(err, &problems) {
				t.Fatalf("not a problem: %v", err)
			}
			for _, p := range problems {
				if p.File != File || p.Text == "" || p.Line > 1+bytes.Count(data, []byte("\n")) {
					t.Fatalf("place: %+v", p)
				}
			}
			return
		}
		value := "added"
		made, err := Set(File, data, Rule{}, keys, map[string]*string{"PASSWORD_WORD": &value}, noon())
		if err != nil {
			return // its rule leaves this name in the clear
		}
		values["PASSWORD_WORD"] = value
		if got, err := Open(File, made, keys); err != nil || !maps.Equal(got, values) {
			t.Fatalf("after a change %q, want %q: %v", got, values, err)
		}
	})
}

// FuzzKeys reads anything as a file of keys, and never repeats it.
func FuzzKeys(f *testing.F) {
	for _, seed := range []string{string(read(f, "testdata/age.key")), ourRecipient, "AGE-SECRET-KEY-1", "-----BEGIN AGE ENCRYPTED FILE-----", "\x00\n#"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := ParseKeys("k", data)
		var problems desired.Problems
		if (k == nil) == (err == nil) || err != nil && !errors.As(err, &problems) {
			t.Fatalf("%v, %v", k, err)
		}
		if k != nil && (len(k.Recipients()) == 0 || len(k.Recipients()) > maxKeyCount) {
			t.Fatalf("%d keys", len(k.Recipients()))
		}
		for _, r := range k.Recipients() {
			if err := CheckRecipient(r); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzConfig reads anything as .sops.yaml, and writes what it read.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(fleetConfig))
	f.Add([]byte("creation_rules:\n- age: >-\n    age1a,\n    age1b\n"))
	f.Add([]byte("creation_rules: [{key_groups: [{age: [age1a]}]}]"))
	f.Add([]byte("creation_rules: [{age: }, {age: [[x]]}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Recipients(treeOf(map[string]string{ConfigFile: string(data)}), ".")
		if err != nil || r.Config == "" {
			return
		}
		want := append(r.Recipients, ourRecipient)
		config, err := r.withRecipients(want)
		if err != nil {
			return
		}
		again, err := Recipients(treeOf(map[string]string{ConfigFile: string(config)}), ".")
		if err != nil || len(again.Recipients) == 0 || again.Recipients[len(again.Recipients)-1] != ourRecipient {
			t.Fatalf("%q became %q: %v, %v", data, config, again.Recipients, err)
		}
	})
}
