package acme

import (
	"slices"
	"time"
)

// state is what is remembered of a certificate's attempts.
type state struct {
	Digest string            `json:"digest"` // of the request that the tries were for
	Tries  map[string]*tries `json:"tries,omitempty"`
	// Orders are the times of those begun in the last week.
	Orders []time.Time `json:"orders,omitempty"`
}

// tries are the failures in a row at one authority.
type tries struct {
	Failed int       `json:"failed"`
	Begun  time.Time `json:"begun"`
	Next   time.Time `json:"next"`
	// Said is set when the authority chose Next.
	Said  bool   `json:"said,omitempty"`
	Error string `json:"error,omitempty"`
}

// window is what an authority suggests for one certificate. It has a file of its
// own, since it is written without a lock.
type window struct {
	Of          string    `json:"of"` // fingerprint of the leaf
	Start       time.Time `json:"start"`
	End         time.Time `json:"end"`
	Selected    time.Time `json:"selected"`
	Explanation string    `json:"explanation,omitempty"`
	Next        time.Time `json:"next"` // when to ask again
	Known       bool      `json:"known"`
}

// next is when an authority may be asked again, the zero time for at once.
func (s *state) next(directory string, now time.Time, hurry bool) time.Time {
	t := s.Tries[directory]
	if t == nil || t.Next.Sub(now) > longestWait { // the clock was wrong when that was written
		return time.Time{}
	}
	if soon := t.Begun.Add(urgentRetry); hurry && !t.Said && t.Next.After(soon) {
		return soon
	}
	return t.Next
}

// begin remembers an attempt as failed before it is made, so that a process
// that dies of it waits as well.
func (s *state) begin(directory string, now time.Time, backoff []time.Duration) {
	if s.Tries == nil {
		s.Tries = map[string]*tries{}
	}
	t := s.Tries[directory]
	if t == nil {
		t = &tries{}
		s.Tries[directory] = t
	}
	t.Failed++
	t.Begun, t.Said, t.Error = now, false, "interrupted"
	t.Next = now.Add(wait(backoff, t.Failed))
	s.Orders = append(s.recent(now), now)
}

// failed completes what begin has written. The time that the authority named
// wins, but is never shorter than the first wait.
func (s *state) failed(directory string, now time.Time, err error, retryAfter time.Time, backoff []time.Duration) {
	t := s.Tries[directory]
	t.Error = err.Error()
	t.Next = now.Add(wait(backoff, t.Failed))
	if retryAfter.IsZero() {
		return
	}
	t.Said = true
	t.Next = retryAfter
	if soonest := now.Add(backoff[0]); t.Next.Before(soonest) {
		t.Next = soonest
	}
	if latest := now.Add(longestWait); t.Next.After(latest) {
		t.Next = latest
	}
}

// recent are the orders of the last week. What lies in the future was written
// while the clock was wrong.
func (s *state) recent(now time.Time) []time.Time {
	return slices.DeleteFunc(slices.Clone(s.Orders), func(t time.Time) bool { return now.Sub(t) > week || t.After(now.Add(time.Hour)) })
}

// adopt forgets failures that a changed request may have mended, but not when
// the authority said to wait.
func (s *state) adopt(digest string) {
	if s.Digest == digest {
		return
	}
	s.Digest = digest
	for directory, t := range s.Tries {
		if !t.Said {
			delete(s.Tries, directory)
		}
	}
}
