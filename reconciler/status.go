package reconciler

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// Sync says whether what runs is what the repository asks for.
type Sync string

// The values of Sync.
const (
	Synced    Sync = "Synced"
	OutOfSync Sync = "OutOfSync"
	Unknown   Sync = "Unknown"
)

// HealthStatus says how what runs is doing.
type HealthStatus string

// The values of HealthStatus.
const (
	Healthy     HealthStatus = "Healthy"
	Progressing HealthStatus = "Progressing"
	Degraded    HealthStatus = "Degraded"
	Suspended   HealthStatus = "Suspended"
	Missing     HealthStatus = "Missing"
)

// Phase says what the loop is at.
type Phase string

// The phases of an instance.
const (
	PhasePending     Phase = "Pending"     // nothing was tried yet
	PhaseIdle        Phase = "Idle"        // nothing to do
	PhaseApplying    Phase = "Applying"    // actions run
	PhaseBaking      Phase = "Baking"      // what was changed is ready and has to stay so
	PhaseDeferred    Phase = "Deferred"    // a newer release waits for its time
	PhaseRolledBack  Phase = "RolledBack"  // the last try failed, the one before is back
	PhaseQuarantined Phase = "Quarantined" // the revision failed and is not tried again
	PhaseRefused     Phase = "Refused"     // the revision does not validate
	PhaseHeld        Phase = "Held"        // an older generation is held by an operator
	PhaseSuspended   Phase = "Suspended"
	PhaseRetrying    Phase = "Retrying" // something failed and is tried again
	PhaseStalled     Phase = "Stalled"  // something failed that trying again cannot mend
)

// ConditionStatus is True, False or Unknown.
type ConditionStatus string

// Condition is one aspect of an instance, with why and since when.
type Condition struct {
	Type    string          `json:"type"` // SourceReady, ReleaseReady, ContainersReady, CertificatesReady, AttachmentsReady
	Status  ConditionStatus `json:"status"`
	Reason  string          `json:"reason"` // one word, stable: docs/operations.md explains each
	Message string          `json:"message,omitempty"`
	Since   time.Time       `json:"since"`
}

// The kinds of conditions.
const (
	SourceReady     = "SourceReady"
	ReleaseReady    = "ReleaseReady" // only where a release is followed
	ContainersReady = "ContainersReady"
	// CertificatesReady is only where certificates are wanted.
	CertificatesReady = "CertificatesReady"
	// AttachmentsReady is only where connectors are wanted.
	AttachmentsReady = "AttachmentsReady"
)

// ContainerStatus is a container as people are shown it.
type ContainerStatus struct {
	Name    string `json:"name"`
	Service string `json:"service"`
	Replica int    `json:"replica"`
	ID      string `json:"id"`
	Image   string `json:"image"`
	ImageID string `json:"image_id"`
	State   State  `json:"state"`
	Health  Health `json:"health,omitempty"`
	Done    bool   `json:"done,omitempty"` // a one-shot that completed
	// Wanted is the image of the applied generation, as ImageID, and Digest what
	// it is called in its registry; empty: not known.
	Wanted string `json:"wanted,omitempty"`
	Digest string `json:"digest,omitempty"`
	// Ports are those that the applied generation publishes on this host, as
	// compose writes them.
	Ports []string `json:"ports,omitempty"`
}

// ReleaseStatus is what an instance follows, runs and could run.
type ReleaseStatus struct {
	Ref     string `json:"ref"`
	Channel string `json:"channel,omitempty"` // empty: pinned
	Running string `json:"running,omitempty"` // digest
	// RunningRelease and NewestRelease are what people call the digests.
	RunningRelease string    `json:"running_release,omitempty"`
	Newest         string    `json:"newest,omitempty"` // digest that the reference means
	NewestRelease  string    `json:"newest_release,omitempty"`
	NewestSeen     time.Time `json:"newest_seen,omitzero"`
	Deferred       *Deferral `json:"deferred,omitempty"`
	// Window is when newer releases are taken, as instance.yaml has it; empty: at
	// any time.
	Window     string    `json:"window,omitempty"`
	Deprecated string    `json:"deprecated,omitempty"` // the tag by which what runs was taken back
	Asked      time.Time `json:"asked,omitzero"`       // when the registry answered last
	Error      string    `json:"error,omitempty"`      // why it does not, since Since
	Since      time.Time `json:"since,omitzero"`
}

// Status is everything there is to say about an instance.
type Status struct {
	Name      string           `json:"name"`
	Dir       string           `json:"dir"`
	Sync      Sync             `json:"sync"`
	Health    HealthStatus     `json:"health"`
	Phase     Phase            `json:"phase"`
	Attempted desired.Revision `json:"attempted,omitzero"`
	// Applied is the newest revision that what runs is as it says; Changed is the
	// one that the applied generation was made of. They differ when newer ones
	// changed nothing of this instance.
	Applied      desired.Revision    `json:"applied,omitzero"`
	Changed      desired.Revision    `json:"changed,omitzero"`
	AppliedAt    time.Time           `json:"applied_at,omitzero"`
	Generation   int                 `json:"generation"`
	Release      *ReleaseStatus      `json:"release,omitempty"`
	Conditions   []Condition         `json:"conditions"`
	Containers   []ContainerStatus   `json:"containers"`
	Certificates []CertificateStatus `json:"certificates,omitempty"`
	Attachments  []AttachmentStatus  `json:"attachments,omitempty"` // connectors, in order of name
	Pending      []Action            `json:"pending,omitempty"`
	// Switches say what users notice of the apply that is on its way, or of the
	// last one.
	Switches    []SwitchReport   `json:"switches,omitempty"`
	Front       []string         `json:"front,omitempty"` // hosts that requests come in by
	Problems    desired.Problems `json:"problems,omitempty"`
	Suspended   *Suspension      `json:"suspended,omitempty"`
	Hold        *Hold            `json:"hold,omitempty"`
	Quarantined []Quarantined    `json:"quarantined,omitempty"`
	Uncommitted []string         `json:"uncommitted,omitempty"` // edits in the repository that are not applied
	LocalFiles  []string         `json:"local_files,omitempty"`
	Notes       []string         `json:"notes,omitempty"`
	LastPass    time.Time        `json:"last_pass,omitzero"`
	NextPass    time.Time        `json:"next_pass,omitzero"`
	// Outcome is how the last apply ended, if there was one since the start.
	Outcome Outcome `json:"outcome,omitempty"`
}

// Condition returns the condition of a type; the zero value when it is not known.
func (s Status) Condition(kind string) Condition {
	for _, c := range s.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return Condition{}
}

// set replaces a condition and keeps its time when the status did not change.
func (s *Status) set(now time.Time, kind string, status ConditionStatus, reason, message string) {
	c := Condition{kind, status, reason, message, now}
	i := slices.IndexFunc(s.Conditions, func(c Condition) bool { return c.Type == kind })
	if i < 0 {
		s.Conditions = append(s.Conditions, c)
		return
	}
	if old := s.Conditions[i]; old.Status == status && old.Reason == reason {
		c.Since = old.Since
	}
	s.Conditions[i] = c
}

// drop forgets a condition of something that the instance does not have.
func (s *Status) drop(kind string) {
	s.Conditions = slices.DeleteFunc(slices.Clone(s.Conditions), func(c Condition) bool { return c.Type == kind })
}

// observe fills in the containers and what follows for health.
func (s *Status) observe(now time.Time, t Target, have Observed) {
	s.Containers = s.Containers[:0:0]
	for _, c := range have.Containers {
		svc := t.Spec.Services[c.Service]
		image := t.Images[svc.Image]
		s.Containers = append(s.Containers, ContainerStatus{
			Name: c.Name, Service: c.Service, Replica: c.Replica, ID: c.ID, Image: c.ImageRef, ImageID: c.ImageID,
			State: c.State, Health: c.Health, Wanted: image.ID, Digest: image.Digest, Ports: published(svc), Done: c.Completed || (svc.Job && c.State == StateExited && c.ExitCode == 0),
		})
	}
	var why []string
	s.Health, why = healthOf(t.Spec, s.Containers)
	switch {
	case have.Containers == nil:
		s.set(now, ContainersReady, "Unknown", "NotObserved", "")
	case s.Health == Healthy:
		s.set(now, ContainersReady, "True", "Ready", Count(len(s.Containers), "container"))
	default:
		s.set(now, ContainersReady, "False", string(s.Health), strings.Join(why, "; "))
	}
}

// published are the ports of a service on this host, as compose writes them.
func published(s desired.Service) (ports []string) {
	for _, p := range s.Ports {
		if p.Published == "" {
			continue
		}
		text := fmt.Sprintf("%s:%d", p.Published, p.Target)
		if p.HostIP != "" {
			text = p.HostIP + ":" + text
		}
		if p.Protocol != "" && p.Protocol != "tcp" {
			text += "/" + p.Protocol
		}
		ports = append(ports, text)
	}
	return ports
}

// healthOf is the worst of what the containers of a specification say.
func healthOf(spec desired.Spec, containers []ContainerStatus) (HealthStatus, []string) {
	rank := map[HealthStatus]int{Healthy: 0, Progressing: 1, Degraded: 2, Missing: 3}
	worst, why := Healthy, []string(nil)
	say := func(h HealthStatus, format string, args ...any) {
		why = append(why, fmt.Sprintf(format, args...))
		if rank[h] > rank[worst] {
			worst = h
		}
	}
	found := map[string]int{}
	for _, c := range containers {
		found[c.Service]++
		switch {
		case c.Done:
		case c.State == StateRestarting:
			say(Degraded, "%s restarts again and again", c.Name)
		case c.State != StateRunning:
			say(Degraded, "%s is %s", c.Name, c.State)
		case c.Health == HealthUnhealthy:
			say(Degraded, "%s is unhealthy", c.Name)
		case c.Health == HealthStarting:
			say(Progressing, "%s is starting", c.Name)
		}
	}
	for _, name := range spec.ServiceNames() {
		if want := spec.Services[name].Replicas; found[name] < want {
			say(Missing, "%s has %d of %d containers", name, found[name], want)
		}
	}
	return worst, why
}

// problemsOf returns the problems of a revision that does not load.
func problemsOf(err error) []desired.Problem {
	var ps desired.Problems
	if errors.As(err, &ps) {
		return ps
	}
	return nil
}
