package reconciler

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// choice is which target a pass converges to.
type choice int

const (
	chooseNothing  choice = iota // leave everything as it is
	chooseNew                    // what the revision says, as a new generation
	chooseLastGood               // what is applied already: heal it
	chooseHeld                   // the generation that an operator holds
)

// decision is a choice with how it is shown.
type decision struct {
	choice     choice
	generation int // of chooseHeld
	phase      Phase
	message    string
	unhold     bool // the hold is over
	// stands says that the specification is the applied one; what its
	// reference means may have to wait.
	stands bool
	picked
}

// situation is everything that a decision rests on.
type situation struct {
	spec    desired.Spec // of the newest revision, when loadErr is nil
	loadErr error
	memo    memo
	// lastSpec is the hash of the applied specification; empty: none yet. last
	// is its target.
	lastSpec string
	last     Target
	offer    *offer // nil: the revision follows nothing, or nobody can be asked
	busy     *bool  // what the application says; nil: it was not asked
	going    string // digest that is being applied: the gates are behind it
	now      time.Time
}

// attemptKey identifies what an attempt is at: a specification with what its
// reference means.
func attemptKey(specHash, digest string) string {
	return strings.TrimSpace(specHash + " " + digest[strings.LastIndexByte(digest, '@')+1:])
}

// decide says which target counts now. It is pure.
func decide(s situation) decision {
	if d, stop := suspended(s); stop {
		return d
	}
	hash := s.spec.Hash()
	d := decision{}
	if h := s.memo.Hold; h != nil {
		if s.loadErr != nil || h.stands(hash, s.newest()) {
			return decision{choice: chooseHeld, generation: h.Generation, phase: PhaseHeld,
				message: fmt.Sprintf("generation %d is held by %s until a newer revision changes the instance", h.Generation, h.By)}
		}
		d.unhold = true
	}
	switch {
	case s.loadErr != nil:
		d.choice, d.phase, d.message = chooseLastGood, PhaseRefused, s.loadErr.Error()
	default:
		d = s.unlessSame(d, hash)
	}
	if d.choice == chooseLastGood && s.lastSpec == "" {
		d.choice = chooseNothing
	}
	return d
}

// newest is the digest that the registry gives the followed reference.
func (s situation) newest() string {
	if s.offer == nil {
		return ""
	}
	return s.offer.release.Digest
}

// unlessSame chooses what is applied when the revision asks for just that.
func (s situation) unlessSame(d decision, hash string) decision {
	d.picked, d.stands = s.pick(), hash == s.lastSpec
	if !d.stands || d.digest != "" && !sameDigest(d.digest, s.running()) {
		return s.unlessQuarantined(d, hash)
	}
	d.choice, d.phase = chooseLastGood, PhaseIdle
	if w := d.deferral; w != nil {
		d.phase, d.message = PhaseDeferred, w.Message
		if w.Reason == DeferredQuarantined {
			d.phase = PhaseQuarantined
			d.choice = s.afterQuarantine()
		}
	}
	return d
}

// afterQuarantine is what is converged to when the newest target failed: the
// last good one, unless the failed one is to be left in place.
func (s situation) afterQuarantine() choice {
	if s.spec.Rollback == "off" || s.spec.Rollback == "notify" {
		return chooseNothing
	}
	return chooseLastGood
}

func suspended(s situation) (decision, bool) {
	if s.memo.suspended(s.now) {
		return decision{choice: chooseNothing, phase: PhaseSuspended, message: s.memo.Suspended.Reason}, true
	}
	if p := s.spec.Suspend; s.loadErr == nil && p != nil && (p.Until.IsZero() || s.now.Before(p.Until)) {
		return decision{choice: chooseNothing, phase: PhaseSuspended, message: p.Reason}, true
	}
	return decision{}, false
}

// suspended reports whether a person's suspension lasts.
func (m memo) suspended(now time.Time) bool {
	p := m.Suspended
	return p != nil && (p.Until.IsZero() || now.Before(p.Until))
}

func (s situation) unlessQuarantined(d decision, hash string) decision {
	q := findQuarantine(s.memo, hash, s.spec.Follow, d.digest)
	if q == nil {
		d.choice, d.phase = chooseNew, PhaseApplying
		return d
	}
	d.choice, d.phase = s.afterQuarantine(), PhaseQuarantined
	d.message = fmt.Sprintf("generation %d (%s) failed and is not tried again until it changes: %s",
		q.Generation, q.Revision.Short(), q.Reason)
	return d
}

// findQuarantine looks for a specification that failed with what its reference
// means now. What is not known of either side is taken for the same.
func findQuarantine(m memo, specHash string, f *desired.Follow, digest string) *Quarantined {
	for i, q := range m.Quarantined {
		if q.SpecHash != specHash {
			continue
		}
		if f == nil || digest == "" || q.Images[f.Ref].Digest == "" || sameDigest(digest, q.Images[f.Ref].Digest) {
			return &m.Quarantined[i]
		}
	}
	return nil
}

// maxQuarantined bounds what is remembered of failed generations.
const maxQuarantined = 50

func addQuarantine(m *memo, q Quarantined) {
	for i := range m.Quarantined {
		if m.Quarantined[i].SpecHash == q.SpecHash && maps.Equal(digests(m.Quarantined[i]), digests(q)) {
			m.Quarantined[i] = q
			return
		}
	}
	m.Quarantined = append(m.Quarantined, q)
	if over := len(m.Quarantined) - maxQuarantined; over > 0 {
		m.Quarantined = m.Quarantined[over:]
	}
}

func digests(q Quarantined) map[string]string {
	out := map[string]string{}
	for ref, img := range q.Images {
		out[ref] = img.Digest
	}
	return out
}
