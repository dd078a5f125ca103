package acme

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
)

// built is a day before any on which this program can run.
var built = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// job is one look at one certificate.
type job struct {
	*Manager
	entry   *entry
	req     Request
	asked   time.Time // when a renewal was asked for that was not made yet
	now     time.Time
	rec     *record // nil: there is none
	state   *state
	window  *window // of rec, or nil
	problem string
}

func (j *job) log() *logrus.Entry { return j.opts.Log.WithField("certificate", j.req.Name) }

// run looks, hands over, and orders what is due.
func (j *job) run(ctx context.Context) Status {
	if err := j.read(ctx); err != nil {
		j.state = &state{}
		j.rec = j.entry.last
		return j.failedHere(err)
	}
	j.hand(ctx)
	if j.now.Before(built) || (j.rec != nil && j.now.Before(j.rec.Issued.Add(-time.Hour))) {
		return j.status(Suspect, "the clock says "+j.now.Format(time.RFC3339)+", before what has happened already")
	}
	why := j.due()
	if why == "" {
		j.ask(ctx) // an authority that is slow to answer must not keep from what is due anyway
		why = j.due()
	}
	if why == "" {
		return j.status(Valid, "")
	}
	if wait := j.waiting(); wait != "" {
		return j.status(Waiting, why+"; "+wait)
	}
	j.show(j.status(Ordering, why))
	err := j.renew(ctx, why)
	j.hand(ctx) // also what could not be written
	if err != nil {
		return j.failedHere(err)
	}
	if j.due() == "" {
		return j.status(Valid, "")
	}
	return j.status(Waiting, why+"; "+j.waiting())
}

func (j *job) show(s Status) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s.Problem = j.entry.status.Problem // until it is known whether it is gone
	j.entry.status = s
}

// failedHere reports what is wrong with this host, once for each problem.
func (j *job) failedHere(err error) Status {
	j.report(err)
	phase := Waiting
	if j.rec != nil && j.due() == "" {
		phase = Valid
	}
	return j.status(phase, "")
}

func (j *job) report(err error) {
	j.problem = err.Error()
	j.mu.Lock()
	known := j.entry.status.Problem == j.problem
	j.mu.Unlock()
	if !known && !errors.Is(err, context.Canceled) {
		j.log().WithError(err).Error("acme: certificate cannot be kept")
	}
}

// read takes what lies on disk. A record that this process has newer, since a
// write failed or somebody deleted the file, is written again.
func (j *job) read(ctx context.Context) error {
	j.state = &state{}
	if err := j.store.load(statesDir, j.req.Name, j.state); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errBroken) {
		return err
	}
	j.state.adopt(j.req.digest())
	rec, err := j.store.pair(j.req.Name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errBroken) {
		return err
	}
	if errors.Is(err, errBroken) {
		j.log().WithError(err).Warn("acme: pair set aside")
		if err := j.store.aside(pairsDir, j.req.Name); err != nil {
			j.report(fmt.Errorf("set damaged pair aside: %w", err))
		}
	}
	if mine := j.entry.last; mine != nil && (rec == nil || mine.Issued.After(rec.Issued)) {
		if err := j.store.save(ctx, pairsDir, j.req.Name, mine); err != nil {
			j.report(err)
		}
		rec = mine
	}
	j.rec, j.entry.last = rec, rec
	j.window = &window{}
	if err := j.store.load(windowsDir, j.req.Name, j.window); err != nil || rec == nil || j.window.Of != rec.id {
		j.window = nil
	}
	return nil
}

// hand gives a pair to who wants it, unless it has run out or lacks a name.
func (j *job) hand(ctx context.Context) {
	r := j.rec
	if r == nil || j.entry.handed == r.id || !j.now.Before(r.leaf.NotAfter) || j.forgotten() {
		return
	}
	have := names(r.leaf)
	if slices.ContainsFunc(j.req.Domains, func(d string) bool { return !slices.Contains(have, d) }) {
		return
	}
	err := j.opts.Issued(ctx, Pair{
		Name: j.req.Name, Chain: []byte(r.Chain), Key: []byte(r.Key), Issuer: r.Directory, Profile: r.Profile,
		Issued: r.Issued, NotAfter: r.leaf.NotAfter, RenewAt: j.renewAt(), Window: j.window.public(),
	})
	if err != nil {
		j.report(fmt.Errorf("hand over: %w", err))
		return
	}
	j.entry.handed = r.id
}

// forgotten reports whether nobody wants the certificate any more.
func (j *job) forgotten() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.entries[j.req.Name] != j.entry
}

// ask asks the issuer for its suggestion, if that is due.
func (j *job) ask(ctx context.Context) {
	if j.rec == nil || (j.window != nil && j.now.Before(j.window.Next)) {
		return
	}
	issuer, known := j.req.issuer(j.rec.Directory)
	if !known {
		return
	}
	j.window = j.suggestion(ctx, issuer, j.rec, j.window)
	if err := j.store.save(ctx, windowsDir, j.req.Name, j.window); err != nil {
		j.report(err)
	}
}

func (j *job) renewAt() time.Time {
	w := j.window
	if w != nil && !w.Known {
		w = nil
	}
	return renewAt(j.rec.leaf, j.req.Fraction, w)
}

// due says why a new certificate is needed, or nothing.
func (j *job) due() string {
	if j.rec == nil {
		return "there is none yet"
	}
	if why := j.rec.stale(&j.req); why != "" {
		return why
	}
	at := j.renewAt()
	switch {
	case !j.asked.IsZero():
		return "asked for"
	case j.now.Before(at):
		return ""
	case j.window != nil && j.window.Known:
		return "its issuer wants it renewed since " + at.UTC().Format(time.RFC3339)
	}
	return "it is to be renewed since " + at.UTC().Format(time.RFC3339)
}

// hurry is set when what there is runs out soon.
func (j *job) hurry() bool { return j.rec != nil && urgent(j.rec.leaf, j.now) }

// waiting says what an order waits for, or nothing.
func (j *job) waiting() string {
	if n, most := len(j.state.recent(j.now)), j.allowed(); n >= most {
		return fmt.Sprintf("%d orders were begun within a week, and no more than %d may be", n, most)
	}
	var soonest time.Time
	for _, i := range j.req.Issuers {
		next := j.ready(i.Directory)
		if !j.now.Before(next) {
			return ""
		}
		if soonest.IsZero() || next.Before(soonest) {
			soonest = next
		}
	}
	return "after failures the next try is at " + soonest.Format(time.RFC3339)
}

// allowed is how many orders may begin in a week.
func (j *job) allowed() int {
	if j.rec == nil {
		return j.opts.Orders
	}
	return allowed(j.opts.Orders, j.rec.leaf, j.req.Fraction)
}

// ready is when an authority may be asked. Who asks for a renewal need not wait
// because of what failed before, but for what the authority itself said.
func (j *job) ready(directory string) time.Time {
	if t := j.state.Tries[directory]; t != nil && !t.Said && t.Begun.Before(j.asked) {
		return time.Time{}
	}
	return j.state.next(directory, j.now, j.hurry())
}

// renew orders a certificate while no other process does, unless another one has
// done it meanwhile.
func (j *job) renew(ctx context.Context, why string) error {
	select {
	case j.slots <- struct{}{}:
		defer func() { <-j.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	before := j.rec
	wait, cancel := context.WithTimeout(ctx, j.opts.OrderTimeout)
	defer cancel()
	return j.store.locked(wait, "order-"+j.req.Name, func() error {
		if err := j.read(ctx); err != nil {
			return err
		}
		if j.rec != nil && (before == nil || before.id != j.rec.id) {
			j.granted()
		}
		if j.due() == "" {
			return nil
		}
		return j.tryAll(ctx, why)
	})
}

// tryAll asks one authority after the other until one issues.
func (j *job) tryAll(ctx context.Context, why string) error {
	for _, i := range j.req.Issuers {
		if j.now = wall(); j.now.Before(j.ready(i.Directory)) || ctx.Err() != nil {
			continue
		}
		j.state.begin(i.Directory, j.now, j.opts.Backoff)
		// What cannot be remembered is not begun: a full disk would order without end.
		if err := j.saveState(ctx); err != nil {
			return err
		}
		rec, err := j.try(ctx, i, why)
		j.now = wall()
		if err == nil {
			return j.keep(ctx, rec)
		}
		if ctx.Err() != nil {
			return ctx.Err() // remembered as interrupted
		}
		j.failed(i, err)
		if err := j.saveState(ctx); err != nil {
			return err
		}
		if j.waiting() != "" {
			return nil
		}
	}
	return nil
}

func (j *job) try(ctx context.Context, i Issuer, why string) (*record, error) {
	j.log().WithFields(logrus.Fields{"issuer": i.Directory, "names": j.req.Domains, "why": why}).Info("acme: ordering certificate")
	ctx, cancel := context.WithTimeout(ctx, j.opts.OrderTimeout)
	defer cancel()
	return j.order(ctx, &j.req, i, j.rec, j.now)
}

func (j *job) failed(i Issuer, err error) {
	var after time.Time
	if r := (*refusal)(nil); errors.As(err, &r) {
		after = r.after
	}
	j.state.failed(i.Directory, j.now, err, after, j.opts.Backoff)
	j.log().WithError(err).WithFields(logrus.Fields{
		"issuer": i.Directory, "next": j.state.next(i.Directory, j.now, j.hurry()).Format(time.RFC3339),
	}).Warn("acme: certificate was not issued")
}

// granted forgets the wish for a renewal, unless it was made meanwhile.
func (j *job) granted() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.entry.asked.After(j.asked) {
		j.entry.asked = time.Time{}
	}
	j.asked = time.Time{}
}

// keep remembers a new pair. It is kept in memory too, so that a disk that is
// full just now does not cost another order.
func (j *job) keep(ctx context.Context, rec *record) error {
	j.rec, j.entry.last, j.window = rec, rec, nil
	j.granted()
	delete(j.state.Tries, rec.Directory)
	j.log().WithFields(logrus.Fields{
		"issuer": rec.Directory, "until": rec.leaf.NotAfter.UTC().Format(time.RFC3339), "serial": rec.leaf.SerialNumber.Text(16),
	}).Info("acme: certificate issued")
	if err := j.store.save(ctx, pairsDir, j.req.Name, rec); err != nil {
		j.report(err)
	}
	return j.saveState(ctx)
}

func (j *job) saveState(ctx context.Context) error {
	return j.store.save(ctx, statesDir, j.req.Name, j.state)
}
