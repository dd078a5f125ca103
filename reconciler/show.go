package reconciler

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// show writes the decision into the status and tells what is new in it.
func (r *Instance) show(l loaded, m memo, d decision) {
	before := r.Status()
	r.showDecision(l, m, d)
	r.announce(before, d, l)
}

func (r *Instance) showDecision(l loaded, m memo, d decision) {
	now := time.Now()
	r.setStatus(func(s *Status) {
		s.Attempted, s.Applied, s.AppliedAt = m.Attempted, m.Applied, m.AppliedAt
		s.Generation, s.Quarantined, s.Hold, s.Suspended = m.LastGood, m.Quarantined, m.Hold, m.Suspended
		s.Uncommitted, s.LocalFiles, s.Notes = l.dirty, l.spec.LocalFiles, l.spec.Notes
		s.Problems = problemsOf(l.err)
		if l.err == nil {
			s.Front = hostsOf(l.spec)
		}
		s.Phase = d.phase
		r.showSource(s, l, now)
		switch d.phase {
		case PhaseIdle:
			s.Sync = Synced
		case PhaseSuspended:
			s.Health = Suspended
			if s.Suspended == nil {
				s.Suspended = &Suspension{Reason: d.message, By: "instance.yaml"}
			}
		default:
			s.Sync = OutOfSync
		}
		var gone sourceError
		if errors.As(l.err, &gone) {
			s.Sync, s.Phase = Unknown, PhaseRetrying
		}
		r.said = said{s.Phase, s.Sync}
	})
}

// hostsOf are the hosts of a specification, in order.
func hostsOf(spec desired.Spec) (hosts []string) {
	for _, f := range spec.Front {
		hosts = append(hosts, f.Host)
	}
	slices.Sort(hosts)
	return hosts
}

func (r *Instance) showSource(s *Status, l loaded, now time.Time) {
	source := r.cfg.Source.Status()
	var gone sourceError
	switch {
	case errors.As(l.err, &gone):
		s.set(now, SourceReady, "Unknown", "SourceUnreadable", l.err.Error())
	case l.err != nil:
		s.set(now, SourceReady, "False", "Invalid", firstLines(l.err.Error(), 5))
	case source.Err != nil:
		s.set(now, SourceReady, "False", "SourceStale", fmt.Sprintf("last read %s: %v",
			source.LastSuccess.UTC().Format(time.RFC3339), source.Err))
	default:
		s.set(now, SourceReady, "True", "Read", l.rev.Short()+" "+l.rev.Subject)
	}
}

// announce makes an event of what is new in a decision.
func (r *Instance) announce(before Status, d decision, l loaded) {
	r.announceDeferral(d, l)
	if before.Phase == d.phase && before.Attempted.Commit == l.rev.Commit {
		return
	}
	switch d.phase {
	case PhaseRefused:
		var gone sourceError
		if !errors.As(l.err, &gone) {
			r.event("Refused", fmt.Sprintf("%s %q does not validate: %s", l.rev.Short(), l.rev.Subject, firstLines(d.message, 3)), l.rev, 0)
		}
	case PhaseQuarantined, PhaseHeld, PhaseSuspended:
		r.event(string(d.phase), d.message, l.rev, 0)
	}
}

// announceDeferral makes one event of each reason for which a release waits,
// not of each pass that finds it waiting.
func (r *Instance) announceDeferral(d decision, l loaded) {
	waits := ""
	if d.phase == PhaseDeferred {
		waits = d.deferral.Reason + " " + d.deferral.Message
	}
	if waits != "" && waits != r.waitsFor {
		r.event("Deferred", d.message, l.rev, 0)
	}
	r.waitsFor = waits
}

func firstLines(text string, n int) string {
	lines := strings.SplitAfterN(text, "\n", n+1)
	if len(lines) <= n {
		return text
	}
	return strings.Join(lines[:n], "") + "…"
}
