package notify

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/fairlead/fairlead/reconciler"
)

// trouble is something that is wrong now and may be over later.
type trouble struct {
	Key string // what: "containers", "certificate data"; one trouble a key
	// Stamp changes when it became another thing to tell: a week left became
	// three days, another revision failed.
	Stamp  string
	Notice Notice
	// Settle is how long it has to last before it is told.
	Settle time.Duration
	// Quiet is told once, and never again.
	Quiet bool
}

// How long something has to last before it is worth a notice.
const (
	settleContainers = 2 * time.Minute
	settleSource     = 10 * time.Minute
	settleRepository = time.Minute
	settleEngine     = 2 * time.Minute
)

// deferredKey is the key of a release that waits. Each channel says from when on
// it wants to know.
const deferredKey = "deferred"

// look is what a status says, from which troubles follow. ok is false as long as
// no pass was made: a status from before says nothing.
func look(s reconciler.Status, now time.Time) (v view, ok bool) {
	gone := s.Condition(reconciler.SourceReady).Reason == "InstanceGone"
	if s.LastPass.IsZero() && !gone {
		return view{}, false
	}
	v = view{wrong: troubles(s, now), fine: deployed(s), unknown: map[string]bool{}, parts: map[string]bool{}}
	if c := s.Condition(reconciler.ContainersReady); c.Status != "True" && c.Status != "False" || gone {
		v.unknown["containers"] = true
	}
	if s.Sync == reconciler.Unknown || s.Phase == reconciler.PhaseSuspended {
		v.unknown[deployKey] = true
	}
	for _, c := range s.Certificates {
		v.parts["certificate "+c.Name] = true
	}
	for _, a := range s.Attachments {
		v.parts["attachment "+a.Name] = true
	}
	return v, true
}

// deployed says whether what runs is what somebody wants to run: the revision, a
// generation that is held, or the release before one that waits for its time.
func deployed(s reconciler.Status) bool {
	switch s.Phase {
	case reconciler.PhaseIdle:
		return s.Sync == reconciler.Synced
	case reconciler.PhaseDeferred:
		return s.Release != nil && s.Release.Deferred != nil && s.Release.Deferred.Reason != reconciler.DeferredQuarantined
	case reconciler.PhaseHeld:
		return true
	}
	return false
}

// troubles says what is wrong with an instance, from its status alone.
// Deployments that fail are told by events.
func troubles(s reconciler.Status, now time.Time) (list []trouble) {
	if gone := s.Condition(reconciler.SourceReady); gone.Reason == "InstanceGone" {
		return []trouble{{Key: "gone", Quiet: true, Notice: Notice{Kind: Source, Title: "is gone from the repository", Message: gone.Message, Since: gone.Since}}}
	}
	if t, wrong := containerTrouble(s); wrong {
		list = append(list, t)
	}
	if t, wrong := deferralTrouble(s, now); wrong {
		list = append(list, t)
	}
	for _, c := range s.Certificates {
		if t, wrong := certificateTrouble(c, now); wrong {
			list = append(list, t)
		}
	}
	for _, a := range s.Attachments {
		if t, wrong := attachmentTrouble(a); wrong {
			list = append(list, t)
		}
	}
	return list
}

func containerTrouble(s reconciler.Status) (trouble, bool) {
	c := s.Condition(reconciler.ContainersReady)
	busy := s.Phase == reconciler.PhaseApplying || s.Phase == reconciler.PhaseBaking || s.Phase == reconciler.PhasePending
	if c.Status != "False" || busy || c.Reason == string(reconciler.Progressing) {
		return trouble{}, false
	}
	return trouble{Key: "containers", Settle: settleContainers, Notice: Notice{Kind: Degraded, Title: "is " + strings.ToLower(c.Reason), Message: c.Message,
		Todo: "fairlead logs " + s.Name + " shows what the containers write, fairlead why " + s.Name + " SERVICE why they are as they are", Since: c.Since}}, true
}

func deferralTrouble(s reconciler.Status, now time.Time) (trouble, bool) {
	r := s.Release
	if r == nil || r.Deferred == nil || r.NewestSeen.IsZero() ||
		r.Deferred.Reason == reconciler.DeferredQuarantined || r.Deferred.Reason == reconciler.DeferredDeprecated {
		return trouble{}, false
	}
	what := cmp.Or(r.NewestRelease, r.Newest)
	return trouble{Key: deferredKey, Stamp: r.Newest, Notice: Notice{Kind: Deferred, Release: what, Since: r.NewestSeen,
		Title: fmt.Sprintf("release %s has been waiting for %s", what, span(now.Sub(r.NewestSeen))), Message: r.Deferred.Message,
		Todo: "fairlead apply --now " + s.Name + " takes it without waiting"}}, true
}

// expiryDays are the days before its end at which a certificate is told of, as
// far as they are less than a quarter of its life: one of 90 days is renewed
// when 30 are left.
var expiryDays = []int{30, 14, 7, 3, 1, 0}

func certificateTrouble(c reconciler.CertificateStatus, now time.Time) (trouble, bool) {
	n := Notice{Kind: Certificate, Message: c.Message, Todo: c.Hint, Since: c.Since}
	t := trouble{Key: "certificate " + c.Name}
	left, life := c.NotAfter.Sub(now), c.NotAfter.Sub(c.NotBefore)
	if step, soon := expiryStep(left, life); soon && !c.NotAfter.IsZero() && !c.SelfSigned {
		n.Title = fmt.Sprintf("certificate %s ends in %s", c.Name, span(left))
		if left <= 0 {
			n.Title = fmt.Sprintf("certificate %s is over since %s", c.Name, span(-left))
		}
		n.Message = strings.TrimSpace(fmt.Sprintf("It is valid until %s, for %s. %s", c.NotAfter.UTC().Format("2006-01-02 15:04 UTC"), strings.Join(c.Domains, ", "), c.Message))
		n.Todo = cmp.Or(n.Todo, "put the successor where "+c.Source+" has it; fairlead cert ls says what is missing")
		t.Stamp, t.Notice = fmt.Sprintf("%d days", step), n
		return t, true
	}
	if c.Phase != reconciler.CertificateDegraded && c.Phase != reconciler.CertificateExpired {
		return trouble{}, false
	}
	n.Title = fmt.Sprintf("certificate %s is %s", c.Name, strings.ToLower(string(c.Phase)))
	t.Stamp, t.Notice, t.Settle = string(c.Phase)+" "+c.Reason, n, time.Minute
	return t, true
}

// expiryStep is the least threshold that is passed.
func expiryStep(left, life time.Duration) (step int, soon bool) {
	const day = 24 * time.Hour
	for _, days := range expiryDays {
		if at := time.Duration(days) * day; left <= at && at <= life/4 {
			step, soon = days, true
		}
	}
	return step, soon
}

func attachmentTrouble(a reconciler.AttachmentStatus) (trouble, bool) {
	if a.Phase != reconciler.AttachmentDegraded && a.Phase != reconciler.AttachmentFailed {
		return trouble{}, false
	}
	n := Notice{Kind: Attachment, Title: fmt.Sprintf("connector %s is %s", a.Name, strings.ToLower(string(a.Phase))), Message: a.Message, Todo: a.Hint, Since: a.Since}
	if !a.LastGood.IsZero() {
		n.Message = strings.TrimSpace(n.Message + "\nThe last good run was at " + a.LastGood.UTC().Format("2006-01-02 15:04 UTC") + "; its data is still served.")
	}
	return trouble{Key: "attachment " + a.Name, Stamp: string(a.Phase) + " " + a.Reason, Notice: n}, true
}

// HostView is what is seen of the host as a whole.
type HostView struct {
	Source   reconciler.SourceStatus
	Problems error // of the repository as a whole
	// EngineDown is since when the container engine does not answer; zero: it does.
	EngineDown time.Time
	// Store is what is wrong with the daemon's own database, a line each.
	Store []string
}

// hostTroubles says what is wrong with no instance in particular.
func hostTroubles(v HostView) (list []trouble) {
	if v.Source.Err != nil {
		n := Notice{Kind: Source, Title: "the repository cannot be read", Message: v.Source.Err.Error(), Since: v.Source.LastSuccess,
			Todo: "what runs is kept as it is; see whether " + v.Source.Repo + " answers and the login still counts"}
		list = append(list, trouble{Key: "source", Notice: n, Settle: settleSource})
	}
	if v.Problems != nil && v.Source.Err == nil {
		n := Notice{Kind: Failed, Title: "the repository has a part that cannot be used", Message: v.Problems.Error(), Todo: "mend it with a commit; the instances that are right go on"}
		list = append(list, trouble{Key: "repository", Stamp: fingerprint(v.Problems.Error()), Notice: n, Settle: settleRepository})
	}
	if !v.EngineDown.IsZero() {
		n := Notice{Kind: Degraded, Title: "the container engine does not answer", Since: v.EngineDown, Todo: "systemctl status docker; what runs may go on without it, and nothing is changed meanwhile"}
		list = append(list, trouble{Key: "engine", Notice: n, Settle: settleEngine})
	}
	if text := strings.Join(v.Store, "\n"); text != "" {
		n := Notice{Kind: Degraded, Title: "the daemon's database was damaged, or is not copied", Message: text, Todo: "fairlead status shows it; docs/operations.md (Disasters) says what to look at"}
		list = append(list, trouble{Key: "store", Stamp: fingerprint(text), Notice: n})
	}
	return list
}
