package connectors

import (
	"context"
	"io"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// Runner makes one run of a connector: a built-in source, a container or a
// process. It leaves files in the run's directory and says what became of each
// table; a program's tables are found in what it left.
type Runner interface {
	Run(ctx context.Context, run Run) (Report, error)
}

// Run is one run of a connector.
type Run struct {
	Instance string
	Source   string
	Spec     desired.ConnectorSpec
	// Program is the directory with the files of a tier a connector.
	Program string
	Job     Job
	// Output takes what a program writes to its standard outputs. It hides what
	// is secret and is bounded by whoever made it.
	Output io.Writer
}

// Cause is why a run was made.
type Cause string

// The causes.
const (
	CauseChanged   Cause = "changed"   // the desired state
	CauseScheduled Cause = "scheduled" // its time came
	CauseCatchUp   Cause = "catch-up"  // its time came while nothing could run
	CauseRetry     Cause = "retry"     // the last one failed
	CauseAsked     Cause = "asked"     // by a person or a webhook
)

// Record is what is remembered of a run. It holds nothing secret.
type Record struct {
	ID       int64  `json:"id"` // counts up, by instance
	Source   string `json:"source"`
	Cause    Cause  `json:"cause"`
	Commit   string `json:"commit,omitempty"`
	Identity string `json:"identity,omitempty"`
	// Correlation is the id of the request that led to it, also when it is tried
	// again; empty: none did.
	Correlation string        `json:"correlation,omitempty"`
	Due         time.Time     `json:"due,omitzero"` // the time of the schedule that it was for
	Started     time.Time     `json:"started"`
	Ended       time.Time     `json:"ended,omitzero"`
	Outcome     Outcome       `json:"outcome,omitempty"` // empty while it runs
	Error       string        `json:"error,omitempty"`
	Hint        string        `json:"hint,omitempty"`
	Tables      []TableResult `json:"tables,omitempty"`
	Problems    []Problem     `json:"problems,omitempty"`
	// Generation is what was published; 0: nothing.
	Generation int `json:"generation,omitempty"`
	// Done and Total are how far a run that is under way has come.
	Progress map[string][2]int64 `json:"progress,omitempty"`
}
