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
	r.showDecision(l, m, d)
	r.announce(l, m, d)
}

func (r *Instance) showDecision(l loaded, m memo, d decision) {
	now := time.Now()
	r.setStatus(func(s *Status) {
		s.Attempted, s.Applied, s.AppliedAt = m.Attempted, m.Applied, m.AppliedAt
		if r.good != nil {
			s.Changed = r.good.Revision
		}
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

// refusal is the reason of a revision that is refused.
func refusal(l loaded) string {
	var problems desired.Problems
	switch {
	case l.unsigned:
		return "NotVouchedFor"
	case errors.As(l.err, &problems) && problems.Forbidden():
		return "AgainstPolicy"
	}
	return "Invalid"
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
		s.set(now, SourceReady, "False", refusal(l), firstLines(l.err.Error(), 5))
	case source.Err != nil:
		s.set(now, SourceReady, "False", "SourceStale", fmt.Sprintf("last read %s: %v",
			source.LastSuccess.UTC().Format(time.RFC3339), source.Err))
	default:
		message := l.rev.Short() + " " + l.rev.Subject
		if l.trust != nil {
			message += " (signed by " + l.trust.Who + ")"
		}
		s.set(now, SourceReady, "True", "Read", message)
	}
}

// announce makes one event of each decision that people want to be told of, not
// of each pass that comes to it, nor of each start of the daemon.
func (r *Instance) announce(l loaded, m memo, d decision) {
	if errors.As(l.err, new(sourceError)) {
		return // nothing was decided
	}
	id := identityOf(l, m, d)
	if id == m.Told {
		return
	}
	if _, err := r.cfg.Store.update(r.cfg.Name, func(m *memo) { m.Told = id }); err != nil {
		r.cfg.Log.WithError(err).Error("Remember what was told")
		return // it would be told with every pass
	}
	message := d.message
	switch {
	case id == "", d.phase == PhaseSuspended && m.suspended(time.Now()):
		return // whoever suspended it made the event
	case d.phase == PhaseRefused:
		verdict := "does not validate"
		if refusal(l) != "Invalid" {
			verdict = "is refused"
		}
		message = fmt.Sprintf("%s %q %s: %s", l.rev.Short(), l.rev.Subject, verdict, firstLines(d.message, 3))
	}
	r.own().say(LineGate, "", "%s", message)
	r.event(string(d.phase), message, l.rev, 0)
}

// identityOf tells decisions apart; empty: nobody needs to be told.
func identityOf(l loaded, m memo, d decision) string {
	id := string(d.phase)
	switch d.phase {
	case PhaseSuspended:
		if m.suspended(time.Now()) {
			return id + " " + m.Suspended.At.Format(time.RFC3339Nano)
		}
		return id + " " + d.message
	case PhaseHeld:
		return fmt.Sprintf("%s %d %s", id, d.generation, m.Hold.At.Format(time.RFC3339Nano))
	case PhaseRefused:
		return id + " " + l.key
	case PhaseQuarantined:
		return id + " " + d.message
	case PhaseDeferred:
		return id + " " + d.deferral.Reason + " " + d.deferral.Message
	}
	return ""
}

func firstLines(text string, n int) string {
	lines := strings.SplitAfterN(text, "\n", n+1)
	if len(lines) <= n {
		return text
	}
	return strings.Join(lines[:n], "") + "…"
}
