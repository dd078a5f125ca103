package verify

import (
	"fmt"
	"time"
)

// Status is what came of a step.
type Status string

// The outcomes of a step. A step that could not be tested says nothing of the
// application: no answer came, or something that it needs is not there.
const (
	Passed     Status = "ok"
	Failed     Status = "failed"
	Skipped    Status = "skipped"
	CannotTest Status = "cannot-test"
)

// Result is what came of one step. It holds no secret and no saved value.
type Result struct {
	Name    string        `json:"name"`
	Request string        `json:"request"` // method and path as they are written
	Status  Status        `json:"status"`
	Took    time.Duration `json:"duration_ns"`
	Tries   int           `json:"tries"`
	// Message says why the step could not be tested or was skipped.
	Message string `json:"message,omitempty"`
	// Expected and Found are of a step that failed.
	Expected string `json:"expected,omitempty"`
	Found    string `json:"found,omitempty"`
}

// Reason is the result in one line.
func (r Result) Reason() string {
	at := fmt.Sprintf("step %q: %s: ", r.Name, r.Request)
	switch r.Status {
	case Failed:
		return at + "expected " + r.Expected + ", found " + r.Found
	case CannotTest:
		return at + "cannot test: " + r.Message
	case Skipped:
		return at + "skipped: " + r.Message
	}
	return at + "ok"
}

// Report is what came of all steps, in their order.
type Report struct {
	Steps []Result
	Took  time.Duration
	// Err is the cause of the context's end when that came before the end of
	// the steps.
	Err error
}

// Status is Failed when a step failed, CannotTest when one could not be
// tested, and else Passed.
func (r Report) Status() Status {
	if bad, found := r.Bad(); found {
		return bad.Status
	}
	return Passed
}

// Bad is the step that the run ended with, when it did not pass.
func (r Report) Bad() (Result, bool) {
	for _, s := range r.Steps {
		if s.Status == Failed || s.Status == CannotTest {
			return s, true
		}
	}
	return Result{}, false
}
