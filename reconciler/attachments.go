package reconciler

import (
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
