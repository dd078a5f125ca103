package server

import (
	"context"
	"crypto/sha256"
	"net/http"
	"sync"
	"time"

	"github.com/fairlead/fairlead/server/hooks"
)

// hookState is what is remembered of webhooks.
type hookState struct {
	rates  *hookRates
	nudges *hookRates // of what services send to their connectors
	seen   *deliveries
	looks  *looks
}

func newHookState() *hookState {
	return &hookState{rates: newHookRates(), nudges: newHookRates(), seen: &deliveries{at: map[[32]byte]time.Time{}}, looks: &looks{running: map[string]*looking{}}}
}

// bucket is a token bucket.
type bucket struct {
	left float64
	at   time.Time
}

// pace is how much fits a bucket, and how long until one more does.
type pace struct {
	burst int
	every time.Duration
}

// wait is how long until there is one; it fills the bucket up to now.
func (p pace) wait(b *bucket, now time.Time) time.Duration {
	if b.at.IsZero() {
		b.left = float64(p.burst)
	} else {
		b.left = min(float64(p.burst), b.left+float64(now.Sub(b.at))/float64(p.every))
	}
	b.at = now
	if b.left >= 1 {
		return 0
	}
	return max(time.Duration((1-b.left)*float64(p.every)), time.Second)
}

// take takes one, if there is one.
func (p pace) take(b *bucket, now time.Time) time.Duration {
	wait := p.wait(b, now)
	if wait == 0 {
		b.left--
	}
	return wait
}

// The rates of webhooks. A push of a registry with many layers sends many at
// once; whoever does not know the secret has to guess slowly.
var (
	hookPace   = pace{30, 2 * time.Second}
	allPace    = pace{120, 250 * time.Millisecond}
	deniedPace = pace{10, 6 * time.Second}
)

// maxSenders bounds the addresses that are remembered.
const maxSenders = 4096

// hookRates count webhooks by address and in all.
type hookRates struct {
	mu     sync.Mutex
	all    bucket
	from   map[string]*bucket
	wrong  map[string]*bucket
	purged time.Time
}

func newHookRates() *hookRates {
	return &hookRates{from: map[string]*bucket{}, wrong: map[string]*bucket{}}
}

// take counts a request; it says how long to wait when there are too many.
func (h *hookRates) take(from string, now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.purge(now)
	if b := h.wrong[from]; b != nil { // only what is denied counts there
		if wait := deniedPace.wait(b, now); wait > 0 {
			return wait
		}
	}
	if wait := hookPace.take(find(h.from, from), now); wait > 0 {
		return wait
	}
	return allPace.take(&h.all, now)
}

// denied counts a sender who does not know the secret.
func (h *hookRates) denied(from string, now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return deniedPace.take(find(h.wrong, from), now)
}

func find(m map[string]*bucket, key string) *bucket {
	b := m[key]
	if b == nil {
		b = &bucket{}
		m[key] = b
	}
	return b
}

// purge forgets whose buckets are full again, and everybody when there are more
// than are remembered.
func (h *hookRates) purge(now time.Time) {
	if now.Sub(h.purged) < time.Minute && len(h.from)+len(h.wrong) < maxSenders {
		return
	}
	h.purged = now
	for _, m := range []map[string]*bucket{h.from, h.wrong} {
		for key, b := range m {
			if now.Sub(b.at) > 2*time.Minute || len(m) >= maxSenders {
				delete(m, key)
			}
		}
	}
}

// deliveries are those that were taken, so that none counts twice.
type deliveries struct {
	mu    sync.Mutex
	at    map[[32]byte]time.Time
	order [][32]byte
}

const (
	maxDeliveries  = 4096
	deliveriesLast = 24 * time.Hour
)

// before says whether a delivery was taken already: by its id, and by its
// signature, since an id is not signed. Without either each one counts.
func (d *deliveries) before(of hooks.Delivery, h http.Header, body []byte, now time.Time) bool {
	var keys [][32]byte
	if of.ID != "" {
		keys = append(keys, sha256.Sum256([]byte("id "+of.Provider+" "+of.ID)))
	}
	if signed := hooks.SignatureOf(of.Provider, h); signed != "" && len(body) > 0 {
		keys = append(keys, sha256.Sum256([]byte("signature "+signed)))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	again := false
	for _, key := range keys {
		at, known := d.at[key]
		if known && now.Sub(at) < deliveriesLast {
			again = true
			continue
		}
		if !known {
			d.order = append(d.order, key)
		}
		d.at[key] = now
	}
	for len(d.order) > maxDeliveries {
		delete(d.at, d.order[0])
		d.order = d.order[1:]
	}
	return again
}

// looks are what webhooks asked for: one of each kind runs, and at most one more
// follows it, however many ask.
type looks struct {
	mu      sync.Mutex
	running map[string]*looking
}

type looking struct{ next func() }

// lookTime bounds one look.
const lookTime = 2 * time.Minute

// begin does not wait. The request's values go with the look, its end does not.
func (l *looks) begin(ctx context.Context, key string, look func(context.Context) error, failed func(context.Context, error)) {
	ctx = context.WithoutCancel(ctx)
	run := func() {
		ctx, cancel := context.WithTimeout(ctx, lookTime)
		defer cancel()
		if err := look(ctx); err != nil {
			failed(ctx, err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.running[key]; now != nil {
		now.next = run
		return
	}
	now := &looking{next: run}
	l.running[key] = now
	go l.run(key, now)
}

func (l *looks) run(key string, now *looking) {
	for {
		l.mu.Lock()
		next := now.next
		now.next = nil
		if next == nil {
			delete(l.running, key)
		}
		l.mu.Unlock()
		if next == nil {
			return
		}
		next()
	}
}
