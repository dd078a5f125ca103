package reconciler_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// told collects lines.
type told struct {
	mu    sync.Mutex
	lines []reconciler.Line
}

func (l *told) add(line reconciler.Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

// take returns what was told since the last call, as "kind object: text".
func (l *told) take(t *testing.T) (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, line := range l.lines {
		if line.At.IsZero() || i > 0 && line.At.Before(l.lines[i-1].At) {
			t.Errorf("line %d is of %s", i, line.At)
		}
		out = append(out, string(line.Kind)+" "+line.Object+": "+line.Text)
	}
	l.lines = nil
	return out
}

// inOrder reports the first of the texts that lines do not begin with, one after
// the other; others may stand between them.
func inOrder(lines []string, texts ...string) string {
	for _, text := range texts {
		i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, text) })
		if i < 0 {
			return text
		}
		lines = lines[i+1:]
	}
	return ""
}

func toldIn(t *testing.T, h *house) *told {
	l := &told{}
	h.lines = l.add
	h.restart()
	return l
}

func TestAnApplyIsToldAsItIsDone(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		l := toldIn(t, h)
		first := acme(service("db", "db:1"), after(service("app", "app:1"), desired.Healthy, "db"))
		h.apply(first)
		got := l.take(t)
		if missing := inOrder(got, `begin : deploy 00000000 "revision 1"`, "plan : Plan: 3 to create", "action acme_default: create network", "action acme-db-1: create container",
			"wait app: wait for db (healthy), on which it depends", "action acme-app-1: create container", "wait acme-app-1: wait until it is up and healthy",
			"wait acme-app-1: ready after", "bake : see for 2s", "result : generation 1 stands"); missing != "" {
			t.Errorf("no line %q in its place of\n%s", missing, strings.Join(got, "\n"))
		}
		h.once()
		if got := l.take(t); len(got) != 0 {
			t.Errorf("of a pass that had nothing to do was told:\n%s", strings.Join(got, "\n"))
		}
		second := first
		second.Services = map[string]desired.Service{"db": first.Services["db"], "app": env(after(service("app", "app:crash"), desired.Healthy, "db"), "PASSWORD", "battery")}
		second.Sensitive = []string{"battery"}
		h.apply(second)
		got = l.take(t)
		if missing := inOrder(got, "begin : deploy", "action acme-app-1: replace container", "undo : generation 2 failed, so generation 1 comes back", "action acme-app-1: replace container",
			"result : generation 2 failed and generation 1 is back"); missing != "" {
			t.Errorf("no line %q in its place of\n%s", missing, strings.Join(got, "\n"))
		}
		if strings.Contains(strings.Join(got, "\n"), "battery") {
			t.Errorf("a secret was told:\n%s", strings.Join(got, "\n"))
		}
		h.engine.Kill("acme-app-1")
		h.once()
		if got = l.take(t); inOrder(got, "begin : put back what is not as it should be", "action acme-app-1:", "result : generation 1 stands") != "" {
			t.Errorf("of a heal was told\n%s", strings.Join(got, "\n"))
		}
	})
}

// What nobody begins is told with why, and so is who waits for what.
func TestWhatIsNotBegunIsTold(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		l := toldIn(t, h)
		h.apply(acme(service("app", "app:1")))
		l.take(t)
		h.apply(acme(service("app", "app:nowhere")))
		if got := l.take(t); inOrder(got, "begin : deploy", "result : nothing was touched: pull app:nowhere: not found") != "" {
			t.Errorf("of an image that there is not was told\n%s", strings.Join(got, "\n"))
		}
		h.repo.commitBad(errBoom)
		h.once()
		if got := l.take(t); inOrder(got, "gate : 00000000") != "" {
			t.Errorf("of a revision that does not load was told\n%s", strings.Join(got, "\n"))
		}
	})
}

// A switch is told in the order in which users are led.
func TestASwitchIsTold(t *testing.T) {
	t.Parallel()
	for name, spec := range map[string]desired.Spec{"held": streetSpec(), "beside": startFirst(streetSpec())} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &told{}
			s := newStreet(t, spec, &build{version: "1"})
			s.lines = l.add
			s.restart()
			s.once()
			l.take(t)
			s.push(&build{version: "2"})
			s.once()
			got := l.take(t)
			want := []string{"begin :", "plan : Plan:", "plan app: ", "action acme-app-1: replace", "switch acme-app-1: lead no more", "switch acme-app-1: no request is",
				"wait acme-app-1: wait until it answers GET /readyz", "smoke acme-app-1: make 1 smoke step", "smoke acme-app-1: every smoke step", "switch app: requests go to it", "result :"}
			if name == "beside" {
				want = []string{"begin :", "plan app: nobody waits", "action acme-app-1: replace", "check acme-app-1", "smoke acme-app-1.next: make 1", "switch acme-app-1.next: requests go to it as well", "switch acme-app-1: lead no more", "result :"}
			}
			if missing := inOrder(got, want...); missing != "" {
				t.Errorf("no line %q in its place of\n%s", missing, strings.Join(got, "\n"))
			}
			s.nobodyNoticed()
		})
	}
}

// A revision that changes nothing of an instance is applied there, and is not
// the one that changed it; also after a restart.
func TestTheRevisionThatChangedAnInstance(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		first := h.repo.commit(acme(service("app", "app:1")))
		h.once()
		newest := h.repo.commit(acme(service("app", "app:1")))
		for _, when := range []string{"then", "after a restart"} {
			if s := h.once(); s.Changed.Commit != first || s.Applied.Commit != newest || s.Generation != 1 {
				t.Errorf("%s: changed by %s, applied %s, generation %d", when, s.Changed.Short(), s.Applied.Short(), s.Generation)
			}
			h.restart()
		}
		second := h.repo.commit(acme(service("app", "app:2")))
		if s := h.once(); s.Changed.Commit != second || s.Applied.Commit != second {
			t.Errorf("changed by %s, applied %s", s.Changed.Short(), s.Applied.Short())
		}
	})
}
