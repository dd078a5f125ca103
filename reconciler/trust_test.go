package reconciler_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// vouching takes the word that stands for a signature for whoever made it.
func vouching(host *reconciler.HostSigners) *reconciler.Vouching {
	return &reconciler.Vouching{
		From: "here main",
		Host: func() (reconciler.HostSigners, error) {
			if host.File == "gone" {
				return reconciler.HostSigners{}, errors.New("the file of signers cannot be read")
			}
			return *host, nil
		},
		By: func(sig desired.Signature, file, signers string) (string, error) {
			if sig.Armoured == "" {
				return "", errors.New("it has no signature")
			}
			if !slices.Contains(strings.Fields(signers), sig.Armoured) {
				return "", errors.New("its key is not listed in " + file)
			}
			return sig.Armoured, nil
		},
	}
}

// guarded is a house whose instance asks for signatures of jan.
type guarded struct {
	*house
	host *reconciler.HostSigners
	now  time.Time
}

func guardTest(t *testing.T, test func(t *testing.T, g *guarded)) {
	lawTest(t, func(t *testing.T, h *house) { test(t, newGuarded(h)) })
}

func newGuarded(h *house) *guarded {
	g := &guarded{house: h, host: &reconciler.HostSigners{}, now: time.Now().Add(-96 * time.Hour)}
	g.vouch, g.repo.signed = vouching(g.host), map[string]desired.Signature{}
	g.restart()
	return g
}

// push makes a commit that somebody signed; nobody: it is not signed.
func (g *guarded) push(who string, s desired.Spec) reconciler.Status {
	g.t.Helper()
	g.now = g.now.Add(time.Minute)
	g.repo.signed[g.repo.commit(s)] = desired.Signature{Armoured: who, Time: g.now}
	return g.once()
}

// of is a revision with an image whose policy lists signers; none: it has no policy.
func of(image, signers string) desired.Spec {
	s := acme(service("app", image))
	if signers != "" {
		s.Policy = &desired.PolicySpec{Signed: true, SignersFile: "signers", Signers: signers}
	}
	return s
}

// runs fails the test unless just the image runs, and the newest revision was
// taken, or else refused for want of somebody who vouches.
func (g *guarded) runs(s reconciler.Status, image string, taken bool, parts ...string) {
	g.t.Helper()
	g.converged(acme(service("app", image)))
	source := s.Condition(reconciler.SourceReady)
	if taken {
		if s.Phase != reconciler.PhaseIdle || s.Sync != reconciler.Synced || source.Status != "True" {
			g.t.Errorf("not taken: %s %s %+v", s.Phase, s.Sync, source)
		}
		return
	}
	if s.Phase != reconciler.PhaseRefused || s.Sync != reconciler.OutOfSync || source.Reason != "NotVouchedFor" ||
		!slices.ContainsFunc(s.Problems, func(p desired.Problem) bool {
			return p.Rule == desired.RuleSigned && p.Hint != "" && p.File == "instances/acme/instance.yaml"
		}) {
		g.t.Errorf("not refused: %s %s %+v %+v", s.Phase, s.Sync, source, s.Problems)
	}
	for _, part := range parts {
		if !strings.Contains(source.Message, part) {
			g.t.Errorf("it says %s, without %s", source.Message, part)
		}
	}
}

// Whoever may push and not sign changes nothing: neither what runs nor who may
// sign, nor whether anybody must; also not over restarts.
func TestOnlyWhoIsTrustedChangesAnything(t *testing.T) {
	guardTest(t, func(t *testing.T, g *guarded) {
		g.runs(g.push("jan", of("app:1", "jan")), "app:1", true)
		g.runs(g.push("", of("app:2", "jan")), "app:1", false, "it has no signature")
		g.runs(g.push("eva", of("app:2", "jan eva")), "app:1", false, "its key is not listed in signers as of 0000")
		g.runs(g.push("eva", of("app:2", "")), "app:1", false)
		g.restart()
		g.runs(g.once(), "app:1", false)
		events, err := g.inst.Events(10)
		if err != nil || !slices.ContainsFunc(events, func(e reconciler.Event) bool {
			return e.Reason == "Refused" && strings.Contains(e.Message, "is refused: instances/acme/instance.yaml: policy.requireSignedCommits: nobody vouches for commit")
		}) {
			t.Errorf("%v, %+v", err, events)
		}
		g.runs(g.push("jan", of("app:2", "jan")), "app:2", true)
	})
}

// Signers change by a commit that one of those before them signs, also when that
// one does not come to run.
func TestSignersChangeHands(t *testing.T) {
	guardTest(t, func(t *testing.T, g *guarded) {
		g.runs(g.push("jan", of("app:1", "jan")), "app:1", true)
		sick := of("app:crash", "eva")
		if s := g.push("jan", sick); s.Outcome != reconciler.RolledBack {
			t.Fatalf("%+v", s)
		}
		g.runs(g.push("jan", of("app:2", "eva")), "app:1", false)
		g.runs(g.push("eva", of("app:2", "eva")), "app:2", true)
		g.runs(g.push("eva", of("app:1", "")), "app:1", true)
		g.runs(g.push("", of("app:2", "")), "app:2", true)
	})
}

// The commit that first asks for signatures has one by itself: a slip locks
// nobody out.
func TestFirstToAskIsSigned(t *testing.T) {
	guardTest(t, func(t *testing.T, g *guarded) {
		g.runs(g.push("", of("app:1", "")), "app:1", true)
		g.runs(g.push("", of("app:2", "jan")), "app:1", false)
		g.runs(g.push("eva", of("app:2", "jan")), "app:1", false)
		g.runs(g.push("", of("app:2", "")), "app:2", true)
		g.runs(g.push("jan", of("app:1", "jan")), "app:1", true)
		if s := g.once(); s.Condition(reconciler.SourceReady).Message != "00000000 revision 5 (signed by jan)" {
			t.Errorf("%+v", s.Condition(reconciler.SourceReady))
		}
	})
}

// A commit for others stops nobody: it changes nothing here.
func TestUnsignedCommitsElsewhere(t *testing.T) {
	guardTest(t, func(t *testing.T, g *guarded) {
		g.runs(g.push("jan", of("app:1", "jan")), "app:1", true)
		s := g.push("", of("app:1", "jan"))
		g.runs(s, "app:1", true)
		if len(s.Notes) != 1 || !strings.Contains(s.Notes[0], "it changes nothing of this instance") {
			t.Errorf("%q", s.Notes)
		}
		suspended := of("app:1", "jan")
		suspended.Suspend = &desired.Suspend{Reason: "mine now"}
		g.runs(g.push("", suspended), "app:1", false)
		told := of("app:1", "jan")
		told.Notify = []desired.NotifySpec{{URL: "generic+https://evil.com/"}}
		g.runs(g.push("", told), "app:1", false)
	})
}

// A signature of another day is none for today: the branch was put back.
func TestOldCommitsAreNotTakenAgain(t *testing.T) {
	guardTest(t, func(t *testing.T, g *guarded) {
		g.now = g.now.Add(-48 * time.Hour)
		g.runs(g.push("jan", of("app:1", "jan")), "app:1", true)
		old := g.repo.latest
		g.now = g.now.Add(48 * time.Hour)
		g.runs(g.push("jan", of("app:2", "jan")), "app:2", true)
		g.repo.mu.Lock()
		g.repo.latest = old
		g.repo.mu.Unlock()
		g.runs(g.once(), "app:2", false, "older than 00000000, which was taken before it")
		g.vouch.From = "here stable" // the operator follows something else
		g.restart()
		g.runs(g.once(), "app:1", true)
		g.now = g.now.Add(-48*time.Hour - 30*time.Minute) // a clock that is behind
		g.runs(g.push("jan", of("app:2", "jan")), "app:2", true)
	})
}

// Who signs with a clock that is years ahead does not shut the others out.
func TestClocksThatAreAhead(t *testing.T) {
	guardTest(t, func(t *testing.T, g *guarded) {
		g.now = time.Now().Add(365 * 24 * time.Hour)
		g.runs(g.push("jan", of("app:1", "jan eva")), "app:1", true)
		g.now = time.Now()
		g.runs(g.push("eva", of("app:2", "jan eva")), "app:2", true)
	})
}

// The host's list is the only one where there is one, and what it cannot read it
// does not take.
func TestSignersOfTheHost(t *testing.T) {
	guardTest(t, func(t *testing.T, g *guarded) {
		*g.host = reconciler.HostSigners{Signed: true, File: "/etc/fairlead/signers", Signers: "root"}
		if s := g.push("jan", of("app:1", "jan")); s.Phase != reconciler.PhaseRefused || len(g.observed().Containers) > 0 {
			t.Errorf("%+v", s)
		}
		g.runs(g.push("root", of("app:1", "")), "app:1", true)
		g.runs(g.push("", of("app:2", "")), "app:1", false, "it has no signature")
		g.host.File = "gone"
		g.runs(g.push("root", of("app:2", "")), "app:1", false, "cannot be read")
		g.host.File = "/etc/fairlead/signers"
		g.restart()
		g.runs(g.once(), "app:2", true)
		*g.host = reconciler.HostSigners{}
		g.runs(g.push("", of("app:1", "")), "app:1", true)
	})
}

// What is wrong with a revision is told beside that nobody vouches for it.
func TestBrokenAndUnsigned(t *testing.T) {
	guardTest(t, func(t *testing.T, g *guarded) {
		g.runs(g.push("jan", of("app:1", "jan")), "app:1", true)
		g.repo.commitBad(desired.Problems{{File: "instances/acme/compose.yaml", Line: 3, Text: "is wrong"}})
		s := g.once()
		if len(s.Problems) != 2 || s.Condition(reconciler.SourceReady).Reason != "NotVouchedFor" {
			t.Errorf("%+v", s)
		}
		g.repo.signed[g.repo.commitBad(desired.Problems{{File: "x", Text: "the image y", Rule: desired.RuleImages}})] = desired.Signature{Armoured: "jan", Time: g.now}
		if s := g.once(); len(s.Problems) != 1 || s.Condition(reconciler.SourceReady).Reason != "AgainstPolicy" {
			t.Errorf("%+v", s)
		}
	})
}

// A policy that nobody can judge is not taken for kept.
func TestSignaturesWithoutAJudge(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		if s := h.apply(of("app:1", "jan")); s.Phase != reconciler.PhaseRefused || len(h.observed().Containers) > 0 {
			t.Errorf("%+v", s)
		}
	})
}

// What would come of a commit that is not signed yet can be seen.
func TestPreviewOfTheUnsigned(t *testing.T) {
	guardTest(t, func(t *testing.T, g *guarded) {
		g.runs(g.push("jan", of("app:1", "jan")), "app:1", true)
		id := g.repo.commit(of("app:2", "jan"))
		snapshot := desired.Snapshot{Revision: desired.Revision{Commit: id}, Tree: tree{id}}
		p, err := g.inst.Preview(t.Context(), &snapshot)
		if err != nil || len(p.Actions) != 1 || !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, "it would be refused: ") }) {
			t.Errorf("%v, %+v", err, p)
		}
		if _, err := g.inst.Preview(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "nobody vouches for commit") {
			t.Errorf("got %v", err)
		}
	})
}

// A commit that nobody vouches for makes no instance go away, also not for a
// daemon that starts on it.
func TestUnsignedRemoval(t *testing.T) {
	fleetTest(t, func(t *testing.T, f *fleet) {
		f.commit(func() { f.add("globex", "app:1") })
		host := &reconciler.HostSigners{Signed: true, File: "f", Signers: "jan"}
		f.cfg.Vouch = vouching(host)
		f.mu.Lock()
		f.found, f.n = f.found[:1], f.n+1
		f.mu.Unlock()
		next := reconciler.NewManager(f.cfg)
		if err := next.Discover(t.Context()); err != nil {
			t.Fatal(err)
		}
		r, err := next.Instance("globex")
		if err != nil {
			t.Fatal(err)
		}
		if s := r.Status(); s.Phase == reconciler.PhaseStalled || s.Dir != "instances/globex" {
			t.Errorf("it is gone: %+v", s)
		}
		host.File = "gone"
		if err := next.Discover(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := r.Status(); s.Condition(reconciler.SourceReady).Reason == "InstanceGone" {
			t.Errorf("it is gone while the list of the host cannot be read: %+v", s)
		}
		host.File = "f"
		tip := desired.Snapshot{Revision: desired.Revision{Commit: "1"}}
		if _, err := f.cfg.Vouch.Onto(f.cfg.Store, tip); err == nil {
			t.Error("a commit of this host would vouch for what nobody does")
		}
		tip.Signature.Armoured = "jan"
		if anchors, err := f.cfg.Vouch.Onto(f.cfg.Store, tip); err != nil || len(anchors) != 3 || anchors[0].Signers != "jan" {
			t.Errorf("%+v, %v", anchors, err)
		}
		host.Signed = false
		if err := next.Discover(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := r.Status(); s.Condition(reconciler.SourceReady).Reason != "InstanceGone" {
			t.Errorf("it is not gone: %+v", s)
		}
		if anchors, err := f.cfg.Vouch.Onto(f.cfg.Store, tip); err != nil || len(anchors) != 0 {
			t.Errorf("%+v, %v", anchors, err)
		}
	})
}
