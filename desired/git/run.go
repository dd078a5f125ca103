package git

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	// firstRetry and maxRetry bound the wait after failures.
	firstRetry = 5 * time.Second
	maxRetry   = 10 * time.Minute
	// blindPoll is how often a local repository is looked at when it cannot be watched.
	blindPoll = 2 * time.Second
)

// Run follows the repository until ctx ends, and then returns nil: it polls
// with jitter, waits longer after each failure, and watches a local repository
// so that a commit is seen at once. What goes wrong is in Status.
func (r *Repo) Run(ctx context.Context) error {
	defer func() { _ = r.Close() }()
	var w *watcher
	if r.Status().Local {
		w = newWatcher(r.opt.Log)
		defer w.stop()
	}
	failures := 0
	for ctx.Err() == nil {
		if err := r.follow(ctx, w); err != nil {
			failures++
		} else {
			failures = 0
		}
		timer := time.NewTimer(jitter(r.delay(failures, w)))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-w.hints():
		case <-r.kick:
		}
		timer.Stop()
	}
	return nil
}

// follow syncs, and makes sure that the watch covers what there is to watch. A
// change between the look and a new watch would be missed, so it looks again.
func (r *Repo) follow(ctx context.Context, w *watcher) error {
	err := r.Sync(ctx)
	if w == nil {
		return err
	}
	g, missing := findGitDir(r.to.path)
	if missing == nil && w.cover(g) {
		err = r.Sync(ctx)
	}
	return err
}

func (r *Repo) delay(failures int, w *watcher) time.Duration {
	d := backoff(r.opt.Poll, failures)
	if failures == 0 && w != nil && w.blind() {
		d = min(d, blindPoll)
	}
	return d
}

// backoff is the wait after so many failures in a row: soon at first, since
// most are short, then doubling.
func backoff(poll time.Duration, failures int) time.Duration {
	if failures == 0 {
		return poll
	}
	d := min(poll, firstRetry)
	for range failures - 1 {
		if d *= 2; d >= maxRetry {
			return maxRetry
		}
	}
	return d
}

// jitter spreads hosts that started together: ±10 %.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()*0.2-0.1)*float64(d)) //nolint:gosec // nothing depends on its being unpredictable
}
