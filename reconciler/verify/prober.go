package verify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// The bounds of what is read and of the pauses between tries.
const (
	maxBody     = 1 << 20
	healthTry   = 5 * time.Second
	busyTry     = 10 * time.Second
	healthFirst = 50 * time.Millisecond
	healthLast  = 250 * time.Millisecond // requests may be held meanwhile
	retryFirst  = 250 * time.Millisecond
	retryLast   = 5 * time.Second
	smokePhase  = "smoke"
	healthPhase = "health"
	agent       = "fairlead-verify"
)

// Options say how an application is asked. The zero value is ready for use.
type Options struct {
	// TLS is for https addresses; nil: the host's roots.
	TLS *tls.Config
	// Secret is the value of ${secret:NAME} in a step; nil: there are none.
	Secret func(name string) (string, bool)
	// Timeout bounds one try of a step that has no timeout of its own.
	Timeout time.Duration
	// Retries is how often a step without retries of its own is tried again
	// after a fault of the infrastructure; negative: never.
	Retries int
}

// Prober implements reconciler.Prober. It may be used by several goroutines.
type Prober struct {
	client  *http.Client
	secret  func(string) (string, bool)
	timeout time.Duration
	retries int
}

var _ reconciler.Prober = (*Prober)(nil)

// New returns a Prober, without I/O. It keeps no connection and no cookie,
// follows no redirect, and takes no proxy from the environment: what is asked
// is the address that was given and none else.
func New(o Options) *Prober {
	p := &Prober{secret: o.Secret, timeout: o.Timeout, retries: o.Retries}
	if p.secret == nil {
		p.secret = func(string) (string, bool) { return "", false }
	}
	if p.timeout <= 0 {
		p.timeout = desired.DefaultStepTimeout
	}
	switch {
	case p.retries == 0:
		p.retries = desired.DefaultStepRetries
	case p.retries < 0:
		p.retries = 0
	}
	p.client = &http.Client{
		// A connection that was used before may end under a request; a new one
		// for each says for certain whether anything was sent.
		Transport: &http.Transport{
			DisableKeepAlives: true, DisableCompression: true, ForceAttemptHTTP2: true,
			TLSClientConfig: o.TLS, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p
}

// Health implements reconciler.Prober: it asks until the answer is 2xx or 3xx.
// When the time of ctx is over first, the error is a *NotReady with the last
// answer; when ctx is cancelled, it is the cause of that.
func (p *Prober) Health(ctx context.Context, base string, check desired.HTTPCheck) error {
	if check.Path == "" {
		return nil
	}
	last := "it was not asked"
	for pause := healthFirst; ; pause = min(pause*3/2, healthLast) {
		got, err := p.ask(ctx, base+check.Path, healthTry)
		switch {
		case err == nil && got.status >= 200 && got.status < 400:
			return nil
		case err == nil:
			last = "answered " + got.describe(newMask())
		case ctx.Err() == nil:
			last = faultText(err)
		}
		if sleep(ctx, pause) {
			continue
		}
		if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
			return cause
		}
		return &reconciler.NotReady{Container: check.Service, Phase: healthPhase,
			Reason: fmt.Sprintf("GET %s%s: %s", base, check.Path, last)}
	}
}

// Busy implements reconciler.Prober.
func (p *Prober) Busy(ctx context.Context, base string, check desired.BusyCheck) (bool, error) {
	got, err := p.ask(ctx, base+check.Path, busyTry)
	if err != nil {
		return false, fmt.Errorf("ask whether %s is busy: %s", check.Service, faultText(err))
	}
	if got.status < 200 || got.status > 299 {
		return false, fmt.Errorf("ask whether %s is busy: GET %s answered %s", check.Service, check.Path, got.describe(newMask()))
	}
	doc, err := got.json()
	if err != nil {
		return false, fmt.Errorf("ask whether %s is busy: GET %s: %w", check.Service, check.Path, err)
	}
	value, there := lookup(doc, check.Field)
	busy, isBool := value.(bool)
	if !there || !isBool {
		return false, fmt.Errorf("ask whether %s is busy: GET %s: field %s is %s, not true or false",
			check.Service, check.Path, check.Field, newMask().show(value, there))
	}
	return busy, nil
}

// ask makes one GET.
func (p *Prober) ask(ctx context.Context, url string, limit time.Duration) (answer, error) {
	return p.send(ctx, request{method: http.MethodGet, url: url, header: http.Header{}}, limit)
}

// sleep reports whether ctx lasted for d, give or take a fifth of it.
func sleep(ctx context.Context, d time.Duration) bool {
	if d > 0 {
		d += time.Duration((rand.Float64() - 0.5) * 0.4 * float64(d))
	}
	return wait(ctx, d)
}

// wait reports whether ctx lasted for d.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
