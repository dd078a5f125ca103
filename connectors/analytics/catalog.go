package analytics

import (
	"maps"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// catalog is what the workers of an instance are to have. It is never changed:
// another one takes its place.
type catalog struct {
	version   int64
	sources   map[string]*generation
	flat      map[string]string   // "orders" -> "shop.orders"
	conflicts map[string][]string // flat names that another source has, by source
	problems  map[string]problem  // by source
	lost      map[string]bool     // sources whose newest data only a run brings again
	system    []wire.SystemTable
	remotes   []connectors.Remote
	tokens    map[string]string
	remoteKey string // changes when a remote or its token does
}

// problem is why a source does not have what is wanted.
type problem struct{ text, hint string }

// wireSource is a generation as workers are told of it.
func (g *generation) wireSource(name string) wire.Source {
	return wire.Source{Name: name, Generation: g.number, Dir: g.dir, Tables: g.manifest.Tables}
}

// difference is what a worker has to be told so that it has this catalogue: one
// message, or one for each source.
func (c *catalog) difference(w *worker, oneByOne bool) (parts []wire.Attach) {
	var all wire.Attach
	for _, name := range slices.Sorted(maps.Keys(c.sources)) {
		if g := c.sources[name]; w.have[name] != g.number {
			all.Sources = append(all.Sources, g.wireSource(name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.have)) {
		if c.sources[name] == nil {
			all.Detach = append(all.Detach, name)
		}
	}
	for _, t := range c.system {
		if w.system[t.Name] != t.File {
			all.System = append(all.System, t)
		}
	}
	all.Flat = changedNames(w.flat, c.flat)
	if oneByOne {
		for _, s := range all.Sources {
			parts = append(parts, wire.Attach{Sources: []wire.Source{s}})
		}
		all.Sources = nil
	}
	if len(all.Sources)+len(all.Detach)+len(all.System)+len(all.Flat) > 0 {
		parts = append(parts, all)
	}
	return parts
}

// changedNames are the names of now that differ from before; an empty text takes
// one away.
func changedNames(before, now map[string]string) map[string]string {
	out, folded := map[string]string{}, map[string]bool{}
	for name, to := range now {
		if folded[fold(name)] = true; before[name] != to {
			out[name] = to
		}
	}
	for name := range before {
		if !folded[fold(name)] {
			out[name] = ""
		}
	}
	return out
}

// claim goes through what each source has and says who has which flat name:
// whoever claimed it first, as long as the table is there. The claims of before
// are changed to those of now.
func claim(claims map[string][]string, sources map[string]*generation) (flat map[string]string, conflicts map[string][]string) {
	spelt := map[string]map[string]string{} // folded table -> source -> as it is spelt there
	for source, g := range sources {
		for _, t := range g.manifest.Tables {
			if spelt[fold(t.Name)] == nil {
				spelt[fold(t.Name)] = map[string]string{}
			}
			spelt[fold(t.Name)][source] = t.Name
		}
	}
	for name := range claims {
		claims[name] = slices.DeleteFunc(claims[name], func(s string) bool { return spelt[name][s] == "" })
		if len(claims[name]) == 0 {
			delete(claims, name)
		}
	}
	flat, conflicts = map[string]string{}, map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(spelt)) {
		for _, source := range slices.Sorted(maps.Keys(spelt[name])) {
			if !slices.Contains(claims[name], source) {
				claims[name] = append(claims[name], source)
			}
		}
		owner := claims[name][0]
		flat[spelt[name][owner]] = owner + "." + spelt[name][owner]
		for _, other := range claims[name][1:] {
			conflicts[other] = append(conflicts[other], spelt[name][other])
		}
	}
	return flat, conflicts
}

// CatalogTable is a table that can be queried.
type CatalogTable = connectors.CatalogTable

// Catalog lists the tables of an instance, by source and name.
func (a *Analytics) Catalog(instance string) ([]CatalogTable, error) {
	i, err := a.instance(instance)
	if err != nil {
		return nil, err
	}
	c := i.catalog()
	owners := map[string]string{}
	for name, to := range c.flat {
		owners[fold(name)] = to
	}
	var out []CatalogTable
	for _, source := range slices.Sorted(maps.Keys(c.sources)) {
		g := c.sources[source]
		for _, t := range g.manifest.Tables {
			one := CatalogTable{Source: source, Name: t.Name, Description: t.Description, Owner: t.Owner, QueryMode: t.QueryMode,
				Rows: t.Rows, Bytes: t.Bytes, Columns: t.Columns, PrimaryKey: t.PrimaryKey, ExtractedAt: t.ExtractedAt,
				Generation: g.number, PublishedAt: g.manifest.At, SchemaChanges: t.SchemaChanges}
			if to := owners[fold(t.Name)]; to == source+"."+t.Name {
				one.Flat = t.Name
			} else {
				one.FlatOwner = to
			}
			out = append(out, one)
		}
	}
	slices.SortStableFunc(out, func(a, b CatalogTable) int {
		if a.Source != b.Source {
			return strings.Compare(a.Source, b.Source)
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out, nil
}
