package analytics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// Query is a question of a user. Zero values stand for the defaults of Options,
// and nothing goes beyond those.
type Query struct {
	SQL      string
	User     string // whose turn it is; queries without one share a turn
	Format   wire.Format
	Limit    int64 // rows
	Offset   int64
	MaxBytes int64         // of the result
	Deadline time.Duration // of the query itself, without the time it waits
}

// Result is what a query gave, beside its rows.
type Result struct {
	Columns   []connectors.Column
	Rows      int64
	Bytes     int64
	Truncated bool // there are more rows
	Took      time.Duration
	Waited    time.Duration // for a worker
}

// ResultWriter is an io.Writer that wants to know of a result before its first
// byte.
type ResultWriter interface {
	io.Writer
	Begin(Result) error
}

// Query runs one statement and writes its rows. An error of the statement is a
// *wire.Error, one of the queue an ErrBusy; in either case nothing was written,
// since a result is kept until it is whole. That also keeps a reader who is slow
// from holding a worker.
func (a *Analytics) Query(ctx context.Context, instance string, q Query, w io.Writer) (Result, error) {
	i, err := a.instance(instance)
	if err != nil {
		return Result{}, err
	}
	ctx, cancel := a.both(ctx)
	defer cancel()
	if strings.Contains(fold(q.SQL), systemSchema) {
		i.refreshSystem()
	}
	s := &spool{dir: i.path(analyticsDir, childrenDir)}
	defer s.close()
	res, err := i.answer(ctx, a.wireQuery(q), q.User, s)
	if err != nil {
		return Result{}, err
	}
	if rw, ok := w.(ResultWriter); ok {
		if err := rw.Begin(res); err != nil {
			return res, fmt.Errorf("write result: %w", err)
		}
	}
	if err := s.copyTo(w); err != nil {
		return res, fmt.Errorf("write result: %w", err)
	}
	return res, nil
}

func (a *Analytics) wireQuery(q Query) wire.Query {
	bound := func(asked, most int64) int64 {
		if asked <= 0 {
			return most
		}
		return min(asked, most)
	}
	set(&q.Format, wire.FormatJSON)
	return wire.Query{SQL: q.SQL, Format: q.Format, Offset: max(0, q.Offset), MaxRows: bound(q.Limit, a.o.MaxRows),
		MaxBytes: bound(q.MaxBytes, a.o.MaxBytes), Deadline: time.Duration(bound(int64(q.Deadline), int64(a.o.Deadline)))}
}

// soonKilled bounds the time in which a worker that somebody else kills counts as
// one that had not begun. Later it may be the kernel, for the memory of the query.
const soonKilled = 2 * time.Second

// answer asks workers until one answers. Another one is asked when the first was
// gone before it began, or was killed by somebody else, or when what it had was
// damaged and something good is attached instead.
func (i *instance) answer(ctx context.Context, q wire.Query, user string, s *spool) (res Result, err error) {
	for range 4 {
		s.reset()
		var w *worker
		since, before := time.Now(), i.damages.Load()
		if w, err = i.acquire(ctx, user); err != nil {
			return Result{}, err
		}
		res.Waited += time.Since(since)
		if err = i.update(w); err == nil {
			err = w.query(ctx, q, s, &res)
		} else {
			err = errGone{err.Error(), true}
		}
		i.release(w, time.Since(since))
		var gone errGone
		var said *wire.Error
		switch {
		case err == nil:
			return res, nil
		case ctx.Err() != nil:
			return Result{}, fmt.Errorf("query: %w", context.Cause(ctx))
		case errors.As(err, &gone) && gone.unheard:
		case errors.As(err, &said) && said.Code != wire.CodeFatal && said.Code != wire.CodeFailed && said.Code != wire.CodeNotFound:
			return Result{}, err
		case !i.inspect(false) && i.damages.Load() == before:
			return Result{}, asError(err)
		}
	}
	return Result{}, asError(err)
}

// asError is an error as those who ask are told of it.
func asError(err error) error {
	var gone errGone
	if errors.As(err, &gone) {
		return &wire.Error{Code: wire.CodeFatal, Message: gone.Error(), Hint: "another worker takes its place; if the same query ends that one too, ask for less at once"}
	}
	return err
}

// acquire waits for a worker.
func (p *pool) acquire(ctx context.Context, user string) (*worker, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.i.a.o.MaxWait, errWaited)
	defer cancel()
	t := &ticket{user: user, worker: make(chan *worker, 1), failed: make(chan error, 1)}
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	if !p.queue.join(t) {
		defer p.mu.Unlock()
		return nil, p.busy()
	}
	p.dispatch()
	p.mu.Unlock()
	select {
	case w := <-t.worker:
		return w, nil
	case err := <-t.failed:
		return nil, fmt.Errorf("query: %w", err)
	case <-ctx.Done():
		return nil, p.giveUp(ctx, t)
	}
}

var errWaited = errors.New("no query worker was free in time")

// giveUp leaves the queue, or gives back the worker that came at that moment.
func (p *pool) giveUp(ctx context.Context, t *ticket) error {
	p.mu.Lock()
	left := p.queue.leave(t)
	busy := p.busy()
	p.mu.Unlock()
	if !left {
		select {
		case w := <-t.worker:
			p.release(w, 0)
		case err := <-t.failed:
			return fmt.Errorf("query: %w", err)
		}
	}
	if errors.Is(context.Cause(ctx), errWaited) {
		return busy
	}
	return fmt.Errorf("query: %w", context.Cause(ctx))
}

// busy is what one is told who finds no place. The caller has the lock.
func (p *pool) busy() ErrBusy {
	wait := p.took * time.Duration(p.queue.length+1) / time.Duration(p.i.a.o.Workers)
	return ErrBusy{RetryAfter: max(time.Second, wait.Round(time.Second)), Waiting: p.queue.length}
}

// release gives a worker back after a query that took this long.
func (p *pool) release(w *worker, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue.done(w.user)
	p.took += (took - p.took) / 8
	p.rest(w)
	p.dispatch()
	p.warm()
}

// query has the worker run a statement, and keeps what it gives.
func (w *worker) query(ctx context.Context, q wire.Query, s *spool, res *Result) error {
	w.id++
	if err := w.send(wire.Request{ID: w.id, Query: &q}); err != nil {
		return err
	}
	begun := time.Now()
	_ = w.out.SetReadDeadline(begun.Add(q.Deadline + killAfter))
	stop := context.AfterFunc(ctx, func() { _ = w.out.SetReadDeadline(time.Now().Add(hangUpAfter)) })
	defer stop()
	err := w.collect(s, res)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &wire.Error{Code: wire.CodeDeadline, Message: fmt.Sprintf("the query took longer than %s and was ended", q.Deadline),
			Hint: "ask for less: filter by a partition or a date, or aggregate first"}
	case err != nil:
		// The pipe takes what is written to a worker that is dying, so whether it had
		// begun cannot be told. Nothing was given to anybody yet.
		var gone errGone
		if errors.As(err, &gone) && w.killedByOthers() {
			return errGone{gone.how, time.Since(begun) < soonKilled}
		}
		return err
	}
	return nil
}

// collect reads the answer to a query up to its end.
func (w *worker) collect(s *spool, res *Result) error {
	for {
		reply, data, err := w.receive()
		switch {
		case err != nil:
			return w.broken(err)
		case data != nil:
			if err := s.write(data); err != nil {
				w.kill() // the rest of the result would have to be read
				return fmt.Errorf("keep result: %w", full(err))
			}
		case reply.ID != w.id:
			return w.broken(wire.ErrFrame)
		case reply.Error != nil:
			if reply.Error.Code == wire.CodeFatal {
				w.kill()
			}
			return reply.Error
		case reply.Head != nil:
			res.Columns = reply.Head.Columns
		case reply.Tail != nil:
			res.Rows, res.Bytes, res.Truncated, res.Took = reply.Tail.Rows, reply.Tail.Bytes, reply.Tail.Truncated, reply.Tail.Took
			return nil
		default:
			return w.broken(wire.ErrFrame)
		}
	}
}

// Profile tells what is in a column, as JSON.
func (a *Analytics) Profile(ctx context.Context, instance, user, source, table, column string) (json.RawMessage, error) {
	i, err := a.instance(instance)
	if err != nil {
		return nil, err
	}
	ctx, cancel := a.both(ctx)
	defer cancel()
	for range 2 {
		var w *worker
		if w, err = i.acquire(ctx, user); err != nil {
			return nil, err
		}
		var reply wire.Reply
		since := time.Now()
		if err = i.update(w); err == nil {
			w.id++
			stop := context.AfterFunc(ctx, w.kill)
			reply, err = w.ask(a.o.Deadline, wire.Request{ID: w.id, Profile: &wire.Profile{Source: source, Table: table, Column: column}}, w.id)
			stop()
		} else {
			err = errGone{err.Error(), true}
		}
		i.release(w, time.Since(since))
		var gone errGone
		if err == nil {
			return reply.Profile, nil
		}
		if !errors.As(err, &gone) || !gone.unheard {
			break
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = &wire.Error{Code: wire.CodeDeadline, Message: fmt.Sprintf("the profile took longer than %s and was ended", a.o.Deadline)}
	}
	return nil, asError(err)
}
