package release_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/release"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]release.Version{
		"2026.04.3":         {Year: 2026, Month: 4, N: 3},
		"2026.12.971":       {Year: 2026, Month: 12, N: 971},
		"1999.01.999999999": {Year: 1999, Month: 1, N: 999999999},
	} {
		if got, err := release.Parse(in); err != nil || got != want || got.String() != in {
			t.Errorf("%q is %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "2026.4.3", "2026.13.1", "2026.00.1", "2026.04.0", "2026.04.03", "26.04.3", "0026.04.3",
		"2026.04", "2026.04.3.1", "2026.04.-1", "2026.04.+1", "2026.04.3 ", " 2026.04.3", "v2026.04.3", "2026.04.1000000000",
		"2026.04.99999999999999999999", "2026.04.", "2026.04.٣", "2026.04.3\n", strings.Repeat("9", 5000)} {
		if got, err := release.Parse(in); err == nil {
			t.Errorf("%.40q is %v", in, got)
		} else if len(err.Error()) > 300 {
			t.Errorf("the error has %d bytes", len(err.Error()))
		}
	}
}

func TestParseTag(t *testing.T) {
	v := release.Version{Year: 2026, Month: 4, N: 3}
	for _, want := range []release.Tag{
		{Name: "stable", Kind: release.Floating, Channel: "stable"},
		{Name: "dev", Kind: release.Floating, Channel: "dev"},
		{Name: "deprecated", Kind: release.Floating, Channel: "deprecated"},
		{Name: "stable-2026.04.3", Kind: release.Numbered, Channel: "stable", Version: v},
		{Name: "dev-2026.04.3", Kind: release.Numbered, Channel: "dev", Version: v},
		{Name: "deprecated-2026.04.3", Kind: release.Retired, Channel: "deprecated", Version: v},
		{Name: "sha-1a2b3c4", Kind: release.Commit, Commit: "1a2b3c4"},
		{Name: "sha-1a2b3c45", Channel: "sha-1a2b3c45"},
		{Name: "sha-1A2B3C4", Channel: "sha-1A2B3C4"},
		{Name: "dev-pavel-latest", Kind: release.Branch, Channel: "dev", Slug: "pavel-latest"},
		{Name: "dev-2026.4.3", Channel: "dev-2026.4.3"},
		{Name: "stable-", Channel: "stable-"},
		{Name: "dev-", Channel: "dev-"},
		{Name: "keboola-deploy-latest", Channel: "keboola-deploy-latest"},
		{Name: "2026.04.3", Channel: "2026.04.3"},
		{Name: "_x", Channel: "_x"},
	} {
		if got, err := release.ParseTag(want.Name); err != nil || got != want {
			t.Errorf("%q is %+v, %v", want.Name, got, err)
		}
	}
	for _, in := range []string{"", ".x", "-x", "a/b", "a:b", "a b", "ä", strings.Repeat("a", 129)} {
		if got, err := release.ParseTag(in); err == nil {
			t.Errorf("%q is %+v", in, got)
		}
	}
}

func TestNewestIsTheLargestAndNotTheLast(t *testing.T) {
	tags := []string{"stable-2026.04.9", "stable-2026.04.10", "dev-2026.05.1", "stable-2025.12.400", "stable", "stable-2026.04.011",
		"deprecated-2026.04.10", "deprecated-2026.04.9", "deprecated-x", "stable-2026.04.10", "no/tag"}
	if v, ok := release.Newest(tags, release.Stable); !ok || v.String() != "2026.04.10" {
		t.Errorf("newest stable %v %v", v, ok)
	}
	if v, ok := release.Newest(tags, "canary"); ok {
		t.Errorf("canary has %v", v)
	}
	if got := release.Versions(tags, release.Stable); len(got) != 3 {
		t.Errorf("versions %v", got)
	}
	if got, want := release.Deprecations(tags), []string{"deprecated-2026.04.10", "deprecated-2026.04.9"}; !slices.Equal(got, want) {
		t.Errorf("deprecations %q", got)
	}
}

func version() *rapid.Generator[release.Version] {
	return rapid.Custom(func(t *rapid.T) release.Version {
		return release.Version{Year: rapid.IntRange(1000, 9999).Draw(t, "year"), Month: rapid.IntRange(1, 12).Draw(t, "month"),
			N: rapid.OneOf(rapid.IntRange(1, 12), rapid.IntRange(1, 999_999_999)).Draw(t, "n")}
	})
}

func TestVersionsComeBackFromText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := version().Draw(t, "v")
		got, err := release.Parse(v.String())
		if err != nil || got != v {
			t.Fatalf("%v came back as %v, %v", v, got, err)
		}
		b, err := json.Marshal(map[string]release.Version{"v": v})
		var back map[string]release.Version
		if err != nil || json.Unmarshal(b, &back) != nil || back["v"] != v {
			t.Fatalf("%s came back as %v, %v", b, back, err)
		}
	})
	var zero release.Version
	if b, err := json.Marshal(zero); err != nil || string(b) != `""` || json.Unmarshal(b, &zero) != nil || !zero.IsZero() {
		t.Errorf("the zero version is %s, %v", b, err)
	}
	v := release.Version{Year: 2026, Month: 1, N: 1}
	if err := v.UnmarshalText([]byte("x")); err == nil || v.N != 1 {
		t.Errorf("a bad text changed the version to %v (%v)", v, err)
	}
}

func TestOrderIsTotal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := version().Draw(t, "a"), version().Draw(t, "b"), version().Draw(t, "c")
		if a.Compare(b) != -b.Compare(a) || (a.Compare(b) == 0) != (a == b) {
			t.Fatalf("%v and %v: %d and %d", a, b, a.Compare(b), b.Compare(a))
		}
		if a.Compare(b) <= 0 && b.Compare(c) <= 0 && a.Compare(c) > 0 {
			t.Fatalf("%v ≤ %v ≤ %v, but the first is after the last", a, b, c)
		}
		tags := []string{"dev-" + a.String(), "dev-" + b.String(), "dev-" + c.String()}
		newest, ok := release.Newest(tags, release.Dev)
		if !ok || newest.Compare(a) < 0 || newest.Compare(b) < 0 || newest.Compare(c) < 0 {
			t.Fatalf("newest of %q is %v", tags, newest)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"2026.04.3", "2026.4.3", "2026.04.03", "stable-2026.04.3", "deprecated-2026.12.999", "sha-1a2b3c4", "dev-x", "", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := release.Parse(s); err == nil && v.String() != s {
			t.Errorf("%q reads as %v", s, v)
		}
		tag, err := release.ParseTag(s)
		if err != nil {
			return
		}
		if tag.Name != s {
			t.Errorf("%q is named %q", s, tag.Name)
		}
		if (tag.Kind == release.Numbered || tag.Kind == release.Retired) && release.NumberedTag(tag.Channel, tag.Version) != s {
			t.Errorf("%q reads as %+v", s, tag)
		}
	})
}
