package connectors

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fairlead/fairlead/reconciler"
)

// Attachments tells of the connectors of an instance, in order of name.
func (m *Manager) Attachments(name string) []reconciler.AttachmentStatus {
	have := m.attached(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	in := m.all[name]
	if in == nil {
		return nil
	}
	now := m.now()
	var out []reconciler.AttachmentStatus
	for _, source := range slices.Sorted(maps.Keys(in.want.ByName)) {
		out = append(out, in.all[source].status(have[source], now))
	}
	return out
}

func (m *Manager) attached(instance string) map[string]Attached {
	have := map[string]Attached{}
	for _, a := range m.opts.Publisher.Attached(instance) {
		have[a.Source] = a
	}
	return have
}

// ReasonNoTables is the reason of a connector of which no tables are chosen yet.
const ReasonNoTables = "NoTables"

// standing is where a connector stands, in words.
type standing struct {
	phase                 reconciler.AttachmentPhase
	reason, message, hint string
}

// status is what is known. m.mu is held.
func (c *connector) status(have Attached, now time.Time) reconciler.AttachmentStatus {
	s := reconciler.AttachmentStatus{
		Name: c.name, Kind: c.spec.Kind(), Identity: c.spec.Identity, Attached: have.Identity, Commit: have.Commit,
		Generation: have.Generation, Published: have.At, Conflicts: have.Conflicts, Running: c.running != nil,
	}
	for _, t := range have.Tables {
		s.Tables = append(s.Tables, t.Name)
		s.Rows += t.Rows
	}
	slices.Sort(s.Tables)
	if c.spec.Schedule != nil {
		s.Schedule = c.spec.Schedule.String()
	}
	if n := len(c.memo.Records); n > 0 {
		s.LastRun, s.LastCause = c.memo.Records[n-1].Started, string(c.memo.Records[n-1].Cause)
	}
	s.LastGood = lastGood(c.memo.Records)
	s.NextRun = c.nextRun(now)
	is := c.stand(have, now)
	s.Phase, s.Reason, s.Message, s.Hint = is.phase, is.reason, is.message, is.hint
	if c.phase != s.Phase || c.reason != s.Reason {
		c.phase, c.reason, c.stands = s.Phase, s.Reason, now
		if r, any := c.memo.lastEnded(); any && c.past && r.Ended.Before(now) {
			c.stands = r.Ended // an earlier process would know better
		}
	}
	c.past = c.past && !c.opened
	s.Since = c.stands
	return s
}

// nextRun is when it runs next by itself: now, if it waits for its turn.
func (c *connector) nextRun(now time.Time) (next time.Time) {
	if !c.opened || !c.wanted || c.running != nil || c.asked == nil && c.tableless() {
		return next
	}
	if c.asked != nil {
		return now
	}
	changed, fresh := c.changed(), c.fresh()
	for name, t := range c.times() {
		turn, any := c.memo.Lanes[name].adopt(t, now).turn(t, now, changed, fresh)
		if any && (next.IsZero() || turn.at.Before(next)) {
			next = turn.at
		}
	}
	return next
}

// stand says where the connector stands. m.mu is held.
func (c *connector) stand(have Attached, now time.Time) standing {
	if !ValidName(c.name) {
		return standing{reconciler.AttachmentFailed, "InvalidName", fmt.Sprintf("%q cannot be the name of a source", c.name), "use letters, digits and _, and no digit first"}
	}
	is := c.wrong(have, now)
	if have.Generation == 0 {
		return c.standNothing(have, is)
	}
	switch {
	case is.reason != "":
		is.phase = reconciler.AttachmentDegraded
	case have.Identity != c.spec.Identity:
		is = standing{phase: reconciler.AttachmentLive, reason: "Updating", message: "what is attached is of before the last change, until a run for that has ended"}
	default:
		is.phase = reconciler.AttachmentLive
	}
	return is
}

// standNothing is where a connector stands of which nothing is attached.
func (c *connector) standNothing(have Attached, is standing) standing {
	switch {
	case c.running != nil:
		is.phase = reconciler.AttachmentRunning
	case have.Behind && have.Problem == "": // after a start of the daemon: its data is there, and in a moment served
		return standing{reconciler.AttachmentPending, "Behind", "the query workers are being started", have.Hint}
	case have.Problem != "" || c.memo.Trouble != nil:
		is.phase = reconciler.AttachmentFailed
	default:
		is.phase = reconciler.AttachmentPending
		if is.reason == "" && c.tableless() {
			return standing{is.phase, ReasonNoTables, "none of its tables are chosen yet", "fairlead connector register " + c.in.name + "/" + c.name + " --all takes all (POST /api/admin/discover-and-register); or name them in its file"}
		}
		if r, any := c.memo.lastEnded(); any && is.reason == "" && r.Outcome == Failed {
			is.reason, is.message = "NotRun", r.Error
		}
	}
	return is
}

// wrong is what is not as it should be, the gravest first.
func (c *connector) wrong(have Attached, now time.Time) standing {
	m := c.memo
	switch {
	case have.Problem != "":
		return standing{reason: "NotAttached", message: have.Problem, hint: have.Hint}
	case m.Trouble != nil && m.Trouble.Outcome == Failed:
		return standing{reason: "RunFailed", message: m.Trouble.Error, hint: m.Trouble.Hint}
	case c.in.problem != "" && !c.ready:
		return standing{reason: "HostProblem", message: c.in.problem}
	case c.unswept != "" && c.unable():
		return standing{reason: "HostProblem", message: c.unswept}
	case len(m.Bad) > 0:
		return c.badTables()
	case m.Trouble != nil:
		return standing{reason: "Partial", message: m.Trouble.Error, hint: m.Trouble.Hint}
	case c.lags(have.Behind, now):
		return standing{reason: "Behind", message: "not every query worker has its newest data yet", hint: have.Hint}
	}
	for name, t := range c.times() {
		if l := m.Lanes[name]; l.stale(t, now) {
			return standing{reason: "Stale", message: fmt.Sprintf("%s was last read well on %s", cmp.Or(name, "it"), l.Good.Format(time.RFC3339)), hint: "look at the last runs, and whether the daemon ran at the times of the schedule"}
		}
	}
	return standing{}
}

// lags says that workers have lacked something for longer than a change of what
// they have takes.
func (c *connector) lags(behind bool, now time.Time) bool {
	if !behind {
		c.behind = time.Time{}
		return false
	}
	if c.behind.IsZero() || c.behind.After(now) {
		c.behind = now
	}
	return now.Sub(c.behind) > time.Minute
}

// badTables says which tables the last run that was for them did not read well.
func (c *connector) badTables() standing {
	names := slices.Sorted(maps.Keys(c.memo.Bad))
	first := c.memo.Bad[names[0]]
	message := fmt.Sprintf("table %s: %s", names[0], first.Error)
	if len(names) > 1 {
		message = fmt.Sprintf("%d tables; %s", len(names), message)
	}
	return standing{reason: "Partial", message: message, hint: first.Hint}
}
