package reconciler

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/desired"
)

const (
	digestA = "ghcr.io/acme/app@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "ghcr.io/acme/app@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// tuesday is a Tuesday at noon in UTC.
var tuesday = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func following(channel string) desired.Spec {
	ref := "ghcr.io/acme/app:" + channel
	return desired.Spec{Name: "acme", Services: map[string]desired.Service{"app": {Name: "app", Image: ref, Replicas: 1}},
		Follow: &desired.Follow{Ref: ref, Channel: channel, Every: 5 * time.Minute}}
}

// upgrade is a situation in which A runs and the channel means B.
func upgrade() situation {
	spec := following("stable")
	return situation{spec: spec, lastSpec: spec.Hash(), now: tuesday,
		last:  Target{Spec: spec, Images: map[string]Image{spec.Follow.Ref: {ID: "ia", Digest: digestA}}},
		offer: &offer{release: Release{Ref: spec.Follow.Ref, Digest: digestB, Version: "2026.11.4", Seen: tuesday.Add(-time.Hour)}}}
}

func window(t *testing.T, text string) *desired.Window {
	t.Helper()
	w, err := desired.ParseWindow(text)
	if err != nil {
		t.Fatal(err)
	}
	return &w
}

// gateCase is a situation in which A runs and the channel means B, changed, and
// what is decided then.
type gateCase struct {
	name   string
	change func(*situation)
	choice choice
	phase  Phase
	digest string
	reason string
	until  time.Time
	ask    bool
}

// gatesOfTime are the gates that open by themselves.
func gatesOfTime(t *testing.T) []gateCase {
	yes, no := true, false
	busy := &desired.BusyCheck{Service: "app", Port: 8000, Field: "locked", MaxDefer: 2 * time.Hour}
	return []gateCase{
		{"nothing holds it", func(*situation) {}, chooseNew, PhaseApplying, digestB, "", time.Time{}, false},
		{"it runs already", func(s *situation) { s.offer.release.Digest = digestA }, chooseLastGood, PhaseIdle, digestA, "", time.Time{}, false},
		{"a mirror's name for what runs", func(s *situation) {
			s.offer.release.Digest = strings.Replace(digestA, "ghcr.io", "mirror.local", 1)
		}, chooseLastGood, PhaseIdle, digestA, "", time.Time{}, false},
		{"registry never answered", func(s *situation) { s.offer = &offer{err: errors.New("down")} }, chooseLastGood, PhaseIdle, digestA, "", time.Time{}, false},
		{"nobody to ask", func(s *situation) { s.offer = nil }, chooseLastGood, PhaseIdle, "", "", time.Time{}, false},
		{"outside the window", func(s *situation) { s.spec.Follow.Window = window(t, "Mon-Fri 02:00-05:00") },
			chooseLastGood, PhaseDeferred, digestA, "Window", time.Date(2026, 11, 25, 2, 0, 0, 0, time.UTC), false},
		{"inside the window", func(s *situation) { s.spec.Follow.Window = window(t, "Tue 11:00-13:00") }, chooseNew, PhaseApplying, digestB, "", time.Time{}, false},
		{"too young", func(s *situation) { s.spec.Follow.MinAge = 90 * time.Minute }, chooseLastGood, PhaseDeferred, digestA, "MinAge", tuesday.Add(30 * time.Minute), false},
		{"old enough", func(s *situation) { s.spec.Follow.MinAge = time.Hour }, chooseNew, PhaseApplying, digestB, "", time.Time{}, false},
		{"the application is to be asked", func(s *situation) { s.spec.Follow.Busy = busy }, chooseLastGood, PhaseDeferred, digestA, "Busy", tuesday.Add(2 * time.Hour), true},
		{"it is busy", func(s *situation) { s.spec.Follow.Busy, s.busy = busy, &yes }, chooseLastGood, PhaseDeferred, digestA, "Busy", tuesday.Add(2 * time.Hour), false},
		{"it is idle", func(s *situation) { s.spec.Follow.Busy, s.busy = busy, &no }, chooseNew, PhaseApplying, digestB, "", time.Time{}, false},
		{"it was busy for long enough", func(s *situation) {
			s.spec.Follow.Busy, s.busy = busy, &yes
			s.memo.Busy = &busySince{digestA, tuesday.Add(-2 * time.Hour)}
		}, chooseNew, PhaseApplying, digestB, "", time.Time{}, false},
		{"it was busy while it ran another release", func(s *situation) {
			s.spec.Follow.Busy, s.busy = busy, &yes
			s.memo.Busy = &busySince{digestB, tuesday.Add(-2 * time.Hour)}
		}, chooseLastGood, PhaseDeferred, digestA, "Busy", tuesday.Add(2 * time.Hour), false},
		{"the clock went back since it was busy", func(s *situation) {
			s.spec.Follow.Busy, s.busy = busy, &yes
			s.memo.Busy = &busySince{digestA, tuesday.Add(48 * time.Hour)}
		}, chooseLastGood, PhaseDeferred, digestA, "Busy", tuesday.Add(2 * time.Hour), false},
	}
}

// gatesOfPeople are what somebody decided: who made the release, and who runs it.
func gatesOfPeople(t *testing.T) []gateCase {
	return []gateCase{
		{"taken back by its makers", func(s *situation) { s.offer.release.Deprecated = "deprecated-2026.11.4" }, chooseLastGood, PhaseDeferred, digestA, "Deprecated", time.Time{}, false},
		{"it failed here", func(s *situation) {
			s.memo.Quarantined = []Quarantined{{SpecHash: "other", Release: digestB, Generation: 7, Reason: "sick"}}
		}, chooseLastGood, PhaseQuarantined, digestA, "Quarantined", time.Time{}, false},
		{"an operator does not want to wait", func(s *situation) {
			s.spec.Follow.Window, s.spec.Follow.MinAge, s.memo.Now = window(t, "Mon 02:00-05:00"), 24*time.Hour, digestB
		}, chooseNew, PhaseApplying, digestB, "", time.Time{}, false},
		{"an operator did not ask for a deprecated one", func(s *situation) {
			s.memo.Now, s.offer.release.Deprecated = digestB, "deprecated-2026.11.4"
		}, chooseLastGood, PhaseDeferred, digestA, "Deprecated", time.Time{}, false},
		{"the window closed while it is applied", func(s *situation) {
			s.spec.Follow.Window, s.going = window(t, "Mon 02:00-05:00"), digestB
		}, chooseNew, PhaseApplying, digestB, "", time.Time{}, false},
		{"a first deployment waits for no gate", func(s *situation) {
			s.last, s.lastSpec, s.spec.Follow.Window, s.spec.Follow.MinAge = Target{}, "", window(t, "Mon 02:00-05:00"), 24*time.Hour
		}, chooseNew, PhaseApplying, digestB, "", time.Time{}, false},
		{"a pin that was re-tagged stays", func(s *situation) {
			s.spec = following("stable-2026.11.3")
			s.spec.Follow.Channel, s.spec.Follow.Version = "", "2026.11.3"
			s.last = Target{Spec: s.spec, Images: map[string]Image{s.spec.Follow.Ref: {ID: "ia", Digest: digestA}}}
			s.lastSpec = s.spec.Hash()
		}, chooseLastGood, PhaseIdle, digestA, "", time.Time{}, false},
		{"a commit to another channel waits for no gate", func(s *situation) {
			s.spec = following("dev")
			s.spec.Follow.Window = window(t, "Mon 02:00-05:00")
		}, chooseNew, PhaseApplying, digestB, "", time.Time{}, false},
		{"a commit back to a channel that failed here keeps what runs", func(s *situation) {
			s.spec = following("dev")
			s.memo.Quarantined = []Quarantined{{Release: digestB, Generation: 7}}
		}, chooseNew, PhaseApplying, digestA, "Quarantined", time.Time{}, false},
		{"another commit is applied while the release waits", func(s *situation) {
			s.spec.Follow.Window = window(t, "Mon 02:00-05:00")
			s.spec.Bake = time.Minute
		}, chooseNew, PhaseApplying, digestA, "Window", time.Time{}, false},
	}
}

func TestGates(t *testing.T) {
	for _, tt := range append(gatesOfTime(t), gatesOfPeople(t)...) {
		s := upgrade()
		tt.change(&s)
		d := decide(s)
		reason, until := "", time.Time{}
		if d.deferral != nil {
			reason, until = d.deferral.Reason, d.deferral.Until
		}
		if d.choice != tt.choice || d.phase != tt.phase || d.digest != tt.digest || reason != tt.reason || d.askBusy != tt.ask {
			t.Errorf("%s: choice %d phase %s digest %q reason %q ask %t", tt.name, d.choice, d.phase, d.digest, reason, d.askBusy)
		}
		if !tt.until.IsZero() && !until.Equal(tt.until) {
			t.Errorf("%s: until %s, want %s", tt.name, until, tt.until)
		}
	}
}

func TestQuarantineIsOfSpecificationAndDigest(t *testing.T) {
	s := upgrade()
	s.lastSpec, s.last.Spec.Bake = "older", time.Second
	s.memo.Quarantined = []Quarantined{{SpecHash: s.spec.Hash(), Images: map[string]Image{s.spec.Follow.Ref: {Digest: digestB}}}}
	if d := decide(s); d.choice != chooseLastGood || d.phase != PhaseQuarantined {
		t.Errorf("the same pair: %d %s", d.choice, d.phase)
	}
	s.offer.release.Digest = strings.ReplaceAll(digestB, "b", "c")
	if d := decide(s); d.choice != chooseNew {
		t.Errorf("a digest that is new: %d %s", d.choice, d.phase)
	}
	s.spec.Bake = time.Hour
	s.offer.release.Digest = digestB
	if d := decide(s); d.choice != chooseNew {
		t.Errorf("a specification that is new: %d %s", d.choice, d.phase)
	}
}

// TestPickNeverInvents draws situations and holds what must be true of each: a
// digest is the one that runs or the newest, a deferral keeps what runs, and
// what failed here or was taken back is never moved to.
func TestPickNeverInvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := upgrade()
		digests := []string{"", digestA, digestB}
		s.offer.release.Digest = rapid.SampledFrom(digests).Draw(t, "newest")
		s.offer.release.Seen = tuesday.Add(time.Duration(rapid.IntRange(-200, 200).Draw(t, "seen")) * time.Minute)
		s.spec.Follow.MinAge = time.Duration(rapid.IntRange(0, 200).Draw(t, "age")) * time.Minute
		s.memo.Now = rapid.SampledFrom(digests).Draw(t, "now")
		s.going = rapid.SampledFrom(digests).Draw(t, "going")
		failed := rapid.SampledFrom(digests).Draw(t, "failed")
		if failed != "" {
			s.memo.Quarantined = []Quarantined{{Release: failed}}
		}
		if rapid.Bool().Draw(t, "deprecated") {
			s.offer.release.Deprecated = "deprecated-2026.11.4"
		}
		if rapid.Bool().Draw(t, "windowed") {
			s.spec.Follow.Window = &desired.Window{Days: []time.Weekday{time.Monday}, Start: 0, End: 60, Zone: time.UTC}
		}
		p := s.pick()
		switch newest := s.offer.release.Digest; {
		case p.digest != digestA && p.digest != newest:
			t.Fatalf("picked %q of thin air", p.digest)
		case p.deferral != nil && p.digest != digestA:
			t.Fatalf("deferred by %s and yet moved to %q", p.deferral.Reason, p.digest)
		case p.digest == digestB && (failed == digestB || s.offer.release.Deprecated != ""):
			t.Fatalf("moved to what failed or was taken back")
		case newest == digestB && p.digest == digestA && p.deferral == nil:
			t.Fatal("kept what runs and does not say why")
		}
		if again := s.pick(); again.digest != p.digest {
			t.Fatal("not a function of the situation")
		}
	})
}

func TestRepositoryOf(t *testing.T) {
	for ref, want := range map[string]string{
		"app": "app", "app:1": "app", "localhost:5000/app": "localhost:5000/app", "localhost:5000/app:1": "localhost:5000/app",
		digestA: "ghcr.io/acme/app", "ghcr.io/a/b:c@sha256:d": "ghcr.io/a/b",
	} {
		if got := repositoryOf(ref); got != want {
			t.Errorf("%s: %s, want %s", ref, got, want)
		}
	}
}
