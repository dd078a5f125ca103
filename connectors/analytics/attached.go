package analytics

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors"
)

// Attached tells what the query workers of an instance really have. A worker
// that answers a query has the new generation before its next one, so it is not
// behind; one that could not attach it is.
func (a *Analytics) Attached(instance string) []connectors.Attached {
	i, err := a.instance(instance)
	if err != nil {
		return nil
	}
	i.pool.mu.Lock()
	defer i.pool.mu.Unlock()
	c := i.now
	names := map[string]bool{}
	for source := range c.sources {
		names[source] = true
	}
	for source := range c.problems {
		names[source] = true
	}
	for source := range c.lost {
		names[source] = true
	}
	var out []connectors.Attached
	for _, source := range slices.Sorted(maps.Keys(names)) {
		out = append(out, i.attached(c, source))
	}
	return out
}

const remoteHint = "the copied tables of the source can be queried; look at the extension, the host and the token"

// attached is what is known of one source. The caller has the lock.
func (p *pool) attached(c *catalog, source string) connectors.Attached {
	one := connectors.Attached{Source: source, Lost: c.lost[source], Conflicts: c.conflicts[source]}
	if why, bad := c.problems[source]; bad {
		one.Behind, one.Problem, one.Hint = true, why.text, why.hint
	}
	g := c.sources[source]
	if g == nil {
		return one
	}
	there := 0
	for w := range p.all {
		if w.version == 0 {
			continue // it is being started
		}
		there++
		if why := w.failed[source]; why != "" {
			one.Behind, one.Problem, one.Hint = true, why, "another worker tries; if it cannot either the generation before is attached"
			if w.have[source] == g.number {
				one.Hint = remoteHint
			}
		} else if w.have[source] != g.number && !w.busy {
			one.Behind = true
			set(&one.Problem, "a query worker is about to attach it")
		}
		for _, r := range g.manifest.Remotes {
			if why := w.ready.Remotes[r.Alias]; why != "" {
				one.Behind, one.Problem = true, "attach remote database "+r.Alias+": "+why
				one.Hint = remoteHint
			}
		}
	}
	// One that takes the place of another has what that one had.
	if there == 0 && (p.served != c.version || p.lastFail != nil) {
		one.Behind = true // no problem as long as none failed: they are started with the daemon
		if p.lastFail != nil {
			one.Problem, one.Hint = p.lastFail.Error(), "look at the log of the daemon"
		}
		return one
	}
	one.Generation, one.Identity, one.Commit = g.number, g.manifest.Identity, g.manifest.Commit
	one.At, one.Tables = g.manifest.At, g.manifest.Tables
	return one
}

// Extension is one that attached databases may need.
type Extension struct {
	Name string `json:"name"`
	Path string `json:"path,omitempty"` // of its file; empty: it is not there
}

// extensionFile is what the file of an extension is called: some have a name
// for short, and LOAD looks for the long one (DuckDB 1.5.6).
func extensionFile(name string) string {
	if slices.Contains([]string{"postgres", "mysql", "sqlite"}, name) {
		name += "_scanner"
	}
	return name + ".duckdb_extension"
}

// Extensions says which extensions of the allow-list are in the directory of
// extensions, laid out as DuckDB does: VERSION/PLATFORM/NAME.duckdb_extension.
// Nothing is downloaded.
func (a *Analytics) Extensions() []Extension {
	var out []Extension
	for _, name := range a.o.Remote.Extensions {
		one := Extension{Name: name}
		if connectors.ValidName(name) && a.o.Extensions != "" {
			found, _ := filepath.Glob(filepath.Join(a.o.Extensions, "*", "*", extensionFile(name)))
			slices.Sort(found)
			for _, path := range found { // of the newest version there is
				if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
					one.Path = path
				}
			}
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(x, y Extension) int { return strings.Compare(x.Name, y.Name) })
	return out
}
