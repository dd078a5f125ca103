package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	perSecond   = 10 // requests to one host
	burst       = 20
	hostAtOnce  = 4
	maxBody     = 4 << 20 // the limit that the OCI distribution specification names for manifests
	maxHosts    = 256
	tlsLasts    = 15 * time.Minute
	maxRedirect = 3
)

// HostStatus is how a registry host does.
type HostStatus struct {
	Host         string    `json:"host"`
	LastSuccess  time.Time `json:"last_success,omitzero"`
	FailingSince time.Time `json:"failing_since,omitzero"`
	Err          string    `json:"error,omitempty"`
	PausedUntil  time.Time `json:"paused_until,omitzero"` // not asked before, as it limits or cannot be reached
	Requests     int64     `json:"requests"`              // of any kind: also logins and lists of tags
	Questions    int64     `json:"questions"`             // what a tag means
	Limited      int64     `json:"limited"`               // how often it said to ask less
}

// host is what is kept of one registry host, or one that it redirects to.
type host struct {
	name    string
	limiter *rate.Limiter
	slots   chan struct{}

	mu      sync.Mutex
	status  HostStatus
	limited time.Time // until when it said not to ask
	limits  int       // how often in a row
	away    time.Time // until when it is left alone because it did not answer
	fails   int
	used    time.Time

	heads    bool      // HEAD of a manifest was answered once
	noHeads  time.Time // until when GET is asked in its place
	doubtful time.Time // until when a 404 to HEAD is not doubted again

	transport http.RoundTripper
	made      time.Time
}

type hosts struct {
	mu  sync.Mutex
	all map[string]*host
}

func (hs *hosts) get(name string) *host {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if h, ok := hs.all[name]; ok {
		return h
	}
	if hs.all == nil {
		hs.all = map[string]*host{}
	}
	if len(hs.all) >= maxHosts { // redirects name hosts as they please
		hs.dropOldest()
	}
	h := &host{name: name, limiter: rate.NewLimiter(perSecond, burst), slots: make(chan struct{}, hostAtOnce), status: HostStatus{Host: name}}
	hs.all[name] = h
	return h
}

func (hs *hosts) dropOldest() {
	var oldest *host
	var at time.Time
	for _, h := range hs.all {
		h.mu.Lock()
		if oldest == nil || h.used.Before(at) {
			oldest, at = h, h.used
		}
		h.mu.Unlock()
	}
	delete(hs.all, oldest.name)
}

// Status says how each registry host does, by name.
func (c *Client) Status() []HostStatus {
	c.hosts.mu.Lock()
	defer c.hosts.mu.Unlock()
	all := []HostStatus{}
	for _, h := range c.hosts.all {
		h.mu.Lock()
		s := h.status
		if until := later(h.limited, h.away); until.After(time.Now()) {
			s.PausedUntil = until
		}
		h.mu.Unlock()
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b HostStatus) int { return strings.Compare(a.Host, b.Host) })
	return all
}

// blocked says why the host is not asked now; nil when it may be.
func (h *host) blocked(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	switch {
	case h.limited.After(now):
		return &failure{kind: kindLimited, until: h.limited,
			text: fmt.Sprintf("%s limits how often it is asked; it is asked again at %s", h.name, h.limited.UTC().Format(time.TimeOnly+"Z"))}
	case h.away.After(now) && !isFresh(ctx):
		return &failure{kind: kindUnreachable, text: h.status.Err, until: h.away}
	}
	return nil
}

// settle notes how a question to the host ended.
func (h *host) settle(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	k, failed := kindOf(err)
	switch {
	case k == kindLocal && failed:
		return // it was not asked
	case !failed || k == kindMissing:
		h.status.LastSuccess, h.status.FailingSince, h.status.Err = now, time.Time{}, ""
		h.fails, h.away = 0, time.Time{}
		return
	}
	if h.status.FailingSince.IsZero() {
		h.status.FailingSince = now
	}
	h.status.Err = err.Error()
	if k == kindUnreachable && !h.away.After(now) {
		h.fails++
		h.away = now.Add(backoff(h.fails))
	}
	var f *failure
	if errors.As(err, &f) && k == kindUnreachable {
		f.until = h.away
	}
}

const (
	headlessFor = 24 * time.Hour // then HEAD is tried again
	doubtEvery  = time.Hour
)

// headless reports whether HEAD is not worth a try.
func (h *host) headless(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.noHeads.After(now)
}

// answersHead notes that HEAD works.
func (h *host) answersHead() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heads, h.noHeads = true, time.Time{}
}

// lacksHead notes that it does not.
func (h *host) lacksHead(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heads, h.noHeads = false, now.Add(headlessFor)
}

// mayLackHead reports whether a 404 to HEAD is to be looked at closely: once an
// hour, and never of a host that answered HEAD before.
func (h *host) mayLackHead(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.heads || h.doubtful.After(now) {
		return false
	}
	h.doubtful = now.Add(doubtEvery)
	return true
}

// gate is the way of every request: it keeps to what the host allows, and reads
// the whole of a bounded answer.
type gate struct{ c *Client }

func (g gate) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && !g.c.plainAllowed(req.URL.Host) {
		return nil, local("ask %s: it is not asked by plain HTTP, which anybody on the way can change", req.URL.Host)
	}
	h := g.c.hosts.get(req.URL.Host)
	if err := h.blocked(withFresh(req.Context(), true)); err != nil {
		return nil, err
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	if err := h.limiter.Wait(req.Context()); err != nil {
		return nil, fmt.Errorf("wait for a turn: %w", errors.Join(err, context.DeadlineExceeded))
	}
	if err := h.blocked(withFresh(req.Context(), true)); err != nil { // another one found out meanwhile
		return nil, err
	}
	via, err := g.c.transportOf(h)
	if err != nil {
		return nil, err
	}
	return h.send(via, req)
}

func (h *host) send(via http.RoundTripper, req *http.Request) (*http.Response, error) {
	h.mu.Lock()
	h.status.Requests++
	h.used = time.Now()
	h.mu.Unlock()
	resp, err := via.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	err = errors.Join(err, resp.Body.Close())
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if d := pause(resp.StatusCode, resp.Header.Get("Retry-After"), h.limits, now); d > 0 {
		h.limits++
		h.status.Limited++
		h.limited = now.Add(d)
	} else if resp.StatusCode < 500 && !h.limited.After(now) {
		h.limits = 0
	}
	switch {
	case err != nil:
		return nil, err
	case len(body) > maxBody:
		return nil, broken("%s answers with more than %d MiB", h.name, maxBody>>20)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// plainAllowed reports whether a host may be asked by plain HTTP.
func (c *Client) plainAllowed(hostPort string) bool {
	return isLoopback(hostPort) || slices.Contains(c.opts.Insecure, hostPort)
}

func isLoopback(hostPort string) bool {
	h := hostOnly(hostPort)
	ip := net.ParseIP(h)
	return h == "localhost" || (ip != nil && ip.IsLoopback())
}

func hostOnly(hostPort string) string {
	if h, _, err := net.SplitHostPort(hostPort); err == nil {
		return h
	}
	return strings.Trim(hostPort, "[]")
}

// redirect follows a few, never from TLS to plain HTTP, and never into the
// machine or its network's metadata. Credentials are added further down, for
// the registry's own host only.
func redirect(req *http.Request, via []*http.Request) error {
	from, to := via[0].URL, req.URL
	ip := net.ParseIP(hostOnly(to.Host))
	switch {
	case len(via) > maxRedirect:
		return broken("%s redirects more than %d times", from.Host, maxRedirect)
	case via[len(via)-1].URL.Scheme == "https" && to.Scheme != "https":
		return broken("%s redirects to plain HTTP", from.Host)
	case isLoopback(to.Host) && !isLoopback(from.Host), ip != nil && ip.IsLinkLocalUnicast():
		return broken("%s redirects to %s, where nothing is fetched from", from.Host, to.Host)
	}
	return nil
}
