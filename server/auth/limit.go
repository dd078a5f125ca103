package auth

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// rate is how often something may be done: so many times at once, and one more
// each so often.
type rate struct {
	burst int
	every time.Duration
}

// The rates. What succeeds does not count against the first two.
var (
	addressRate = rate{burst: 10, every: 6 * time.Second}
	accountRate = rate{burst: 10, every: 30 * time.Second}
	codeRate    = rate{burst: 5, every: 20 * time.Second}
	refusalRate = rate{burst: 60, every: 10 * time.Second}
	ownRate     = rate{burst: 200, every: 10 * time.Second} // the audit log lasts eleven days of it
)

// maxThrottled bounds the memory of a throttle; whom it forgets begins anew.
const maxThrottled = 4096

// throttle counts by key, in buckets that fill up again with time. It forgets
// who was not seen for longest.
type throttle struct {
	rate
	mu    sync.Mutex
	order *list.List // of *drip, the one seen last in front
	keys  map[string]*list.Element
}

type drip struct {
	key  string
	left float64
	at   time.Time
	told bool // that nothing was left
}

func newThrottle(r rate) *throttle {
	return &throttle{rate: r, order: list.New(), keys: map[string]*list.Element{}}
}

// drip finds a key's bucket, filled up to now.
func (t *throttle) drip(key string, now time.Time) *drip {
	e, known := t.keys[key]
	if !known {
		if t.order.Len() >= maxThrottled {
			last := t.order.Back()
			delete(t.keys, last.Value.(*drip).key)
			t.order.Remove(last)
		}
		e = t.order.PushFront(&drip{key: key, left: float64(t.burst), at: now})
		t.keys[key] = e
	}
	t.order.MoveToFront(e)
	d := e.Value.(*drip)
	d.left = min(float64(t.burst), d.left+float64(now.Sub(d.at))/float64(t.every))
	d.at = now
	return d
}

// take counts one. Where nothing is left it says when there will be, and
// whether it says so for the first time since there was.
func (t *throttle) take(key string) (wait time.Duration, first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.drip(key, time.Now())
	if d.left >= 1 {
		d.left, d.told = d.left-1, false
		return 0, false
	}
	first, d.told = !d.told, true
	return time.Duration((1 - d.left) * float64(t.every)), first
}

// give takes one back that does not count.
func (t *throttle) give(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.drip(key, time.Now())
	d.left = min(float64(t.burst), d.left+1)
}

// Busy refuses who signs in, or changes their own account, so often that nothing
// else would be left in the audit log. Administrators answer for themselves.
func (s *Store) Busy(who Caller) error {
	if who.ID == "" || who.Role.Allows(RoleAdmin) {
		return nil
	}
	wait, _ := s.own.take(who.ID)
	if wait == 0 {
		return nil
	}
	return &Refusal{Kind: TooMany, Detail: "you sign in, or change your account, too often", Hint: "sign in once and keep the token: it lasts for a day, and one of POST /api/tokens for longer", RetryAfter: wait}
}

// Network is whom an address is counted as: IPv6 gives a customer a /64 at least.
func Network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() && !a.IsLoopback() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // of what is no address, it is none
	return p
}

// block is Network as a text; "host" for who came by no network.
func block(a netip.Addr) string {
	switch p := Network(a); {
	case !p.IsValid():
		return "host"
	case p.IsSingleIP():
		return p.Addr().String()
	default:
		return p.String()
	}
}

// blockOf is block of an address that was written down.
func blockOf(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return block(netip.Addr{})
	}
	return block(a)
}
