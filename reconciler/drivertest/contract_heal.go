package drivertest

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

func (b *bench) healInPlace() {
	t := b.target(1, b.limited())
	t = b.deploy(t)
	id, name := b.serves(t, "web"), b.name("web")
	for what, tamper := range map[string]func(){
		"stop":       func() { b.Hands.Stop(name) },
		"kill":       func() { b.Hands.Kill(name) },
		"pause":      func() { b.Hands.Pause(name) },
		"rename":     func() { b.Hands.Rename(name, name+"-moved") },
		"disconnect": func() { b.Hands.Disconnect(name, b.network()) },
		"update":     func() { b.Limit(name) },
	} {
		b.Run(what, func(tt *testing.T) {
			h := &bench{T: tt, Harness: b.Harness}
			tamper()
			if what == "update" {
				c := h.observe(true).Containers[0]
				if len(c.Changed) == 0 {
					h.Fatal("a deep observation does not show the change")
				}
				h.surveyed()
			}
			h.must(h.Driver.Ensure(h.Context(), t, h.container(reconciler.Update, "web", 1)), "heal")
			if got := h.serves(t, "web"); got != id {
				h.Fatal("healed by making the container anew")
			}
			if c := h.observe(true).Containers; len(c) != 1 || len(c[0].Changed) != 0 {
				h.Fatalf("after healing: %+v", c)
			}
		})
	}
}

// surveyed fails the test unless a survey shows what a deep observation does
// but for settings.
func (b *bench) surveyed() {
	deep := b.observe(true)
	flat, err := b.Driver.Survey(b.Context(), b.Instance)
	b.must(err, "survey")
	for i := range deep.Containers {
		deep.Containers[i].Changed = nil
	}
	for i := range flat.Containers {
		if len(flat.Containers[i].Changed) != 0 {
			b.Fatalf("a survey shows settings: %+v", flat.Containers[i].Changed)
		}
		flat.Containers[i].Changed = nil
	}
	if !reflect.DeepEqual(deep.Containers, flat.Containers) || !reflect.DeepEqual(deep.Networks[b.network()], flat.Networks[b.network()]) ||
		flat.Volumes == nil || flat.Foreign == nil {
		b.Fatalf("a survey shows\n%+v, a deep observation\n%+v", flat, deep)
	}
}

// limited is a service with limits, so that they can be set back.
func (b *bench) limited() desired.Service {
	s := b.web(KindPlain, 1)
	s.Resources = desired.Resources{Memory: 64 << 20, MemorySwap: 128 << 20}
	return s
}

func (b *bench) healByReplacing() {
	t := b.deploy(b.target(1, b.limited()))
	id, name := b.serves(t, "web"), b.name("web")
	b.Hands.RemoveContainer(name)
	if o := b.observe(false); len(o.Containers) != 0 {
		b.Fatalf("after a removal: %+v", o.Containers)
	}
	t = b.deploy(t)
	again := b.serves(t, "web")
	if again == id {
		b.Fatal("the removed container still serves")
	}
	b.Hands.Recreate(name)
	c := b.observe(true).Containers
	if len(c) != 1 || len(c[0].Changed) == 0 || c[0].Changed[0].Field != "container" {
		b.Fatalf("re-creation by other hands is not noticed: %+v", c)
	}
	b.must(b.Driver.Ensure(b.Context(), t, b.container(reconciler.Replace, "web", 1)), "heal")
	b.must(b.Driver.Settle(b.Context(), t), "settle")
	if got := b.serves(t, "web"); got == c[0].ID {
		b.Fatal("the container of other hands still serves")
	}
	if o := b.observe(true).Containers; len(o) != 1 || len(o[0].Changed) != 0 {
		b.Fatalf("after healing: %+v", o)
	}
}

func (b *bench) foreign() {
	name := b.name("web")
	b.Hands.AddForeign(name, "someone")
	t := b.prepare(b.target(1, b.web(KindPlain, 1)))
	if err := b.apply(t); err == nil {
		b.Fatal("a name that a stranger holds was taken")
	}
	o := b.observe(true)
	if len(o.Containers) != 0 || o.Foreign[name] == "" || !b.Alive(name) {
		b.Fatalf("the stranger: %v, ours: %+v", o.Foreign, o.Containers)
	}
	b.Hands.AddForeign(b.Instance+"-taken", "someone")
	api := b.web(KindPlain, 1)
	api.Name = "api"
	one := b.deploy(b.target(1, api))
	old := b.serves(one, "api")
	api.ContainerName = b.Instance + "-taken"
	two := b.prepare(b.target(2, api))
	if err := b.apply(two); err == nil {
		b.Fatal("a name that a stranger holds was taken")
	}
	if b.serves(one, "api") != old || !b.Alive(b.Instance+"-taken") {
		b.Fatal("the old container or the stranger was stopped for a name that cannot be had")
	}
}

func (b *bench) instancesApart() {
	t := b.deploy(b.target(1, b.web(KindPlain, 1)))
	o, err := b.Driver.Observe(b.Context(), b.Instance+"x", true)
	b.must(err, "observe another instance")
	if len(o.Containers) != 0 || o.Foreign[b.name("web")] == "" || o.Networks[b.network()].Owned {
		b.Fatalf("another instance owns what is not its own: %+v", o)
	}
	b.serves(t, "web")
}

func (b *bench) wait(t reconciler.Target, c desired.Condition, stable, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(b.Context(), limit)
	defer cancel()
	return b.Driver.Await(ctx, t, reconciler.Wait{Service: "web", Replica: 1, Condition: c, Stable: stable})
}

func (b *bench) await() {
	for _, c := range []struct {
		kind  Kind
		cond  desired.Condition
		phase string // empty: fulfilled
	}{
		{KindPlain, desired.Started, ""},
		{KindHealthy, desired.Healthy, ""},
		{KindUnhealthy, desired.Healthy, "health"},
		{KindCrash, desired.Healthy, "health"},
	} {
		s := b.web(c.kind, 1)
		s.Restart.Name = "always"
		t := b.prepare(b.target(1, s))
		b.must(b.apply(t), "apply")
		err := b.wait(t, c.cond, 200*time.Millisecond, 2*time.Minute)
		if c.phase == "" {
			b.must(err, "wait for "+string(c.kind))
		} else {
			b.notReady(err, c.phase)
		}
		b.must(b.Driver.Remove(b.Context(), t, b.container(reconciler.Remove, "web", 1)), "remove")
		b.must(b.Driver.Settle(b.Context(), t), "settle")
	}
	t := b.prepare(b.target(2, b.web(KindPlain, 1)))
	b.must(b.apply(t), "apply")
	if err := b.wait(t, desired.Completed, 0, 300*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		b.Fatalf("a wait that runs out: %v, want the context's error", err)
	}
}

func (b *bench) awaitJob() {
	job := b.web(KindJob, 1)
	job.Job = true
	t := b.prepare(b.target(1, job))
	b.must(b.apply(t), "apply")
	b.must(b.wait(t, desired.Completed, 0, 2*time.Minute), "wait for the job")
	b.must(b.Driver.Settle(b.Context(), t), "settle")
	c := b.current("web")
	if !c.Completed || c.State != reconciler.StateExited || c.ExitCode != 0 {
		b.Fatalf("the job is not done: %+v", c)
	}
	b.must(b.apply(t), "apply again")
	if again := b.current("web"); again.ID != c.ID || again.State != reconciler.StateExited {
		b.Fatalf("the job ran again: %+v", again)
	}
	failed := b.web(KindCrash, 2)
	failed.Job = true
	t = b.prepare(b.target(2, failed))
	b.must(b.apply(t), "apply a job that fails")
	b.notReady(b.wait(t, desired.Completed, 0, 2*time.Minute), "completion")
}
