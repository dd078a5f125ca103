package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// How readiness is found out.
const (
	canaryEvery  = 30 * time.Second
	canaryFresh  = 5 * time.Second  // for whoever asks; no more is tried than that often
	canaryLimit  = 20 * time.Second // of one try
	canaryTrips  = 3                // failures in a row after which the daemon is not ready
	canaryBack   = 2                // successes in a row after which it is again
	checkWrite   = "write"
	checkQuery   = "query"
	canaryUser   = "the daemon's own check"
	canaryString = "SELECT 1"
)

// Readiness says whether the daemon can do its work: a write to its store, and
// a query where an instance has data.
type Readiness struct {
	Status       string    `json:"status" enum:"ready,not_ready"`
	FailedChecks []string  `json:"failed_checks" doc:"of the last try: write, query"`
	Ready        bool      `json:"canary_ready"`
	Failures     int       `json:"consecutive_failures"`
	Last         time.Time `json:"last_canary_at,omitzero"`
	// Queried says that there was data to ask.
	Queried bool `json:"queried" doc:"whether any instance has data to ask"`
}

// canary tries what the daemon is for, and remembers how that went. A health
// that is read from memory would say that all is well on a full disk.
type canary struct {
	write func(context.Context) error // nil: there is no store
	query func(context.Context) (bool, error)

	try sync.Mutex // is held during a try

	mu        sync.Mutex
	state     Readiness
	successes int
	errs      map[string]error // of the last try
	hanging   atomic.Bool      // a write that nothing came of
}

func newCanary(a *API) *canary {
	return &canary{write: a.cfg.Write, query: a.askAll}
}

// run tries until ctx ends.
func (c *canary) run(ctx context.Context) {
	ticker := time.NewTicker(canaryEvery)
	defer ticker.Stop()
	for {
		c.fresh(ctx, canaryEvery/2)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// fresh returns how ready the daemon is, from a try that is not older than age.
// Those who ask meanwhile share one.
func (c *canary) fresh(ctx context.Context, age time.Duration) Readiness {
	c.try.Lock()
	defer c.try.Unlock()
	if last := c.now().Last; last.IsZero() || time.Since(last) >= age {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), canaryLimit)
		defer cancel()
		c.attempt(ctx)
	}
	return c.now()
}

func (c *canary) now() Readiness {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

func (c *canary) attempt(ctx context.Context) {
	errs := map[string]error{}
	if c.write != nil {
		errs[checkWrite] = c.written(ctx)
	}
	queried, err := c.query(ctx)
	errs[checkQuery] = err
	c.note(errs, queried)
}

// written writes. A disk that hangs lets no write end, and must not hold up
// those who ask.
func (c *canary) written(ctx context.Context) error {
	if !c.hanging.CompareAndSwap(false, true) {
		return errors.New("write: the write before hangs")
	}
	done := make(chan error, 1)
	go func() {
		defer c.hanging.Store(false)
		done <- c.write(ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("write: it hangs: %w", ctx.Err())
	}
}

// note counts what came of a try. The first one decides by itself.
func (c *canary) note(errs map[string]error, queried bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	failed := []string{}
	for _, check := range []string{checkWrite, checkQuery} {
		if errs[check] != nil {
			failed = append(failed, check)
		}
	}
	first := c.state.Last.IsZero()
	if len(failed) > 0 {
		c.successes, c.state.Failures = 0, c.state.Failures+1
	} else {
		c.successes, c.state.Failures = c.successes+1, 0
	}
	switch {
	case first:
		c.state.Ready = len(failed) == 0
	case c.state.Failures >= canaryTrips:
		c.state.Ready = false
	case c.successes >= canaryBack:
		c.state.Ready = true
	}
	c.state.Status = "not_ready"
	if c.state.Ready {
		c.state.Status = "ready"
	}
	c.state.FailedChecks, c.state.Last, c.state.Queried, c.errs = failed, time.Now().UTC(), queried, errs
}

// examine tells what failed, at once and not only when the daemon is not ready.
func (c *canary) examine(e *examiner) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.errs[checkWrite]; err != nil {
		e.find(healthStore, SeverityError, "the daemon cannot write what it has to remember", err.Error())
	}
	if err := c.errs[checkQuery]; err != nil {
		e.find(healthData, SeverityError, "data cannot be asked", err.Error())
	}
}

// askAll asks every instance that has data, and reports whether there was one.
// That there are too many queries is no failure: they are answered.
func (a *API) askAll(ctx context.Context) (asked bool, err error) {
	if a.cfg.Data == nil {
		return false, nil
	}
	for _, r := range a.cfg.Fleet.Instances() {
		tables, err := a.cfg.Data.Catalog(r.Name())
		if err != nil || len(tables) == 0 {
			continue // it has no data, or what is wrong with it is its connectors' matter
		}
		asked = true
		q := Query{SQL: canaryString, Limit: 1, Timeout: canaryLimit.Seconds(), Format: "json", User: canaryUser}
		_, err = a.cfg.Data.Query(ctx, r.Name(), q, func(QueryResult) error { return nil }, io.Discard)
		var e *Error
		if errors.As(err, &e) && (e.Status == http.StatusTooManyRequests || e.RetryAfter > 0) {
			continue
		}
		if err != nil {
			return asked, fmt.Errorf("ask the data of %s: %w", r.Name(), err)
		}
	}
	return asked, nil
}

// Ready tells whether the daemon can do its work, by trying it.
func (a *API) Ready(ctx context.Context) Readiness { return a.canary.fresh(ctx, canaryFresh) }
