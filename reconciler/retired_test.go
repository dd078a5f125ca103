package reconciler_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

// What runs and was taken back by its makers is told, whatever it is pinned by
// and whatever its reference means now; nothing is done about it.
func TestWhatRunsIsToldToBeTakenBack(t *testing.T) {
	pinned := func(ref string) desired.Spec {
		s := acme(service("app", ref))
		s.Follow = &desired.Follow{Ref: ref, Version: "2026.04.1", Every: 5 * time.Minute}
		return s
	}
	window, err := desired.ParseWindow("Mon 02:00-03:00")
	if err != nil {
		t.Fatal(err)
	}
	deferred := channelSpec()
	deferred.Follow.Window = &window
	for _, tt := range []struct {
		name   string
		spec   func(h *house) desired.Spec
		then   func(t *testing.T, h *house)
		reason string
	}{
		{"pinned by digest", func(h *house) desired.Spec { return pinned(h.digest("app:stable")) }, nil, "Deprecated"},
		{"pinned by version", func(*house) desired.Spec { return pinned("app:stable") }, nil, "Deprecated"},
		{"pinned by a version whose tag was moved", func(*house) desired.Spec { return pinned("app:stable") },
			func(_ *testing.T, h *house) { h.engine.Push("app:stable", drivertest.Healthy()) }, "Deprecated"},
		{"the channel's newest", func(*house) desired.Spec { return channelSpec() }, nil, "Deprecated"},
		{"the channel means something newer, which waits", func(*house) desired.Spec { return deferred },
			func(_ *testing.T, h *house) { h.engine.Push("app:stable", drivertest.Healthy()) }, "Window"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			channelTest(t, func(t *testing.T, h *house, c *channels) {
				runs := h.digest("app:stable")
				h.apply(tt.spec(h))
				if s := h.once(); s.Release.Deprecated != "" || s.Condition(reconciler.ReleaseReady).Reason == "Deprecated" {
					t.Fatalf("before it was taken back: %+v", s.Release)
				}
				c.retired = map[string]string{runs: "deprecated-2026.04.1"}
				if tt.then != nil {
					tt.then(t, h)
				}
				before := len(h.engine.Steps())
				s := h.once()
				cond := s.Condition(reconciler.ReleaseReady)
				if s.Release.Deprecated != "deprecated-2026.04.1" || cond.Status != "False" || cond.Reason != tt.reason ||
					!strings.Contains(cond.Message, "what runs was taken back by its makers (deprecated-2026.04.1)") {
					t.Errorf("%+v %+v", s.Release, cond)
				}
				h.runs(runs)
				if why, err := h.inst.Why("app"); err != nil || !strings.HasPrefix(why[0].Waiting, tt.reason+": ") || !strings.Contains(why[0].Waiting, "taken back") {
					t.Errorf("why: %+v, %v", why, err)
				}
				if extra := changing(h.engine.Steps()[before:]); len(extra) > 0 {
					t.Errorf("something was done about it: %v", extra)
				}
				delete(c.retired, runs)
				if s = h.once(); s.Release.Deprecated != "" {
					t.Errorf("after the tag is gone: %+v", s.Release)
				}
			})
		})
	}
}

// Without a daemon the status says what is followed and what runs, from what is
// remembered: no registry is asked.
func TestLookShowsTheRelease(t *testing.T) {
	channelTest(t, func(t *testing.T, h *house, c *channels) {
		h.apply(channelSpec())
		runs := h.digest("app:stable")
		h.engine.Push("app:stable", drivertest.Healthy())
		look := func() reconciler.Status {
			t.Helper()
			h.restart()
			c.asked = nil
			s, err := h.inst.Look(t.Context())
			if err != nil || s.Release == nil {
				t.Fatalf("%+v, %v", s, err)
			}
			if len(c.asked) > 0 {
				t.Errorf("the registry was asked for %v", c.asked)
			}
			return s
		}
		if s := look(); s.Release.Running != runs || s.Release.Ref != "app:stable" || s.Release.Channel != "stable" ||
			s.Release.RunningRelease == "" || s.Condition(reconciler.ReleaseReady).Reason != "Current" {
			t.Errorf("%+v %+v", s.Release, s.Conditions)
		}
		c.known = map[string]reconciler.Release{} // nothing is remembered
		if s := look(); s.Release.Running != runs || s.Release.Newest != "" || s.Condition(reconciler.ReleaseReady).Reason != "NotAsked" || s.Phase != reconciler.PhaseIdle {
			t.Errorf("%s %+v %+v", s.Phase, s.Release, s.Conditions)
		}
		c.known["app:stable"] = reconciler.Release{Digest: h.digest("app:stable"), Version: "2026.04.4"}
		if s := look(); s.Release.NewestRelease != "2026.04.4" || s.Condition(reconciler.ReleaseReady).Reason != "Waiting" || len(s.Pending) != 1 {
			t.Errorf("%+v %+v %+v", s.Release, s.Conditions, s.Pending)
		}
	})
}
