package pages

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

func (s *Site) dashboardRoutes() {
	s.page("GET /{$}", auth.RoleViewer, s.dashboard)
	s.page("POST /source/sync", auth.RoleAdmin, s.syncSource)
}

// board is what the dashboard shows.
type board struct {
	server.Overview
	Tiles  []tile
	Tallys []tally
	Setup  bool // there is a page that adds a source
}

// tile is one instance on the dashboard.
type tile struct {
	reconciler.Status
	Tone    string // ok, run, warn, bad, pause
	Message string
	Running int // containers, done ones included
	// Newest says what the newest revision is to the instance, where it is another
	// one than that which changed it last.
	Newest string
}

// tally counts the instances of one tone.
type tally struct {
	Tone, Text string
	Count      int
}

func (s *Site) dashboard(v *visit) (reply, error) {
	all, err := s.fresh.get(v.Context(), s.api)
	if err != nil {
		return nil, err
	}
	b := board{Overview: all, Setup: s.known["/data/add"]}
	counts := map[string]int{}
	for _, st := range all.Instances {
		t := tileOf(st)
		counts[t.Tone]++
		b.Tiles = append(b.Tiles, t)
	}
	slices.SortFunc(b.Tiles, func(x, y tile) int {
		return cmp.Or(cmp.Compare(urgency(x.Tone), urgency(y.Tone)), strings.Compare(x.Name, y.Name))
	})
	for _, t := range []tally{{Tone: "bad", Text: "failing"}, {Tone: "warn", Text: "to look at"}, {Tone: "run", Text: "under way"},
		{Tone: "pause", Text: "held back"}, {Tone: "ok", Text: "well"}} {
		if t.Count = counts[t.Tone]; t.Count > 0 {
			b.Tallys = append(b.Tallys, t)
		}
	}
	return view{Template: "dashboard", Title: "Instances", Nav: "instances", Live: everything, Reload: 30, Data: b}, nil
}

func tileOf(s reconciler.Status) tile {
	t := tile{Status: s, Tone: toneOf(s), Message: headline(s)}
	if t.Changed.Commit == "" { // its directory is gone, and it was not looked at
		t.Changed = t.Applied
	}
	switch newest := s.Attempted.Short(); {
	case newest == "" || s.Attempted.Commit == t.Changed.Commit:
	case s.Attempted.Commit == s.Applied.Commit:
		t.Newest = "Newest: " + newest + " changes nothing here"
	default:
		t.Newest = "Newest: " + newest + " is not applied here"
	}
	for _, c := range s.Containers {
		if c.Done || (c.State == reconciler.StateRunning && c.Health != reconciler.HealthUnhealthy) {
			t.Running++
		}
	}
	return t
}

// toneOf is how an instance is, in one word.
func toneOf(s reconciler.Status) string {
	switch {
	case s.Suspended != nil || s.Phase == reconciler.PhaseSuspended:
		return "pause"
	case s.Health == reconciler.Degraded, s.Health == reconciler.Missing:
		return "bad"
	}
	switch s.Phase {
	case reconciler.PhaseRefused, reconciler.PhaseQuarantined, reconciler.PhaseStalled, reconciler.PhaseRolledBack:
		return "bad"
	case reconciler.PhaseRetrying:
		return "warn"
	case reconciler.PhaseApplying, reconciler.PhaseBaking, reconciler.PhasePending:
		return "run"
	case reconciler.PhaseHeld, reconciler.PhaseDeferred:
		return "pause"
	}
	switch {
	case s.Health == reconciler.Progressing:
		return "run"
	case s.Sync == reconciler.Synced && !unsettled(s):
		return "ok"
	}
	return "warn"
}

// unsettled reports whether a condition says that something is not as it should be.
func unsettled(s reconciler.Status) bool {
	return slices.ContainsFunc(s.Conditions, func(c reconciler.Condition) bool { return conditionTone(c) == "warn" || conditionTone(c) == "bad" })
}

// urgency orders tones: what is wrong comes first.
func urgency(tone string) int {
	return slices.Index([]string{"bad", "warn", "run", "pause", "ok"}, tone)
}

// headline is the one thing that a person should know of an instance.
func headline(s reconciler.Status) string {
	switch {
	case s.Suspended != nil:
		return fmt.Sprintf("Suspended by %s: %s", s.Suspended.By, s.Suspended.Reason)
	case len(s.Problems) > 0:
		return fmt.Sprintf("%s %s. %s", s.Attempted.Short(), s.Problems.Verdict(), s.Problems[0])
	case s.Hold != nil:
		return fmt.Sprintf("Generation %d is held by %s until a newer revision", s.Hold.Generation, s.Hold.By)
	case len(s.Quarantined) > 0 && (s.Phase == reconciler.PhaseQuarantined || s.Phase == reconciler.PhaseRolledBack):
		q := s.Quarantined[len(s.Quarantined)-1]
		return fmt.Sprintf("Generation %d (%s) failed: %s", q.Generation, q.Revision.Short(), firstLine(q.Reason))
	}
	for _, c := range byUrgency(s.Conditions) {
		if c.Status != "True" && c.Message != "" {
			return firstLine(c.Message)
		}
	}
	if len(s.Pending) > 0 {
		return reconciler.Count(len(s.Pending), "action") + " to be done"
	}
	return ""
}

// byUrgency puts the conditions that matter most first.
func byUrgency(list []reconciler.Condition) []reconciler.Condition {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(x, y reconciler.Condition) int {
		return cmp.Compare(urgency(conditionTone(x)), urgency(conditionTone(y)))
	})
	return list
}

// conditionTone is how much a condition matters. Waiting for its time is no fault.
func conditionTone(c reconciler.Condition) string {
	switch {
	case c.Status == "True":
		return "ok"
	case c.Type == reconciler.ReleaseReady && slices.Contains([]string{reconciler.DeferredWindow, reconciler.DeferredMinAge, reconciler.DeferredBusy}, c.Reason):
		return "pause"
	case c.Reason == string(reconciler.Progressing), c.Reason == string(reconciler.AttachmentPending), c.Reason == string(reconciler.AttachmentRunning),
		c.Reason == string(reconciler.CertificateAwaitsIssuer), c.Reason == "NotAsked", c.Reason == "Waiting":
		return "run"
	case c.Status == "False" && c.Type != reconciler.ReleaseReady:
		return "bad"
	}
	return "warn"
}

func (s *Site) syncSource(v *visit) (reply, error) {
	info, err := s.api.Sync(v.Context())
	switch {
	case err != nil:
		return nil, err
	case info.Error != "":
		return v.to("/", "bad", "The repository could not be read: "+firstLine(info.Error)), nil
	case info.Revision.Commit == "":
		return v.to("/", "ok", "The repository was read. It has no commit yet."), nil
	}
	return v.to("/", "ok", "The repository was read. Its newest revision is "+info.Revision.Short()+"."), nil
}
