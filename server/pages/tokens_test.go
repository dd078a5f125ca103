package pages

import (
	"io/fs"
	"math"
	"regexp"
	"strconv"
	"testing"
)

var tokenOf = regexp.MustCompile(`--([a-z-]+): (?:light-dark\(#([0-9a-f]{6}), #([0-9a-f]{6})\)|#([0-9a-f]{6}));`)

// readTokens are the colours of the light and of the dark theme.
func readTokens(t *testing.T) [2]map[string]string {
	t.Helper()
	css, err := fs.ReadFile(embedded, "static/tokens.css")
	if err != nil {
		t.Fatal(err)
	}
	themes := [2]map[string]string{{}, {}}
	for _, m := range tokenOf.FindAllStringSubmatch(string(css), -1) {
		themes[0][m[1]], themes[1][m[1]] = m[2]+m[4], m[3]+m[4]
	}
	return themes
}

// luminance is that of WCAG 2.2 (https://www.w3.org/TR/WCAG22/#dfn-relative-luminance).
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(colour, 16, 24)
	if err != nil {
		t.Fatal(err)
	}
	channel := func(shift int) float64 {
		c := float64(n>>shift&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*channel(16) + 0.7152*channel(8) + 0.0722*channel(0)
}

// Text can be read on whatever it lies on, in both themes, and controls can be
// made out.
func TestContrast(t *testing.T) {
	t.Parallel()
	type pair struct {
		over, under string
		least       float64
	}
	var pairs []pair
	for _, text := range []string{"text", "muted", "faint", "accent"} {
		for _, ground := range []string{"bg", "surface", "raised", "sunken", "hover"} {
			pairs = append(pairs, pair{text, ground, 4.5})
		}
	}
	for _, tone := range []string{"ok", "run", "warn", "bad", "off"} {
		pairs = append(pairs, pair{tone, tone + "-soft", 4.5}, pair{tone, "surface", 4.5}, pair{tone, "sunken", 4.5}, pair{"text", tone + "-soft", 4.5},
			pair{"muted", tone + "-soft", 4.5}, pair{tone + "-fill", "surface", 2})
	}
	pairs = append(pairs, pair{"on-accent", "accent-fill", 4.5}, pair{"on-accent", "accent-over", 4.5}, pair{"accent", "accent-soft", 4.5}, pair{"muted", "accent-soft", 4.5},
		pair{"control", "surface", 3}, pair{"control", "bg", 3}, pair{"focus", "bg", 3}, pair{"focus", "surface", 3})
	for i, theme := range readTokens(t) {
		for _, p := range pairs {
			if theme[p.over] == "" || theme[p.under] == "" {
				t.Fatalf("there is no colour %s or %s", p.over, p.under)
			}
			a, b := luminance(t, theme[p.over]), luminance(t, theme[p.under])
			if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < p.least {
				t.Errorf("%s on %s in theme %d: %.2f, want %.1f", p.over, p.under, i, ratio, p.least)
			}
		}
	}
}
