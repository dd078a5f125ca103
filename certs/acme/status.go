package acme

import "time"

// Phase is where a certificate stands.
type Phase string

// The phases.
const (
	Pending  Phase = "Pending"      // nothing was obtained yet
	Ordering Phase = "Ordering"     // an order is under way
	Valid    Phase = "Valid"        // there is one, and it is not due
	Waiting  Phase = "Waiting"      // one is due, and waits for NextTry
	Suspect  Phase = "ClockSuspect" // the clock cannot be right: nothing is decided
)

// Status is what is known of one certificate.
type Status struct {
	Name     string
	Phase    Phase
	Reason   string // why one is due, or what it waits for
	Issuer   string // directory of the authority that issued the last one
	Serial   string // hexadecimal
	Issued   time.Time
	NotAfter time.Time
	RenewAt  time.Time
	NextTry  time.Time // when an authority is asked again after failures
	Window   *Window   // that the authority suggests
	Failures []Failure // the last one of each authority since it last issued
	Orders   int       // begun in the last week
	Allowed  int       // how many may be
	Problem  string    // of this host: the directory, or who takes the pair
}

// Failure is the last of several in a row at one authority.
type Failure struct {
	Issuer string
	Count  int
	At     time.Time
	Next   time.Time
	Said   bool // the authority chose Next
	Error  string
}

// status tells of the certificate and of the tries since it was issued.
func (j *job) status(phase Phase, reason string) Status {
	s := Status{Name: j.req.Name, Phase: phase, Reason: reason, Problem: j.problem}
	s.Orders, s.Allowed = len(j.state.recent(j.now)), j.allowed()
	for _, i := range j.req.Issuers {
		if t := j.state.Tries[i.Directory]; t != nil {
			next := j.state.next(i.Directory, j.now, j.hurry())
			s.Failures = append(s.Failures, Failure{i.Directory, t.Failed, t.Begun, next, t.Said, t.Error})
			if s.NextTry.IsZero() || next.Before(s.NextTry) {
				s.NextTry = next
			}
		}
	}
	r := j.rec
	if r == nil {
		return s
	}
	s.Issuer, s.Issued, s.NotAfter, s.Serial = r.Directory, r.Issued, r.leaf.NotAfter, r.leaf.SerialNumber.Text(16)
	s.RenewAt, s.Window = j.renewAt(), j.window.public()
	return s
}

func (w *window) public() *Window {
	if w == nil || !w.Known {
		return nil
	}
	return &Window{w.Start, w.End, w.Explanation}
}
