package reconciler_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// shelf keeps connectors as they are wanted: their data is attached at once,
// unless a status says otherwise. It remembers each change of what is wanted.
type shelf struct {
	mu     sync.Mutex
	wanted []string
	want   reconciler.WantedConnectors
	files  []string // directories of programs that were handed over
	status map[string]reconciler.AttachmentStatus
}

func (s *shelf) Set(instance string, want reconciler.WantedConnectors) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for name, c := range want.ByName {
		list = append(list, name+"="+c.Identity)
	}
	slices.Sort(list)
	text := instance + " " + strings.Join(list, ",")
	if want.Suspended {
		text += " suspended"
	}
	if n := len(s.wanted); n == 0 || s.wanted[n-1] != text {
		s.wanted = append(s.wanted, text)
	}
	for key := range want.Files {
		if !slices.Contains(s.files, key) {
			s.files = append(s.files, key)
		}
	}
	s.want = want
}

func (s *shelf) Attachments(string) (list []reconciler.AttachmentStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, c := range s.want.ByName {
		a, set := s.status[name]
		if !set {
			a = reconciler.AttachmentStatus{Phase: reconciler.AttachmentLive, Attached: c.Identity, Generation: 1}
		}
		a.Name, a.Identity = name, c.Identity
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b reconciler.AttachmentStatus) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func (s *shelf) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.wanted)
}

// connector reads a project of Keboola.
func connector(url, token string) desired.ConnectorSpec {
	return desired.ConnectorSpec{Timeout: time.Hour, Retries: 3, Keep: 3, Identity: url, Keboola: &desired.KeboolaSource{URL: url, Token: token},
		Tables: []desired.ConnectorTable{{Name: "t", ID: "in.c-a.t"}}}
}

// connecting adds a connector to a copy of a specification.
func connecting(s desired.Spec, name string, c desired.ConnectorSpec) desired.Spec {
	all := map[string]desired.ConnectorSpec{name: c}
	for n, other := range s.Connectors {
		if n != name {
			all[n] = other
		}
	}
	s.Connectors = all
	return s
}

func actionLines(actions []reconciler.Action) (lines []string) {
	for _, a := range actions {
		line := fmt.Sprintf("%s %s %s: %s", a.Verb, a.Kind, a.Object, a.Reason)
		for _, c := range a.Changes {
			line += fmt.Sprintf(" [%s: %s -> %s]", c.Field, c.Old, c.New)
		}
		lines = append(lines, line)
	}
	return lines
}

// TestConnectorsFollowTheGeneration: those of what is applied are wanted until
// the next generation stands, again when that is rolled back, and while the
// instance is suspended.
func TestConnectorsFollowTheGeneration(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		k := &shelf{}
		h.attachments = k
		h.restart()
		one, two := connector("1", "x"), connector("2", "x")
		good := connecting(acme(service("app", "app:1")), "orders", one)
		h.apply(good)
		h.apply(connecting(connecting(acme(service("app", "app:sick")), "orders", two), "people", one))
		h.restart()
		h.once()
		h.repo.commitBad(desired.Problems{{File: "instance.yaml", Text: "is no good"}})
		h.once()
		if err := h.inst.Suspend(t.Context(), "stocktaking", "ann", time.Time{}); err != nil {
			t.Fatal(err)
		}
		h.apply(connecting(acme(service("app", "app:2")), "people", two))
		if err := h.inst.Resume(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		h.once()
		if _, err := h.inst.Rollback(t.Context(), 1, "ann"); err != nil {
			t.Fatal(err)
		}
		h.once()
		want := []string{
			"acme orders=1",          // on its way, and applied
			"acme orders=2,people=1", // on its way
			"acme orders=1",          // rolled back, and stays so
			"acme orders=1 suspended",
			"acme orders=1,people=2", // on its way
			"acme people=2",          // stands
			"acme orders=1",          // held
		}
		if got := k.all(); !slices.Equal(got, want) {
			t.Errorf("wanted:\n%s\nnot:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// TestConnectorsTakePartInPlanAndHistory: each change is planned with its
// reason, applied without touching a container, recorded, and explained; then
// there is nothing more to do.
func TestConnectorsTakePartInPlanAndHistory(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		h.attachments = &shelf{}
		h.restart()
		spec := acme(service("app", "app:1"))
		h.apply(spec)
		first := connecting(spec, "orders", connector("https://a", "token-one"))
		first.Sensitive = []string{"token-one"}
		schedule := desired.Schedule{Text: "daily 07:00", Zone: "Europe/Prague"}
		timed := first.Connectors["orders"]
		timed.Schedule, timed.Timeout, timed.Owner = &schedule, 90*time.Minute, "ann"
		keyed := timed
		keyed.Tables = []desired.ConnectorTable{{Name: "t", ID: "in.c-a.t", PrimaryKey: []string{"id", "day"}}}
		moved := timed
		moved.Keboola, moved.Identity = &desired.KeboolaSource{URL: "https://b", Token: "token-two"}, "b"
		for _, step := range []struct {
			spec desired.Spec
			want string
		}{
			{first, "create connector orders: missing"},
			{connecting(first, "orders", timed), "update connector orders: changed: owner, schedule.text, schedule.zone, timeout " +
				"[owner: (none) -> ann] [schedule.text: (none) -> daily 07:00] [schedule.zone: (none) -> Europe/Prague] [timeout: 1h0m0s -> 1h30m0s]"},
			{connecting(first, "orders", keyed), "update connector orders: changed: tables[t].primary_key [tables[t].primary_key: (none) -> id day]"},
			{connecting(first, "orders", timed), "update connector orders: changed: tables[t].primary_key [tables[t].primary_key: id day -> (none)]"},
			{connecting(first, "orders", moved), "update connector orders: changed: keboola.token, keboola.url; its data is made anew " +
				"[keboola.token: (sensitive) -> (sensitive)] [keboola.url: https://a -> https://b]"},
			{spec, "remove connector orders: no longer in the specification; its data stays"},
		} {
			h.repo.commit(step.spec)
			r, err := h.inst.Preview(t.Context(), nil)
			if got := actionLines(r.Actions); err != nil || !slices.Equal(got, []string{step.want}) {
				t.Errorf("plan %q, %v\nwant %q", got, err, step.want)
			}
			before := h.observed().Containers
			if s := h.once(); s.Phase != reconciler.PhaseIdle || s.Sync != reconciler.Synced {
				t.Errorf("%s: %s, %s", step.want, s.Phase, s.Sync)
			}
			if after := h.observed().Containers; len(after) != 1 || after[0].ID != before[0].ID {
				t.Errorf("a container was touched: %+v", after)
			}
			if r, err := h.inst.Preview(t.Context(), nil); err != nil || !r.Empty() {
				t.Errorf("there is more to do: %q, %v", actionLines(r.Actions), err)
			}
			history, err := h.inst.History(1)
			if err != nil || history[0].Outcome != reconciler.Applied || !slices.Equal(actionLines(history[0].Actions), []string{step.want}) {
				t.Errorf("history says %+v, %v", history, err)
			}
			why, err := h.inst.Why("orders")
			if err != nil || len(why) != 1 || why[0].Last == nil || !slices.Equal(actionLines(why[0].Last.Actions), []string{step.want}) ||
				(why[0].Connector == nil) != (len(step.spec.Connectors) == 0) {
				t.Errorf("why says %+v, %v", why, err)
			}
		}
	})
}

// TestAttachedDataThatDiffersIsShown, and neither applied nor recorded: who
// keeps it mends it.
func TestAttachedDataThatDiffersIsShown(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		k := &shelf{status: map[string]reconciler.AttachmentStatus{}}
		h.attachments = k
		h.restart()
		spec := connecting(acme(service("app", "app:1")), "orders", connector("1", "x"))
		h.apply(spec)
		for _, tt := range []struct {
			have reconciler.AttachmentStatus
			want string
		}{
			{reconciler.AttachmentStatus{Phase: reconciler.AttachmentDegraded, Reason: "RunFailed", Message: "connection refused", Attached: "0", Generation: 3, Commit: "abcdef0123456789"},
				"update connector orders: attached data of generation 3 (abcdef01): connection refused"},
			{reconciler.AttachmentStatus{Phase: reconciler.AttachmentFailed, Reason: "RunFailed", Message: "401"}, "update connector orders: attached data of nothing yet: 401"},
			{reconciler.AttachmentStatus{Phase: reconciler.AttachmentDegraded, Reason: "Partial", Attached: "1", Generation: 3}, ""},
			{reconciler.AttachmentStatus{Phase: reconciler.AttachmentLive, Reason: "Updating", Attached: "0", Generation: 3}, ""},
			{reconciler.AttachmentStatus{Phase: reconciler.AttachmentRunning}, ""},
		} {
			k.mu.Lock()
			k.status["orders"] = tt.have
			k.mu.Unlock()
			r, err := h.inst.Preview(t.Context(), nil)
			if got := strings.Join(actionLines(r.Actions), "\n"); err != nil || got != tt.want {
				t.Errorf("plan %q, %v, want %q", got, err, tt.want)
			}
			if s := h.once(); s.Phase != reconciler.PhaseIdle || len(s.Pending) > 0 {
				t.Errorf("the loop is at %s: %+v", s.Phase, s.Pending)
			}
			why, err := h.inst.Why("orders")
			if err != nil || len(why) != 1 || (tt.want != "") != strings.HasPrefix(why[0].Waiting, "orders: "+tt.have.Message) && tt.have.Phase != reconciler.AttachmentRunning && tt.have.Reason != "Partial" {
				t.Errorf("why says %+v, %v", why, err)
			}
		}
		if history, err := h.inst.History(10); err != nil || len(history) != 1 {
			t.Errorf("history says %+v, %v", history, err)
		}
	})
}

func TestConnectorsShowInTheStatus(t *testing.T) {
	at := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	of := func(p reconciler.AttachmentPhase, reason, message, hint string) reconciler.AttachmentStatus {
		return reconciler.AttachmentStatus{Phase: p, Reason: reason, Message: message, Hint: hint, Since: at}
	}
	live := of(reconciler.AttachmentLive, "", "", "")
	for _, tt := range []struct {
		name            string
		have            map[string]reconciler.AttachmentStatus
		status          reconciler.ConditionStatus
		reason, message string
		health          reconciler.HealthStatus
	}{
		{"none", nil, "", "", "", reconciler.Healthy},
		{"live", map[string]reconciler.AttachmentStatus{"a": live}, "True", "Ready", "1 connector", reconciler.Healthy},
		{"updating", map[string]reconciler.AttachmentStatus{"a": live, "b": of(reconciler.AttachmentLive, "Updating", "later", "")}, "True", "Ready", "2 connectors", reconciler.Healthy},
		{"pending", map[string]reconciler.AttachmentStatus{"a": live, "b": of(reconciler.AttachmentPending, "", "", "")}, "Unknown", "Pending",
			"b: its first run is to come", reconciler.Healthy},
		{"running", map[string]reconciler.AttachmentStatus{"a": of(reconciler.AttachmentRunning, "", "", "")}, "Unknown", "Running", "a: its first run is under way", reconciler.Healthy},
		{"degraded", map[string]reconciler.AttachmentStatus{"a": of(reconciler.AttachmentDegraded, "RunFailed", "401", "renew the token"), "b": live},
			"False", "RunFailed", "a: 401; renew the token", reconciler.Degraded},
		{"failed", map[string]reconciler.AttachmentStatus{"a": of(reconciler.AttachmentDegraded, "RunFailed", "401", ""), "b": of(reconciler.AttachmentFailed, "", "", "")},
			"False", "Failed", "b is Failed", reconciler.Degraded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lawTest(t, func(t *testing.T, h *house) {
				h.attachments = &shelf{status: tt.have}
				h.restart()
				spec := acme(service("app", "app:1"))
				for name := range tt.have {
					spec = connecting(spec, name, connector("1", "x"))
				}
				s := h.apply(spec)
				c := s.Condition(reconciler.AttachmentsReady)
				if c.Status != tt.status || c.Reason != tt.reason || c.Message != tt.message || s.Health != tt.health || len(s.Attachments) != len(tt.have) {
					t.Errorf("%+v, health %s", c, s.Health)
				}
				if again := h.inst.Status(); len(again.Conditions) != len(s.Conditions) {
					t.Errorf("conditions pile up: %+v", again.Conditions)
				}
			})
		})
	}
}

// TestProgramsAreHandedOver with the first time that they are wanted, and are
// not among the files of containers.
func TestProgramsAreHandedOver(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		k := &shelf{}
		h.attachments = k
		h.restart()
		program := desired.FileTree{Entries: []desired.FileEntry{{Path: "extractor.py", Mode: 0o644, Content: []byte("print()")}}}
		spec := connecting(acme(service("app", "app:1")), "weather", desired.ConnectorSpec{Identity: "1", Program: &desired.ProgramSource{Files: program.Hash()}})
		spec.Files = map[string]desired.FileTree{program.Hash(): program}
		h.apply(spec)
		h.once()
		if !slices.Equal(k.files, []string{program.Hash()}) {
			t.Errorf("handed over: %q", k.files)
		}
		if _, err := os.Stat(filepath.Join(h.dir, "instances", "acme", "files", program.Hash())); !os.IsNotExist(err) {
			t.Errorf("it is among the files of containers: %v", err)
		}
		other := connecting(acme(service("app", "app:1")), "weather", desired.ConnectorSpec{Identity: "2", Program: &desired.ProgramSource{Files: "fedcba9876543210fedcba9876543210"}})
		h.repo.commit(other)
		r, err := h.inst.Preview(t.Context(), nil)
		want := "update connector weather: changed: program; its data is made anew [program: content " + program.Hash()[:8] + " -> content fedcba98]"
		if got := actionLines(r.Actions); err != nil || !slices.Equal(got, []string{want}) {
			t.Errorf("plan %q, %v", got, err)
		}
	})
}

// sickApp fails its HTTP check.
type sickApp struct {
	asker
	asked int
}

func (a *sickApp) Health(context.Context, string, desired.HTTPCheck) error {
	a.asked++
	if a.sick {
		return &reconciler.NotReady{Phase: "health", Reason: "it answers 500"}
	}
	return nil
}

// TestConnectorsAloneAskTheApplicationNothing: it is what it was, and an
// application that is sick for a reason of its own keeps no connector away.
func TestConnectorsAloneAskTheApplicationNothing(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		a, k := &sickApp{}, &shelf{}
		h.prober, h.attachments = a, k
		h.restart()
		spec := acme(service("app", "app:1"))
		spec.Check = &desired.HTTPCheck{Service: "app", Path: "/", Port: 8000}
		h.apply(spec)
		a.asked, a.sick = 0, true
		s := h.apply(connecting(spec, "orders", connector("1", "x")))
		if a.asked != 0 || s.Phase != reconciler.PhaseIdle || s.Generation != 2 || !slices.Equal(k.all(), []string{"acme ", "acme orders=1"}) {
			t.Errorf("asked %d times, %s, generation %d, wanted %q", a.asked, s.Phase, s.Generation, k.all())
		}
		other := connecting(acme(env(service("app", "app:1"), "A", "b")), "orders", connector("2", "x"))
		other.Check = spec.Check
		if s := h.apply(other); a.asked == 0 || s.Generation != 2 {
			t.Errorf("asked %d times, generation %d: a container changed", a.asked, s.Generation)
		}
	})
}
