package reconciler

import (
	"cmp"
	"maps"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// Attachments keeps the connectors of the instances running and their data
// attached. Package connectors implements it.
type Attachments interface {
	// Set says which connectors an instance wants until the next Set. It says
	// what should be, so calling it again costs nothing, and it never waits.
	Set(instance string, want WantedConnectors)
	// Attachments tells of the connectors of an instance, in order of name.
	Attachments(instance string) []AttachmentStatus
}

// WantedConnectors are those of one instance.
type WantedConnectors struct {
	ByName map[string]desired.ConnectorSpec
	// Files are the directories of programs, by ProgramSource.Files, as far as
	// the desired state was read: what is not in it was handed over before.
	Files  map[string]desired.FileTree
	Commit string
	// Correlation is the id of the request that the pass is made for; it says
	// nothing about what is wanted.
	Correlation string
	// Suspended says that nothing is to be run by itself meanwhile; what is
	// attached stays.
	Suspended bool
}

// AttachmentPhase is where a connector stands.
type AttachmentPhase string

// The phases of a connector.
const (
	AttachmentPending  AttachmentPhase = "Pending"  // nothing is attached yet; the first run is to come
	AttachmentRunning  AttachmentPhase = "Running"  // as Pending, and the first run is under way
	AttachmentLive     AttachmentPhase = "Live"     // attached, and the last run went well
	AttachmentDegraded AttachmentPhase = "Degraded" // what was good is attached; something newer failed
	AttachmentFailed   AttachmentPhase = "Failed"   // nothing is attached, since nothing was ever good
)

// AttachmentStatus is what is known of one connector. It holds nothing secret.
type AttachmentStatus struct {
	Name    string          `json:"name"`
	Kind    string          `json:"kind"` // files, keboola, …, container, program
	Phase   AttachmentPhase `json:"phase"`
	Reason  string          `json:"reason,omitempty"`
	Message string          `json:"message,omitempty"`
	Hint    string          `json:"hint,omitempty"`
	Since   time.Time       `json:"since,omitzero"`

	Identity string `json:"identity,omitempty"` // that is wanted
	Attached string `json:"attached,omitempty"` // identity of what the query workers have
	Commit   string `json:"commit,omitempty"`   // of what they have
	// Generation is the number of the data that is attached, Published its time.
	Generation int       `json:"generation,omitempty"`
	Published  time.Time `json:"published,omitzero"`
	Tables     []string  `json:"tables,omitempty"`
	Rows       int64     `json:"rows,omitempty"`
	Conflicts  []string  `json:"conflicts,omitempty"` // flat names that another source has

	Running   bool      `json:"running,omitempty"`
	LastRun   time.Time `json:"last_run,omitzero"`
	LastGood  time.Time `json:"last_good,omitzero"`
	NextRun   time.Time `json:"next_run,omitzero"`
	Schedule  string    `json:"schedule,omitempty"`
	LastCause string    `json:"last_cause,omitempty"`
}

// keepAttachments says which connectors are wanted: those of what is applied,
// and of what is on its way beside them, so that what the application asks for
// is there until the new generation stands. The directories of programs come
// along as far as they are in memory.
func (r *Instance) keepAttachments(coming *loaded, suspended bool) {
	if r.cfg.Attachments == nil {
		return
	}
	want := WantedConnectors{ByName: map[string]desired.ConnectorSpec{}, Files: map[string]desired.FileTree{}, Suspended: suspended, Correlation: r.correlation}
	if suspended {
		coming = nil
	}
	if r.good != nil {
		maps.Copy(want.ByName, r.good.target.Spec.Connectors)
		want.Commit = r.good.Revision.Commit
	}
	if coming != nil {
		maps.Copy(want.ByName, coming.spec.Connectors)
		want.Commit = coming.rev.Commit
	}
	for key := range programFiles(want.ByName) {
		if tree, here := r.loaded.spec.Files[key]; here {
			want.Files[key] = tree
		}
	}
	r.cfg.Attachments.Set(r.cfg.Name, want)
}

// programFiles lists the keys of Spec.Files that are directories of programs.
func programFiles(connectors map[string]desired.ConnectorSpec) map[string]bool {
	keys := map[string]bool{}
	for _, c := range connectors {
		if c.Program != nil && c.Program.Files != "" {
			keys[c.Program.Files] = true
		}
	}
	return keys
}

// withConnectors adds to an observation the connectors that are applied. How
// their data stands is left out: a new generation cannot do anything about it.
func (r *Instance) withConnectors(have Observed) Observed {
	have.Connectors = map[string]desired.ConnectorSpec{}
	if r.good != nil {
		maps.Copy(have.Connectors, r.good.target.Spec.Connectors)
	}
	return have
}

// attached is how the data of the connectors stands, by name; nil when nobody
// keeps them.
func (r *Instance) attached() map[string]AttachmentStatus {
	if r.cfg.Attachments == nil {
		return nil
	}
	all := map[string]AttachmentStatus{}
	for _, a := range r.cfg.Attachments.Attachments(r.cfg.Name) {
		all[a.Name] = a
	}
	return all
}

// attach adds what is known of the connectors. A first run that is to come or
// under way is no fault: reading a source may take hours.
func (s *Status) attach(list []AttachmentStatus) {
	if len(list) == 0 {
		return
	}
	s.Attachments = list
	worst := list[0]
	for _, a := range list[1:] {
		if d := a.Phase.rank() - worst.Phase.rank(); d > 0 || d == 0 && a.Phase == AttachmentLive && a.Since.After(worst.Since) {
			worst = a
		}
	}
	c := Condition{Type: AttachmentsReady, Status: "False", Reason: cmp.Or(worst.Reason, string(worst.Phase)), Message: worst.describe(), Since: worst.Since}
	switch worst.Phase {
	case AttachmentLive:
		c.Status, c.Reason, c.Message = "True", "Ready", Count(len(list), "connector")
	case AttachmentPending, AttachmentRunning:
		c.Status = "Unknown"
	default:
		if s.Health == Healthy {
			s.Health = Degraded
		}
	}
	s.Conditions = append(s.Conditions, c)
}

func (a AttachmentStatus) describe() string {
	text := a.Name + ": " + a.Message
	switch {
	case a.Message != "":
	case a.Phase == AttachmentPending:
		text = a.Name + ": its first run is to come"
	case a.Phase == AttachmentRunning:
		text = a.Name + ": its first run is under way"
	default:
		text = a.Name + " is " + string(a.Phase)
	}
	if a.Hint != "" {
		text += "; " + a.Hint
	}
	return text
}

// rank orders phases by how much they matter to whoever is woken.
func (p AttachmentPhase) rank() int {
	switch p {
	case AttachmentLive:
		return 0
	case AttachmentRunning:
		return 1
	case AttachmentPending:
		return 2
	case AttachmentDegraded:
		return 3
	}
	return 4
}
