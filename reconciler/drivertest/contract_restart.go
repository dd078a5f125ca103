package drivertest

import (
	"context"
	"slices"
	"testing"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// RunEngineRestart tests what an engine that is started again, as at a boot,
// makes of a replacement that is not done. The engine must be the test's own.
func RunEngineRestart(t *testing.T, newHarness func(t *testing.T) Harness) {
	for _, c := range []struct {
		name string
		run  func(*bench)
	}{
		{"SetAsideStaysDown", (*bench).setAsideStaysDown},
		{"RemovedStaysDown", (*bench).removedStaysDown},
		{"OurOwnUpdateIsNoDrift", (*bench).ownUpdate},
		{"CutAnywhere", (*bench).cutByRestart},
		{"StartFirstGoesOn", (*bench).restartStartFirst},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(&bench{T: t, Harness: newHarness(t)}) })
	}
}

func (b *bench) policy(name string, v int) desired.Service {
	s := b.web(KindPlain, v)
	s.Restart = desired.Restart{Name: name}
	return s
}

// alive checks which of the containers of a service run.
func (b *bench) alive(when, service string, want ...string) {
	b.Helper()
	var got []string
	for _, suffix := range []string{"", ".next", ".previous"} {
		if b.Alive(b.name(service) + suffix) {
			got = append(got, service+suffix)
		}
	}
	if !slices.Equal(got, want) {
		b.Fatalf("%s: %q run, want %q", when, got, want)
	}
}

// setAsideStaysDown: whatever the policy, two never run on the same files.
func (b *bench) setAsideStaysDown() {
	policies := []string{"always", "on-failure", "unless-stopped", "no"}
	all := func(v int) reconciler.Target {
		var list []desired.Service
		for _, p := range policies {
			s := b.policy(p, v)
			s.Name = p
			list = append(list, s)
		}
		return b.target(v, list...)
	}
	one := b.deploy(all(1))
	two := b.prepare(all(2))
	b.Hands.Kill(b.name("on-failure")) // it ends with an error
	b.must(b.apply(two), "replace")
	b.Restart()
	for _, p := range policies {
		if b.Alive(b.name(p) + ".previous") {
			b.Fatalf("the engine started what was set aside with the policy %s", p)
		}
	}
	b.alive("after a restart of the engine", "always", "always")
	b.alive("after a restart of the engine", "unless-stopped", "unless-stopped")
	b.must(b.apply(two), "heal")
	b.must(b.apply(one), "undo")
	b.must(b.Driver.Settle(b.Context(), one), "settle")
	b.noChange("after the undo")
	b.Restart() // the policy is in effect again, not only told
	b.alive("after the undo and a restart of the engine", "always", "always")
	b.alive("after the undo and a restart of the engine", "unless-stopped", "unless-stopped")
}

// noChange checks that nothing counts as changed by other hands.
func (b *bench) noChange(when string) {
	b.Helper()
	for _, c := range b.observe(true).Containers {
		if len(c.Changed) > 0 {
			b.Fatalf("%s: %s counts as changed: %v", when, c.Name, c.Changed)
		}
	}
}

func (b *bench) removedStaysDown() {
	one := b.deploy(b.target(1, b.policy("always", 1)))
	b.must(b.Driver.Remove(b.Context(), b.target(2), b.container(reconciler.Remove, "web", 1)), "remove")
	b.Restart()
	b.alive("after a removal and a restart of the engine", "web")
	b.noChange("after a removal")
	b.must(b.apply(one), "undo")
	b.serves(one, "web")
	b.noChange("after the undo")
}

// ownUpdate: what we set ourselves is not told as the work of others, and what
// others set is, and is undone.
func (b *bench) ownUpdate() {
	limited := b.policy("always", 1)
	limited.Resources.Memory = 64 << 20
	one := b.deploy(b.target(1, limited))
	b.must(b.apply(b.prepare(b.target(2, b.policy("always", 2)))), "replace")
	b.noChange("after a replacement")
	previous := b.name("web") + ".previous"
	b.Limit(previous)
	b.changed(previous, "after docker update of a limit", "restart", false)
	b.Policy(previous, "unless-stopped")
	b.changed(previous, "after docker update of the policy", "restart", true)
	b.must(b.apply(one), "undo")
	b.serves(one, "web")
	b.noChange("after the undo")
	b.Policy(b.name("web"), "no")
	b.changed(b.name("web"), "after docker update of what serves", "restart", true)
	b.must(b.apply(one), "heal")
	b.noChange("after the heal")
}

// changed checks that a container counts as changed, and whether in a field.
func (b *bench) changed(name, when, field string, want bool) {
	b.Helper()
	for _, c := range b.observe(true).Containers {
		if c.Name != name {
			continue
		}
		if got := slices.ContainsFunc(c.Changed, func(c reconciler.Change) bool { return c.Field == field }); got != want || len(c.Changed) == 0 {
			b.Fatalf("%s: %s counts as changed in %v, want %s among them: %t", when, name, c.Changed, field, want)
		}
		return
	}
	b.Fatalf("%s: there is no %s", when, name)
}

// cutByRestart cuts a replacement off at a call and restarts the engine: at no
// point do two run.
func (b *bench) cutByRestart() {
	one := b.deploy(b.target(1, b.policy("always", 1)))
	two := b.prepare(b.target(2, b.policy("always", 2)))
	for n := 1; ; n += max(b.CutEvery, 1) {
		b.serves(one, "web")
		b.Fail(n)
		err := b.apply(two)
		b.Fail(0)
		b.Restart()
		b.one(n)
		if err == nil {
			if n < 4 {
				b.Fatal("no call was cut off")
			}
			return
		}
		if n%2 == 0 {
			b.must(b.apply(two), "go on")
			b.serves(two, "web")
			b.alive("after it went on", "web", "web")
		}
		b.must(b.apply(one), "undo")
		b.serves(one, "web")
		b.must(b.Driver.Settle(b.Context(), one), "settle")
		b.noChange("after the undo")
	}
}

// one checks that not more than one container of the service runs.
func (b *bench) one(n int) {
	b.Helper()
	var running []string
	for _, c := range b.observe(false).Containers {
		if c.State == reconciler.StateRunning {
			running = append(running, c.Name)
		}
	}
	if len(running) > 1 {
		b.Fatalf("cut at call %d: after a restart of the engine %v run", n, running)
	}
}

// restartStartFirst: both may run, so the engine may start both, and it goes on.
func (b *bench) restartStartFirst() {
	first := func(v int) reconciler.Target {
		s := b.policy("always", v)
		s.UpdateOrder = "start-first"
		return b.target(v, s)
	}
	one := b.deploy(first(1))
	old := b.serves(one, "web")
	two := b.prepare(first(2))
	two.Switch = &restarter{b: b}
	b.must(b.apply(two), "replace")
	b.alive("after the replacement", "web", "web")
	b.serves(two, "web")
	b.Restart()
	b.alive("after another restart", "web", "web")
	b.must(b.apply(one), "undo")
	if b.serves(one, "web") != old {
		b.Fatal("the undo did not bring the old container back")
	}
	b.noChange("after the undo")
}

// restarter is a Switch that restarts the engine when it is asked.
type restarter struct{ b *bench }

func (*restarter) Leave(context.Context, reconciler.Target, reconciler.Container) error { return nil }

func (r *restarter) Ready(context.Context, reconciler.Target, reconciler.Container) error {
	r.b.Restart()
	r.b.alive("start-first, after a restart of the engine", "web", "web", "web.next")
	return nil
}
