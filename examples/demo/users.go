package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/examples/load"
	"github.com/fairlead/fairlead/reconciler"
)

// perSecond is how many requests the users of the application make, unless -rate says otherwise.
const perSecond = 200

// users are those who use the application all the while: a steady stream of requests over TLS to the front. A request
// that fails fails the demo.
type users struct {
	run  *load.Run
	stop context.CancelFunc // gives up what is in flight

	mu   sync.Mutex
	seen map[string]int // answers since the last mark, by the version that gave them
	ever map[string]bool
}

// patience is how long a user waits at most: longer than the front holds a request, so that it is the front which refuses.
const patience = 90 * time.Second

// come starts the stream. Nobody is there before the first containers are.
func come(ctx context.Context, d *demo) error {
	ctx, stop := context.WithCancel(ctx)
	u := &users{stop: stop, seen: map[string]int{}, ever: map[string]bool{}}
	run, err := load.Start(ctx, load.Options{URL: d.url("/version"), Address: d.front(), Rate: d.rate,
		Insecure: true, // the certificate is self-signed
		Timeout:  patience, Check: u.look})
	if err != nil {
		stop()
		return err
	}
	u.run, d.users = run, u
	d.out.prose("From here on, %d requests a second go to %s, and each of them has to be answered.", d.rate, d.url("/version"))
	return nil
}

// look counts which version answers.
func (u *users) look(_ int, _ http.Header, body []byte) error {
	version := strings.TrimSpace(string(body))
	if !strings.HasPrefix(version, "2026.") {
		return fmt.Errorf("the answer is %q, which is no version", short(version))
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen[version]++
	u.ever[version] = true
	return nil
}

// leave ends the stream; it may be called when there is none. What is in flight is given up.
func (u *users) leave() {
	if u != nil {
		u.stop()
		u.run.Stop()
	}
}

// markUsers prints what became of the requests of a step. A failed one is an error.
func (d *demo) markUsers() error {
	if d.users == nil {
		return nil
	}
	r := d.users.run.Mark()
	d.users.mu.Lock()
	seen := d.users.seen
	d.users.seen = map[string]int{}
	d.users.mu.Unlock()
	d.out.block("load", []string{loadLine(r) + answeredBy(seen)})
	return failedRequests(r)
}

// userTotal ends the stream in order and prints what became of all requests.
func (d *demo) userTotal() error {
	r := d.users.run.Stop()
	d.out.prose("In %s, the users made %d requests over %d connections: %d failed, the longest wait was %s.",
		seconds(r.Took), r.Sent, r.Connections, r.Failed, rounded(r.Max))
	if r.OK == 0 {
		return fmt.Errorf("no request was answered: %s", r)
	}
	return failedRequests(r)
}

// failedRequests is nil also without any request: in a step of a moment, none may end.
func failedRequests(r load.Report) error {
	if r.Failed == 0 {
		return nil
	}
	return fmt.Errorf("requests failed: %s", r)
}

func loadLine(r load.Report) string {
	line := fmt.Sprintf("%d requests, %d failed, p50 %s, p99 %s, longest wait %s", r.Sent, r.Failed, rounded(r.P50), rounded(r.P99), rounded(r.Max))
	if r.Retried > 0 {
		line += fmt.Sprintf(", %d sent again", r.Retried)
	}
	return line
}

// answeredBy lists the versions that answered when there were several.
func answeredBy(seen map[string]int) string {
	if len(seen) < 2 {
		return ""
	}
	var parts []string
	for _, v := range slices.Sorted(maps.Keys(seen)) {
		parts = append(parts, fmt.Sprintf("%d by %s", seen[v], v))
	}
	return "; answered " + strings.Join(parts, ", ")
}

// rounded is a time as people say it.
func rounded(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.2fs", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%dms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1fms", float64(d.Microseconds())/1000)
}

// nobodySaw checks that no user was ever answered by a version.
func nobodySaw(version string) check {
	return check{"no user was ever answered by " + version, func(_ context.Context, d *demo) error {
		d.users.mu.Lock()
		defer d.users.mu.Unlock()
		if d.users.ever[version] {
			return errors.New("somebody was")
		}
		return nil
	}}
}

// gapsOf are the interruptions of what was applied since the step began.
func gapsOf(v view) (gaps []reconciler.Gap) {
	for _, r := range v.fresh {
		gaps = append(gaps, r.Gaps...)
	}
	return gaps
}

// requestsWaited checks that the front held requests while the only writer changed, and let down none of them.
var requestsWaited = check{"requests waited while the one writer made way for the next, and none was refused",
	func(_ context.Context, d *demo) error {
		held, refused := 0, 0
		for _, g := range gapsOf(d.view) {
			held, refused = held+g.Held, refused+g.Refused
		}
		if held == 0 || refused > 0 {
			return fmt.Errorf("the history says: %d held, %d refused", held, refused)
		}
		return nil
	}}

// nobodyWaited checks that there was somebody to take requests at any time.
var nobodyWaited = check{"no request had to wait: there was always a container to take it", func(_ context.Context, d *demo) error {
	if gaps := gapsOf(d.view); len(gaps) > 0 {
		return fmt.Errorf("the history tells of interruptions: %v", gaps)
	}
	return nil
}}

// host is the name that the front serves the app under. Names in localhost lead to this machine everywhere (RFC 6761).
func (p place) host() string { return p.name + ".localhost" }

func (d *demo) front() string { return net.JoinHostPort("127.0.0.1", d.port) }

func (d *demo) url(path string) string { return "https://" + net.JoinHostPort(d.host(), d.port) + path }

// browser asks the front on a connection of its own. The certificate is self-signed.
func (d *demo) browser() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: d.host(), MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, d.front())
		},
	}}
}
