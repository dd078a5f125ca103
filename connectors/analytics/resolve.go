package analytics

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

	"github.com/fairlead/fairlead/connectors"
)

const brokenHint = "run the connector again; nothing but Fairlead may write below extracts/"

// resolve makes out what is to be attached, by what is wanted and what is good,
// and has the workers brought to it. The caller has the lock change.
func (i *instance) resolve() {
	c := &catalog{sources: map[string]*generation{}, problems: map[string]problem{}, lost: map[string]bool{}, tokens: map[string]string{}}
	taken := map[string]string{}
	for _, source := range slices.Sorted(maps.Keys(i.want)) {
		if other, clash := taken[fold(source)]; clash {
			c.problems[source] = problem{fmt.Sprintf("source %s has this name in other letters, which DuckDB does not tell apart", other), "rename one of the two"}
			continue
		}
		taken[fold(source)] = source
		if g := i.settleOn(source, c); g != nil {
			c.sources[source] = g
		}
	}
	for source, p := range i.state.Pins {
		if identity, wanted := i.want[source]; wanted && identity != p.Identity {
			delete(i.state.Pins, source)
		}
	}
	c.flat, c.conflicts = claim(i.state.Claims, c.sources)
	c.system = i.systemTables()
	i.addRemotes(c)
	i.writeState()
	i.swap(c)
	i.export.later(i)
}

// settleOn chooses the generation of a source and looks at its files before
// anybody attaches them. One that was damaged is set aside for the one before.
func (i *instance) settleOn(source string, c *catalog) *generation {
	s, err := i.store(source)
	if err != nil {
		c.problems[source] = problem{err.Error(), "mend the directory of the source"}
		return nil
	}
	for {
		g := i.choose(s, source)
		if g == nil {
			i.explain(c, s, source, 0)
			return nil
		}
		had := i.catalog().sources[source]
		if had == nil || had.number != g.number {
			if err := g.verify(false); i.setAside(s, g.number, err) {
				continue
			}
		}
		if err := s.setCurrent(g.number); err != nil { // it is attached all the same
			i.a.event(i.name, source, "LinkNotWritten", err.Error(), "make room on the disk")
		}
		i.explain(c, s, source, g.number)
		return g
	}
}

// choose is the newest generation of the identity that is wanted; without one,
// what is attached stays.
func (i *instance) choose(s *store, source string) *generation {
	want, good := i.want[source], s.good()
	good = slices.DeleteFunc(good, func(g *generation) bool { _, bad := i.bad[source][g.number]; return bad })
	if p, held := i.state.Pins[source]; held && p.Identity == want {
		for _, g := range good {
			if g.number == p.Generation {
				return g
			}
		}
	}
	current := s.currentNumber()
	var stays *generation
	for _, g := range good {
		if g.manifest.Identity == want {
			return g
		}
		if g.number == current {
			stays = g
		}
	}
	if stays == nil && len(good) > 0 {
		return good[0]
	}
	return stays
}

// explain says what is wrong with a source whose newest generation is not used.
func (i *instance) explain(c *catalog, s *store, source string, chosen int) {
	n, reason := s.newestDamaged()
	_, held := i.state.Pins[source]
	lost := chosen == 0 || !held // what somebody rolled back to is to stay
	for at, why := range i.bad[source] {
		if at > n {
			n, reason, lost = at, why, false // its files are as they were: a run would leave the same
		}
	}
	if n <= chosen {
		c.lost[source] = chosen == 0 // there never was any data, or somebody removed all of it
		return
	}
	what := fmt.Sprintf("generation %d is not used: %s", n, reason)
	if chosen > 0 {
		what += fmt.Sprintf("; generation %d is attached", chosen)
	}
	c.problems[source] = problem{what, brokenHint}
	c.lost[source] = lost
}

// setAside takes a generation that a check found damaged out of use for good. One
// that could not be looked at stays.
func (i *instance) setAside(s *store, n int, why error) bool {
	if why == nil {
		return false
	}
	if !errors.Is(why, errDamaged) {
		i.a.event(i.name, s.source, "NotChecked", why.Error(), "look at the rights and the state of the disk")
		return false
	}
	if err := s.setAside(n, why.Error()); err != nil {
		why = errors.Join(why, err)
	}
	i.damages.Add(1)
	i.a.event(i.name, s.source, "GenerationDamaged", why.Error(), brokenHint)
	return true
}

// addRemotes says which databases of others are attached, with what tokens, and
// gives a key that changes with either.
func (i *instance) addRemotes(c *catalog) {
	seen, sum := map[string]bool{}, fnv.New128a()
	for _, source := range slices.Sorted(maps.Keys(c.sources)) {
		for _, r := range c.sources[source].manifest.Remotes {
			if seen[fold(r.Alias)] {
				continue
			}
			seen[fold(r.Alias)] = true
			c.remotes = append(c.remotes, r)
			if value, ok := i.a.o.Token(i.name, r.TokenEnv); ok && r.TokenEnv != "" && slices.Contains(i.a.o.Remote.Tokens, r.TokenEnv) {
				c.tokens[r.TokenEnv] = value
			}
			fmt.Fprintf(sum, "%q %q %q %q %q\n", r.Alias, r.Extension, r.URL, r.TokenEnv, c.tokens[r.TokenEnv])
		}
	}
	c.remoteKey = hex.EncodeToString(sum.Sum(nil))
}

// inspect looks at the files of everything that is attached, and says whether
// something else is to be attached now.
func (i *instance) inspect(whole bool) (changed bool) {
	i.change.Lock()
	defer i.change.Unlock()
	c := i.catalog()
	for source, g := range c.sources {
		changed = i.setAside(i.stores[source], g.number, g.verify(whole)) || changed
	}
	if i.reopen() || changed || i.tokensChanged(c) {
		i.resolve()
	}
	return changed
}

// reopen tries again to open the sources that are wanted and could not be. The
// caller has the lock change.
func (i *instance) reopen() (any bool) {
	for source := range i.want {
		if i.stores[source] != nil || i.catalog().problems[source].text == "" {
			continue
		}
		_, err := i.store(source)
		any = any || err == nil
	}
	return any
}

func (i *instance) tokensChanged(c *catalog) bool {
	for _, r := range c.remotes {
		if r.TokenEnv == "" || !slices.Contains(i.a.o.Remote.Tokens, r.TokenEnv) {
			continue
		}
		if value, _ := i.a.o.Token(i.name, r.TokenEnv); value != c.tokens[r.TokenEnv] {
			return true
		}
	}
	return false
}

// Inspect looks at the files of everything that is attached in an instance; whole
// reads all of them. What was damaged is set aside, and the generation before is
// attached. It reports whether anything changed.
func (a *Analytics) Inspect(instance string, whole bool) (bool, error) {
	i, err := a.instance(instance)
	if err != nil {
		return false, err
	}
	return i.inspect(whole), nil
}

// unattachable notes that a worker could not attach a generation whose remotes
// are there. When its files are damaged it is set aside at once; else a new
// worker tries, and when that one cannot either the generation before is used.
func (i *instance) unattachable(source string, n int, why string, fresh bool) {
	i.change.Lock()
	defer i.change.Unlock()
	g := i.catalog().sources[source]
	if g == nil || g.number != n {
		return
	}
	key := fmt.Sprintf("%s/%d", source, n)
	if i.setAside(i.stores[source], n, g.verify(true)) {
		i.tries[key] = 0
	} else if i.tries[key] > 0 && !fresh {
		return // the new one is on its way
	} else if i.tries[key]++; i.tries[key] < 2 {
		i.replaceAll()
		return
	} else {
		delete(i.tries, key)
		if i.bad[source] == nil {
			i.bad[source] = map[int]string{}
		}
		i.bad[source][n] = "no query worker can attach it: " + why
		i.a.event(i.name, source, "NotAttached", fmt.Sprintf("attach generation %d: %s", n, why), brokenHint)
	}
	i.resolve()
}

// Generations lists those of a source, the newest first.
func (a *Analytics) Generations(instance, source string) ([]Generation, error) {
	i, s, err := a.source(instance, source)
	if err != nil {
		return nil, err
	}
	i.change.Lock()
	defer i.change.Unlock()
	list := s.list()
	for n := range list {
		if why := i.bad[source][list[n].Number]; why != "" && list[n].Damaged == "" {
			list[n].Damaged = why
		}
	}
	return list, nil
}

func (a *Analytics) source(instance, source string) (*instance, *store, error) {
	if !connectors.ValidName(source) {
		return nil, nil, fmt.Errorf("open source %q: the name is not valid", source)
	}
	i, err := a.instance(instance)
	if err != nil {
		return nil, nil, err
	}
	i.change.Lock()
	defer i.change.Unlock()
	s, err := i.store(source)
	return i, s, err
}

// Rollback attaches an older generation of a source, and holds it until a newer
// one is published or the desired state asks for something else.
func (a *Analytics) Rollback(instance, source string, n int) error {
	i, s, err := a.source(instance, source)
	if err != nil {
		return err
	}
	i.change.Lock()
	defer i.change.Unlock()
	g := s.get(n)
	if g == nil {
		return connectors.WithHint(fmt.Errorf("roll back %s: there is no good generation %d", source, n), "list the generations to see which there are")
	}
	if err := g.verify(false); err != nil {
		_ = i.setAside(s, n, err)
		return fmt.Errorf("roll back %s: %w", source, err)
	}
	i.state.Pins[source] = pin{n, i.want[source]}
	delete(i.bad[source], n)
	i.writeState()
	i.resolve()
	return nil
}

// Purge removes the data of a source that is not wanted any more.
func (a *Analytics) Purge(ctx context.Context, instance, source string) error {
	i, s, err := a.source(instance, source)
	if err != nil {
		return err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return fmt.Errorf("purge %s: %w", source, err)
	}
	defer unlock()
	i.change.Lock()
	defer i.change.Unlock()
	if _, wanted := i.want[source]; wanted {
		return connectors.WithHint(fmt.Errorf("purge %s: the desired state wants it", source), "remove the connector from the desired state first")
	}
	delete(i.state.Pins, source)
	delete(i.state.Exported, source)
	delete(i.bad, source)
	i.writeState()
	i.settle(ctx) // nobody reads it any more
	return s.purge()
}

// prune removes what is older than the generations to keep and nobody holds. The
// caller has the lock of the store.
func (i *instance) prune(s *store, source string) {
	i.change.Lock()
	defer i.change.Unlock()
	keep, known := i.keep[source]
	if !known {
		return
	}
	held := i.held(source)
	if p, ok := i.state.Pins[source]; ok {
		held[p.Generation] = true
	}
	held[i.state.Exported[source]] = true
	if want, ok := i.want[source]; ok {
		for _, g := range s.good() { // the newest that the wanted identity leads to
			if g.manifest.Identity == want {
				held[g.number] = true
				break
			}
		}
	}
	if err := s.prune(keep, func(n int) bool { return held[n] }); err != nil {
		i.a.event(i.name, source, "NotPruned", err.Error(), "look at the rights and the state of the disk")
	}
}
