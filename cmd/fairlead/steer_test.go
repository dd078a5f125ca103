package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/reconciler"
)

func (w *world) status() (s reconciler.Status) {
	w.t.Helper()
	r := w.must(0, "status", "acme", "-o", "json")
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
		w.t.Fatalf("%v: %s", err, r.stdout)
	}
	return s
}

// until looks at the status until it is as wanted.
func (w *world) until(what string, is func(reconciler.Status) bool) {
	w.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); !is(w.status()); <-tick.C {
		if time.Now().After(end) {
			w.t.Fatalf("never %s: %+v", what, w.status())
		}
	}
}

// TestRetryWhileNothingIsTriedKeepsTheQuarantine: with an instance that is
// suspended or held, --retry lifts nothing, says so, and says what to do.
func TestRetryWhileNothingIsTriedKeepsTheQuarantine(t *testing.T) {
	w := newWorld(t)
	w.begin(acme("1"))
	w.start()
	w.must(0, "apply", "-q")
	w.commit("Upgrade", acme("2"))
	w.must(0, "apply", "-q")
	w.commit("Upgrade to a sick release", acme("sick"))
	w.must(3, "apply", "-q")
	kept := func(says string) {
		t.Helper()
		r := w.must(5, "apply", "--retry")
		if !strings.Contains(r.stderr, "What failed stays in quarantine") || !strings.Contains(r.stderr, says) {
			t.Errorf("it does not say %q:\n%s%s", says, r.stdout, r.stderr)
		}
		if s := w.status(); len(s.Quarantined) != 1 {
			t.Errorf("the quarantine was emptied without an apply: %+v", s.Quarantined)
		}
	}
	w.must(0, "suspend", "--reason", "stocktaking")
	kept("fairlead resume acme; then fairlead apply --retry acme")
	w.must(0, "resume")
	w.must(3, "apply") // it is still in quarantine
	if s := w.status(); s.Quarantined[0].Generation != 3 {
		t.Errorf("it was tried again: %+v", s.Quarantined)
	}
	w.must(0, "rollback", "1", "-q")
	kept("a commit that changes the instance ends the hold")
	w.commit("Suspend", map[string]string{"instance.yaml": acmeInstance + "suspend: {reason: moving}\n"})
	kept("take suspend out of instance.yaml")
	w.commit("Go on", map[string]string{"instance.yaml": acmeInstance, "compose.yaml": acmeCompose("2", "hi")})
	w.must(0, "apply", "-q")
	w.commit("Once more the sick release", acme("sick"))
	w.must(3, "apply")
	w.must(3, "apply", "--retry") // and then it does what it says
	if s := w.status(); len(s.Quarantined) != 1 || s.Quarantined[0].Generation == 3 {
		t.Errorf("it was not tried again: %+v", s.Quarantined)
	}
}

// TestSuspendDuringAnApplyLeavesItsOutcome: whoever waits for an apply is told
// what came of it, also when somebody suspended the instance meanwhile.
func TestSuspendDuringAnApplyLeavesItsOutcome(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		tag, phase string
		code       int
		says       string
	}{
		{"2", "Baking", 0, "Applied"},
		{"slow", "Applying", 3, "Rolled back"},
	} {
		t.Run(tt.says, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.begin(acme("1"))
			w.start()
			w.must(0, "apply", "-q")
			files := acme(tt.tag)
			files["instance.yaml"] = strings.Replace(acmeInstance, "50ms", "8s", 1)
			w.commit("Upgrade", files)
			done := make(chan result, 1)
			go func() { done <- w.run("apply") }()
			w.until(tt.phase, func(s reconciler.Status) bool { return string(s.Phase) == tt.phase && len(s.Pending) > 0 })
			w.must(0, "suspend", "--reason", "stocktaking")
			r := <-done
			if out := r.stdout + r.stderr; r.code != tt.code || !strings.Contains(out, tt.says) {
				t.Errorf("it ended with %d, want %d:\n%s", r.code, tt.code, out)
			}
			if s := w.status(); s.Phase != reconciler.PhaseSuspended {
				t.Errorf("phase %s", s.Phase)
			}
			w.must(5, "apply", "-q")
		})
	}
}
