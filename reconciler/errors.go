package reconciler

import (
	"errors"
	"time"
)

// terminalError marks an error that trying again cannot mend.
type terminalError struct{ error }

func (e terminalError) Unwrap() error { return e.error }

// Terminal marks err as one that needs a new revision or a person: it is shown
// as Stalled and not tried again until the revision changes.
func Terminal(err error) error {
	if err == nil {
		return nil
	}
	return terminalError{err}
}

// IsTerminal reports whether err was marked by Terminal.
func IsTerminal(err error) bool {
	var t terminalError
	return errors.As(err, &t)
}

type retryAfterError struct {
	error
	after time.Duration
}

func (e retryAfterError) Unwrap() error { return e.error }

// RetryAfter marks err as a wait for something outside: it is tried again
// after d, without backoff.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return retryAfterError{err, d}
}

// RetryDelay returns the delay that RetryAfter put on err.
func RetryDelay(err error) (time.Duration, bool) {
	var r retryAfterError
	if errors.As(err, &r) {
		return r.after, true
	}
	return 0, false
}

// ErrUnreachable is wrapped by drivers when the engine does not answer: nothing
// is known, so nothing is decided, and the work waits until it is back.
var ErrUnreachable = errors.New("engine is unreachable")

// errSuperseded cancels an apply because a newer revision asks for something else.
var errSuperseded = errors.New("a newer revision takes over")
