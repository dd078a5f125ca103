package analytics

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/connectors"
)

// Whatever catalogues follow each other, and wherever the worker was not certain
// in between, what it is told brings it to what the last one says.
func TestDifferencesLeadToTheCatalogue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &worker{have: map[string]int{}, flat: map[string]string{}, system: map[string]string{}}
		has, names := map[string]int{}, map[string]string{} // what a real one would have
		claims := map[string][]string{}
		for step := range rapid.IntRange(1, 8).Draw(t, "steps") {
			c := drawCatalog(t, step, claims)
			for _, part := range c.difference(w, rapid.Bool().Draw(t, "one by one")) {
				for _, s := range part.Sources {
					has[s.Name] = s.Generation
				}
				for _, s := range part.Detach {
					delete(has, s)
				}
				for name, to := range part.Flat {
					if names[fold(name)] = to; to == "" {
						delete(names, fold(name))
					}
				}
			}
			w.have = maps.Clone(has)
			if w.flat = maps.Clone(c.flat); rapid.Bool().Draw(t, "unsure") {
				w.flat = unsure(w.flat, c.flat)
			}
			want := map[string]string{}
			for name, to := range c.flat {
				want[fold(name)] = to
			}
			if !maps.Equal(names, want) || len(has) != len(c.sources) {
				t.Fatalf("has %v %v, wants %v of %v", has, names, want, slices.Collect(maps.Keys(c.sources)))
			}
			for source, g := range c.sources {
				if has[source] != g.number {
					t.Fatalf("%s is at %d and should be at %d", source, has[source], g.number)
				}
			}
		}
	})
}

func drawCatalog(t *rapid.T, step int, claims map[string][]string) *catalog {
	c := &catalog{sources: map[string]*generation{}}
	for _, source := range []string{"a", "b", "c"} {
		tables := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"x", "X", "y", "z"}), 0, 3, fold).Draw(t, source)
		if len(tables) == 0 {
			continue
		}
		m := &connectors.Manifest{}
		for _, name := range tables {
			m.Tables = append(m.Tables, connectors.ManifestTable{Name: name})
		}
		c.sources[source] = &generation{number: step + 1, manifest: m}
	}
	before := map[string]string{}
	for name, list := range claims {
		before[name] = list[0]
	}
	c.flat, c.conflicts = claim(claims, c.sources)
	for name, list := range claims { // who had it and still has the table keeps it
		if had := before[name]; had != "" && slices.Contains(list, had) && list[0] != had {
			t.Fatal(fmt.Sprint(name, " went from ", had, " to ", list[0]))
		}
	}
	return c
}
