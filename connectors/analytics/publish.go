package analytics

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// settleFor is how long a publication waits for the workers that are idle.
const settleFor = 10 * time.Second

// BaseLost is the code of a Problem: the generation that changes are changes of
// is not there any more.
const BaseLost = "BaseLost"

// Publish makes a generation of what a run left, and has it attached.
func (a *Analytics) Publish(ctx context.Context, p connectors.Publication) (connectors.Published, error) {
	done, err := a.publish(ctx, p)
	if err != nil {
		return done, fmt.Errorf("publish %s: %w", p.Source, err)
	}
	return done, nil
}

func (a *Analytics) publish(ctx context.Context, p connectors.Publication) (done connectors.Published, err error) {
	if slices.Contains(reserved, fold(p.Source)) {
		return done, connectors.WithHint(errors.New("the name is one that DuckDB or Fairlead uses itself"), "rename the connector")
	}
	i, s, err := a.source(p.Instance, p.Source)
	if err != nil {
		return done, err
	}
	ctx, cancel := a.both(ctx)
	defer cancel()
	unlock, err := s.lock(ctx)
	if err != nil {
		return done, err
	}
	defer unlock()
	release, err := a.turn(ctx)
	if err != nil {
		return done, err
	}
	g, reply, err := a.make(ctx, s, p)
	release()
	done.Tables, done.Problems = reply.Tables, reply.Problems
	if err != nil || g == nil {
		return done, err
	}
	done.Generation = g.number
	i.published(p)
	i.settle(ctx)
	i.prune(s, p.Source)
	return done, nil
}

// turn waits until this build is one of those that may run.
func (a *Analytics) turn(ctx context.Context) (release func(), err error) {
	select {
	case a.builds <- struct{}{}:
		return func() { <-a.builds }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// published takes note of a new generation.
func (i *instance) published(p connectors.Publication) {
	i.change.Lock()
	defer i.change.Unlock()
	i.keep[p.Source] = max(1, p.Keep)
	if p.Keep == 0 {
		i.keep[p.Source] = defaultKeep
	}
	delete(i.state.Pins, p.Source)
	delete(i.bad, p.Source)
	i.resolve()
}

// make builds a generation and puts it into the store. None without an error
// says that nothing was good.
func (a *Analytics) make(ctx context.Context, s *store, p connectors.Publication) (*generation, wire.BuildReply, error) {
	p.Tables = slices.Clone(p.Tables) // they are the caller's
	before, lost := s.base(p)
	n, err := s.next()
	if err != nil {
		return nil, wire.BuildReply{}, full(err)
	}
	dir, err := s.stage(n)
	if err != nil {
		return nil, wire.BuildReply{}, full(err)
	}
	defer os.RemoveAll(dir)
	reply, err := a.buildIn(ctx, s, dir, n, p, before)
	reply.Problems = append(reply.Problems, lost...)
	if err != nil || reply.Manifest == nil || len(reply.Manifest.Tables) == 0 {
		return nil, reply, full(err)
	}
	m := reply.Manifest
	m.Version, m.Source, m.Generation = manifestVersion, p.Source, n
	m.Identity, m.Commit, m.At = p.Identity, p.Commit, p.At.UTC()
	if p.At.IsZero() {
		m.At = time.Now().UTC()
	}
	g, err := s.commit(dir, m, before)
	return g, reply, full(err)
}

// base is the generation that a publication builds on. When the changes that it
// has are of another one, their tables fail.
func (s *store) base(p connectors.Publication) (before *generation, problems []connectors.Problem) {
	if good := s.good(); len(good) > 0 {
		before = good[0]
	}
	if p.Base == 0 || before != nil && before.number == p.Base {
		return before, nil
	}
	if g := s.get(p.Base); g != nil {
		return g, nil
	}
	for n := range p.Tables {
		t := &p.Tables[n]
		if t.Changes && t.Outcome != connectors.Failed {
			t.Outcome, t.Error = connectors.Failed, fmt.Sprintf("generation %d, which these are changes of, is not there any more", p.Base)
			t.Hint = "the next run has to read the table as a whole"
			problems = append(problems, connectors.Problem{Code: BaseLost, Table: t.Table, Found: t.Error, Hint: t.Hint})
		}
	}
	return before, problems
}

// Base is the generation that the next publication builds on if it names none; 0:
// there is none. A run of changes whose state is of another one has to be one of
// everything.
func (a *Analytics) Base(instance, source string) (int, error) {
	_, s, err := a.source(instance, source)
	if err != nil {
		return 0, err
	}
	if good := s.good(); len(good) > 0 {
		return good[0].number, nil
	}
	return 0, nil
}

func (a *Analytics) buildIn(ctx context.Context, s *store, dir string, n int, p connectors.Publication, before *generation) (wire.BuildReply, error) {
	ctx, cancel := context.WithTimeout(ctx, a.o.BuildTimeout)
	defer cancel()
	ctx, done := leaveRoom(ctx, s.dir, a.o.MinFree)
	defer done()
	own := filepath.Join(s.dir, fmt.Sprintf("%schild-%d", tmpPrefix, n))
	limits := a.o.BuildLimits
	limits.TempDir = own
	request := wire.BuildRequest{From: p, To: dir, Limits: limits, Remote: a.o.Remote}
	if before != nil {
		request.Before, request.BeforeDir = before.manifest, before.dir
	}
	s.at("build")
	var reply wire.BuildReply
	var err error
	if a.o.build != nil {
		reply, err = a.o.build(ctx, request)
	} else {
		err = a.once(ctx, wire.Build, own, a.o.BuildData, request, &reply)
		a.tellUnconfined(wire.Build, reply.Unconfined)
	}
	if err == nil && reply.Error != "" {
		err = errors.New(reply.Error)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = connectors.WithHint(fmt.Errorf("the build took longer than %s: %w", a.o.BuildTimeout, err), "extract less at once, or in partitions")
	}
	return reply, err
}

// full says what to do about a disk that is full.
func full(err error) error {
	disk := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) || errors.Is(err, errRoom)
	if disk || err != nil && strings.Contains(err.Error(), "No space left on device") { // as a child says it
		return connectors.WithHint(err, "make room on the disk of the data directory; the generation before stays attached")
	}
	return err
}
