package swap_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker/swap"
)

const name = "acme-web-1"

var states = []reconciler.State{
	reconciler.StateCreated, reconciler.StateRunning, reconciler.StatePaused,
	reconciler.StateRestarting, reconciler.StateExited, reconciler.StateDead,
}

// anyContainers draws what any crash, tampering or older version may have left.
func anyContainers(t *rapid.T) []swap.Container {
	n := rapid.IntRange(0, 5).Draw(t, "n")
	var out []swap.Container
	taken := map[string]bool{}
	for i := range n {
		proper := rapid.SampledFrom([]string{name, name, "old-name"}).Draw(t, "proper")
		c := swap.Container{
			ID: fmt.Sprint("c", i), Proper: proper,
			Name:  rapid.SampledFrom([]string{proper, proper + ".next", proper + ".previous", "stray"}).Draw(t, "name"),
			State: rapid.SampledFrom(states).Draw(t, "state"),
			Fits:  proper == name && rapid.Bool().Draw(t, "fits"),
		}
		if c.State == reconciler.StateDead {
			c.Fits = false
		}
		if !taken[c.Name] {
			out = append(out, c)
		}
		taken[c.Name] = true
	}
	return out
}

func find(have []swap.Container, id string) (swap.Container, bool) {
	for _, c := range have {
		if c.ID == id {
			return c, true
		}
	}
	return swap.Container{}, false
}

// From anything that can be there, any cut included, the steps lead to one
// container that fits under its name; none stops what serves before there is
// something to take its place; no name is ever given twice.
func TestNextLeadsToTheTarget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have := anyContainers(t)
		w := swap.Want{Name: name, StartFirst: rapid.Bool().Draw(t, "first"), Rest: rapid.Bool().Draw(t, "rest")}
		p := anyPolicies(t, have)
		for i := 0; ; i++ {
			if i > 60 {
				t.Fatalf("no end: %+v", have)
			}
			s := swap.Next(w, have)
			if s.Op == swap.Done {
				break
			}
			check(t, w, have, s, p)
			have = p.take(w, have, s, fmt.Sprint("new", i))
			if i < 20 && rapid.Bool().Draw(t, "crash") { // what a driver knows beyond the engine is lost
				for j := range have {
					c := have[j]
					have[j] = swap.Container{ID: c.ID, Name: c.Name, Proper: c.Proper, State: c.State, Fits: c.Fits}
				}
				if rapid.Bool().Draw(t, "engine too") {
					p.restart(have)
				}
			}
		}
		served := 0
		for _, c := range have {
			switch {
			case c.Slot() == reconciler.SlotNext:
				t.Fatalf("left over: %+v", c)
			case c.Slot() == reconciler.SlotCurrent:
				served++
				if c.Name != name || !c.Fits || (!c.Active() && !w.Rest) || c.State == reconciler.StatePaused {
					t.Fatalf("serves: %+v", c)
				}
			}
		}
		if served != 1 {
			t.Fatalf("%d containers serve: %+v", served, have)
		}
	})
}

// policies are which containers the engine starts by itself, and what the
// target asks for.
type policies struct {
	revives map[string]bool
	want    bool
}

func anyPolicies(t *rapid.T, have []swap.Container) policies {
	p := policies{revives: map[string]bool{}, want: rapid.Bool().Draw(t, "always")}
	for _, c := range have {
		p.revives[c.ID] = rapid.Bool().Draw(t, "revives")
	}
	return p
}

// take does what an engine does.
func (p policies) take(w swap.Want, have []swap.Container, s swap.Step, made string) []swap.Container {
	out := swap.Apply(w, have, s, made)
	switch s.Op {
	case swap.Create:
		p.revives[made] = p.want
	case swap.Mend:
		p.revives[s.ID] = p.want
	case swap.Disarm:
		p.revives[s.ID] = false
	case swap.Prove:
		for i := range out {
			if out[i].ID == s.ID {
				out[i].Revives = p.revives[s.ID]
			}
		}
	}
	return out
}

// restart is one of the engine.
func (p policies) restart(have []swap.Container) {
	for i, c := range have {
		switch {
		case c.State == reconciler.StateCreated, c.State == reconciler.StateDead:
		case p.revives[c.ID]:
			have[i].State = reconciler.StateRunning
		case c.Active():
			have[i].State = reconciler.StateExited
		}
	}
}

func check(t *rapid.T, w swap.Want, have []swap.Container, s swap.Step, p policies) {
	if s.Op == swap.Create || s.Op == swap.Rename {
		for _, c := range have {
			if c.Name == s.Name {
				t.Fatalf("%s to %s, which is taken: %+v", s.Op, s.Name, have)
			}
		}
	}
	c, _ := find(have, s.ID)
	if s.Op == swap.Stop && !c.Left {
		t.Fatalf("stops %+v to which requests may be led", c)
	}
	if s.Op == swap.Start {
		checkAlone(t, w, have, c, p)
	}
	if s.Op != swap.Stop || c.Slot() != reconciler.SlotCurrent {
		return
	}
	for _, o := range have {
		if o.ID != c.ID && o.Fits {
			return
		}
	}
	t.Fatalf("stops %+v with nothing to take its place: %+v", c, have)
}

// checkAlone holds that no two containers of the replica write at a time, and
// none would once the engine was started again, but for the two of a start-first
// swap.
func checkAlone(t *rapid.T, w swap.Want, have []swap.Container, c swap.Container, p policies) {
	for _, o := range have {
		beside := w.StartFirst && c.Slot() == reconciler.SlotNext
		if o.ID != c.ID && !beside && (o.Active() || o.State == reconciler.StateExited && (!o.Ended || p.revives[o.ID])) {
			t.Fatalf("starts %+v while %+v may still run: %+v", c, o, have)
		}
	}
}

func TestNextRemovalEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have := anyContainers(t)
		object := rapid.SampledFrom([]string{name, "stray", "old-name"}).Draw(t, "object")
		kept, before, p := 0, map[string]bool{}, anyPolicies(t, have)
		for _, c := range have {
			if c.Slot() == reconciler.SlotPrevious {
				kept++
				before[c.ID] = true
			}
		}
		for i := 0; ; i++ {
			if i > 60 {
				t.Fatalf("no end: %+v", have)
			}
			s := swap.NextRemoval(object, have)
			if s.Op == swap.Done {
				break
			}
			c, _ := find(have, s.ID)
			if c.Slot() == reconciler.SlotPrevious {
				t.Fatalf("%s of a kept container: %+v", s.Op, c)
			}
			if s.Op == swap.Stop && !c.Left || s.Op == swap.Rename && c.State == reconciler.StateExited && !c.Ended {
				t.Fatalf("%s of %+v", s.Op, c)
			}
			have = p.take(swap.Want{Name: object}, have, s, "")
		}
		for _, c := range have {
			if c.Name == object && c.Slot() == reconciler.SlotCurrent {
				t.Fatalf("still there: %+v", c)
			}
			if c.Slot() == reconciler.SlotPrevious {
				kept--
				if !before[c.ID] && c.State == reconciler.StateExited && p.revives[c.ID] {
					t.Fatalf("the engine may start %+v", c)
				}
			}
		}
		if kept > 0 {
			t.Fatalf("a kept container is gone: %+v", have)
		}
	})
}

// The order of a replacement is the order in which people think of it.
func TestReplacementOrder(t *testing.T) {
	for _, c := range []struct {
		first, revives bool
		want           string
	}{
		{false, false, "create acme-web-1.next, leave old, stop old, prove old, rename old acme-web-1.previous, rename new acme-web-1, mend new, start new, "},
		{false, true, "create acme-web-1.next, leave old, stop old, prove old, rename old acme-web-1.previous, rename new acme-web-1, disarm old, mend new, start new, "},
		{true, false, "create acme-web-1.next, mend new, start new, wait new, lead new, leave old, stop old, prove old, rename old acme-web-1.previous, rename new acme-web-1, "},
		{true, true, "create acme-web-1.next, mend new, start new, wait new, lead new, leave old, stop old, prove old, rename old acme-web-1.previous, rename new acme-web-1, disarm old, "},
	} {
		have := []swap.Container{{ID: "old", Name: name, Proper: name, State: reconciler.StateRunning}}
		p := policies{revives: map[string]bool{"old": c.revives}, want: c.revives}
		w := swap.Want{Name: name, StartFirst: c.first}
		if _, got := steps(w, have, p); got != c.want {
			t.Errorf("start-first %t, revives %t:\n got %s\nwant %s", c.first, c.revives, got, c.want)
		}
	}
}

// What was set aside gets its policy back before it gets its name back.
func TestRestoreOrder(t *testing.T) {
	have := []swap.Container{
		{ID: "old", Name: name + ".previous", Proper: name, State: reconciler.StateExited, Fits: true},
		{ID: "new", Name: name, Proper: name, State: reconciler.StateRunning},
	}
	p := policies{revives: map[string]bool{"new": true}, want: true}
	have, got := steps(swap.Want{Name: name}, have, p)
	const want = "leave new, stop new, prove new, remove new, mend old, rename old acme-web-1, start old, "
	if got != want || len(have) != 1 || !p.revives["old"] {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// steps takes every step and tells them.
func steps(w swap.Want, have []swap.Container, p policies) (left []swap.Container, got string) {
	for {
		s := swap.Next(w, have)
		if s.Op == swap.Done {
			return have, got
		}
		got += string(s.Op)
		for _, word := range []string{s.ID, s.Name} {
			if word != "" {
				got += " " + word
			}
		}
		got += ", "
		have = p.take(w, have, s, "new")
	}
}
