package main

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

func TestPlanForPeople(t *testing.T) {
	var out bytes.Buffer
	printPlan(&out, false, reconciler.PlanReport{
		Instance: "acme", From: 3, Revision: desired.Revision{Commit: "0123456789abcdef", Subject: "Up\x1b[31mgrade", Author: "Ada"},
		Planned: reconciler.Planned{
			Actions: []reconciler.Action{
				{Kind: reconciler.KindNetwork, Verb: reconciler.Create, Object: "acme_default", Reason: "missing"},
				{Kind: reconciler.KindContainer, Verb: reconciler.Remove, Object: "acme-old-1", Reason: "no longer in the specification"},
				{Kind: reconciler.KindContainer, Verb: reconciler.Update, Object: "acme-db-1", Reason: "is paused", Changes: []reconciler.Change{{Field: "state", Old: "paused", New: "running"}}},
				{Kind: reconciler.KindContainer, Verb: reconciler.Replace, Object: "acme-app-1", Reason: "changed: image", Changes: []reconciler.Change{
					{Field: "image", Old: "app:1", New: "app:2"}, {Field: "environment.TOKEN", Old: "(sensitive)", New: ""}}},
			},
			Held: []reconciler.Held{{Kind: reconciler.KindVolume, Name: "data", Reason: "VolumeDiffers", Message: "was made with other options"}, {Reason: "EmptySpec", Message: "nothing is left"}},
		},
		Notes: []string{"build: is set aside"},
	})
	const want = `acme: 01234567 "Up [31mgrade" by Ada, from generation 3

    + network acme_default  (missing)
    - container acme-old-1  (no longer in the specification)
    ~ container acme-db-1  (is paused)
          state  paused → running
  -/+ container acme-app-1  (changed: image)
          image              app:1 → app:2
          environment.TOKEN  (sensitive) → ""
  ! volume data: was made with other options
  ! nothing is left
  note: build: is set aside

Plan: 1 to create, 1 to replace, 1 to remove, 1 to update.
`
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestTableIgnoresColoursForWidth(t *testing.T) {
	rows := func(p painter) [][]cell {
		return [][]cell{{{"NAME", p.bold}, {"X", p.bold}}, {{"ä", p.green}, {"one\x1b[2Jtwo", nil}}}
	}
	var plainText, coloured bytes.Buffer
	table(&plainText, rows(false))
	table(&coloured, rows(true))
	if plainText.String() != "NAME  X\nä     one [2Jtwo\n" {
		t.Errorf("got %q", plainText.String())
	}
	bare := strings.NewReplacer("\x1b[1m", "", "\x1b[32m", "", "\x1b[0m", "").Replace(coloured.String())
	if bare != plainText.String() || coloured.Len() == plainText.Len() {
		t.Errorf("got %q", coloured.String())
	}
}

func TestSourceLinesDoNotContradict(t *testing.T) {
	gone := errors.New("open repository: no such directory")
	tests := []struct {
		name string
		s    server.SourceInfo
		want []string
	}{
		{"never read", server.SourceInfo{Error: gone.Error(), Problem: "no revision has been read yet: " + gone.Error()},
			[]string{"! no revision has been read yet: open repository: no such directory"}},
		{"stale", server.SourceInfo{Error: gone.Error(), Revision: desired.Revision{Commit: "0123456789"}},
			[]string{"! the repository cannot be read now, the last revision counts: open repository: no such directory"}},
		{"edited", server.SourceInfo{Dirty: []string{"a", "b", "c", "d", "e"}},
			[]string{"! uncommitted edits are not applied: a, b, c and 2 more"}},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		printSource(&out, false, tt.s, time.Time{})
		if got := strings.Split(strings.TrimSpace(out.String()), "\n")[1:]; !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestAge(t *testing.T) {
	now := time.Date(2026, 1, 10, 0, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{0: "0s", 59 * time.Second: "59s", time.Hour: "1h", 90 * time.Second: "1m", 47 * time.Hour: "47h", 72 * time.Hour: "3d", -time.Hour: "0s"} {
		if got := age(now.Add(-d), now); got != want {
			t.Errorf("%s: got %s, want %s", d, got, want)
		}
	}
	if age(time.Time{}, now) != "-" {
		t.Error("no time has an age")
	}
}

func TestPullsWithoutATerminalAreThrottled(t *testing.T) {
	var out bytes.Buffer
	p := newPullPrinter(&out)
	now := time.Unix(0, 0)
	p.now = func() time.Time { return now }
	for i := range int64(101) { // ten seconds
		p.show(server.Pull{Image: "app:1", Current: i * 1e6, Total: 100e6})
		now = now.Add(100 * time.Millisecond)
	}
	p.show(server.Pull{Image: "app:1", Current: 100e6, Total: 100e6})
	p.clear()
	const want = "  pull app:1: 0 B of 100.0 MB (0%)\n  pull app:1: 50.0 MB of 100.0 MB (50%)\n  pull app:1: 100.0 MB of 100.0 MB (100%)\n"
	if out.String() != want {
		t.Errorf("got %s", out.String())
	}
}

func TestPullsOnATerminalAreBars(t *testing.T) {
	var out bytes.Buffer
	p := newPullPrinter(&out)
	p.width = 80
	p.show(server.Pull{Image: "app:1", Current: 5e5, Total: 1e6})
	p.show(server.Pull{Image: "app:1", Current: 1e6, Total: 1e6})
	p.clear()
	const want = "  pull app:1 [############............] 500 kB of 1.0 MB (50%)\n\x1b[1A\x1b[J" +
		"  pull app:1 [########################] 1.0 MB of 1.0 MB (100%)\n\x1b[1A\x1b[J"
	if out.String() != want {
		t.Errorf("got %q", out.String())
	}
	p.last = time.Time{}
	if p.show(server.Pull{Image: "x", Current: 5}); !strings.HasSuffix(out.String(), "5 B\n") {
		t.Errorf("got %q", out.String())
	}
}

func TestCodeOfResult(t *testing.T) {
	record := func(o reconciler.Outcome) *reconciler.Record { return &reconciler.Record{Outcome: o} }
	tests := []struct {
		phase  reconciler.Phase
		record *reconciler.Record // of this apply
		last   *reconciler.Record
		want   int
	}{
		{reconciler.PhaseIdle, nil, nil, 0},
		{reconciler.PhaseIdle, record(reconciler.Applied), nil, 0},
		{reconciler.PhaseRefused, nil, nil, 6},
		{reconciler.PhaseSuspended, nil, nil, 5},
		{reconciler.PhaseHeld, nil, nil, 5},
		// Somebody suspended, or went back, while the apply was on its way: what
		// came of it counts.
		{reconciler.PhaseSuspended, &reconciler.Record{Kind: "deploy", Outcome: reconciler.Applied}, nil, 0},
		{reconciler.PhaseSuspended, record(reconciler.RolledBack), nil, 3},
		{reconciler.PhaseSuspended, record(reconciler.Failed), nil, 4},
		{reconciler.PhaseSuspended, &reconciler.Record{Kind: "deploy", Outcome: reconciler.Superseded}, nil, 5},
		{reconciler.PhaseSuspended, &reconciler.Record{Kind: "heal", Outcome: reconciler.Applied}, nil, 5},
		{reconciler.PhaseHeld, &reconciler.Record{Kind: "deploy", Outcome: reconciler.Applied}, nil, 0},
		{reconciler.PhaseHeld, &reconciler.Record{Kind: "rollback", Outcome: reconciler.Applied}, nil, 5},
		{reconciler.PhaseRolledBack, record(reconciler.RolledBack), nil, 3},
		{reconciler.PhaseQuarantined, nil, record(reconciler.RolledBack), 3},
		{reconciler.PhaseQuarantined, nil, record(reconciler.Failed), 4},
		{reconciler.PhaseQuarantined, nil, nil, 3},
		{reconciler.PhaseQuarantined, &reconciler.Record{Kind: "deploy", Outcome: reconciler.Applied}, nil, 0},
		{reconciler.PhaseQuarantined, &reconciler.Record{Kind: "heal", Outcome: reconciler.Applied}, nil, 3},
		{reconciler.PhaseRetrying, nil, nil, 1},
		{reconciler.PhaseRetrying, record(reconciler.Failed), nil, 4},
		{reconciler.PhaseRetrying, record(reconciler.RolledBack), nil, 3},
		{reconciler.PhaseStalled, nil, nil, 1},
		{reconciler.PhaseStalled, record(reconciler.Failed), nil, 4},
	}
	for _, tt := range tests {
		r := server.Result{Status: reconciler.Status{Phase: tt.phase}, Record: tt.record}
		if got := codeOfResult(r, tt.last); got != tt.want {
			t.Errorf("%s %+v %+v: got %d, want %d", tt.phase, tt.record, tt.last, got, tt.want)
		}
	}
}

func TestWorstCodeCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		code := rapid.IntRange(0, 7)
		a, b, c := code.Draw(t, "a"), code.Draw(t, "b"), code.Draw(t, "c")
		if worse(a, b) != worse(b, a) || worse(worse(a, b), c) != worse(a, worse(b, c)) {
			t.Fatalf("the order of %d, %d, %d matters", a, b, c)
		}
		if worse(a, 0) != a || worse(a, a) != a || worse(a, 4) != 4 {
			t.Fatalf("%d is lost", a)
		}
	})
}

func TestUntil(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{"4h": "2026-01-01T16:00:00Z", "1d": "2026-01-02T12:00:00Z", "2026-02-01T00:00:00+01:00": "2026-01-31T23:00:00Z"} {
		if got, err := parseUntil(text, now); err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%s: got %s, %v", text, got, err)
		}
	}
	if got, err := parseUntil("", now); err != nil || !got.IsZero() {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestYAMLIsJSON(t *testing.T) {
	var out bytes.Buffer
	v := []reconciler.Change{{Field: "a: b", Old: "", New: "yes"}}
	if err := writeYAML(&out, v); err != nil || out.String() != "- field: \"a: b\"\n  old: \"\"\n  new: \"yes\"\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

// TestWhatIsNotOursDoesNotSteerTheTerminal: neither by codes nor by turning
// around the direction that text is shown in.
func TestWhatIsNotOursDoesNotSteerTheTerminal(t *testing.T) {
	for text, want := range map[string]string{"a\x1b[31mb": "a [31mb", "a\u009bb": "a b", "a\u202eb\u2066": "a b ", "a\nb\tc": "a b c", "ďábel 💥 עברית": "ďábel 💥 עברית"} {
		if got := oneLine(text); got != want {
			t.Errorf("%q is shown as %q", text, got)
		}
	}
}
