package pages

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

// listener reads a stream of events.
type listener struct {
	t      testing.TB
	resp   *http.Response
	cancel context.CancelFunc
	events chan [3]string // name, data and number; closed at the end
}

func (h *house) listen(role auth.Role, path string) *listener {
	h.t.Helper()
	return h.listenAfter(role, path, "")
}

// listenAfter comes back with the number of the last event, as browsers do.
func (h *house) listenAfter(role auth.Role, path, last string) *listener {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.web.URL+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := (&http.Client{Transport: roleTripper{role}}).Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	l := &listener{t: h.t, resp: resp, cancel: cancel, events: make(chan [3]string, 10_000)}
	go l.read()
	h.t.Cleanup(l.close)
	return l
}

func (l *listener) read() {
	defer close(l.events)
	in := bufio.NewReader(l.resp.Body)
	var name, id string
	var data []string
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		switch key {
		case "id":
			id = strings.TrimSpace(value)
		case "event":
			name = strings.TrimSpace(value)
		case "data":
			data = append(data, strings.TrimPrefix(value, " "))
		case "":
			if name != "" {
				l.events <- [3]string{name, strings.Join(data, "\n"), id}
			}
			name, id, data = "", "", nil
		}
	}
}

func (l *listener) close() {
	l.cancel()
	_ = l.resp.Body.Close()
}

// next is the next event of a name.
func (l *listener) next(name string) string {
	l.t.Helper()
	late := time.After(limit)
	for {
		select {
		case e, open := <-l.events:
			if !open {
				l.t.Fatalf("the stream ended before %s", name)
			}
			if e[0] == name {
				return e[1]
			}
		case <-late:
			l.t.Fatalf("no %s came", name)
		}
	}
}

// quick makes the hub look often, before it looks for the first time.
func (h *house) quick() {
	h.site.hub.every, h.site.hub.stays = 20*time.Millisecond, 200*time.Millisecond
}

func TestTheStreamSaysWhenSomethingIsNew(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.quick()
	h.commit(map[string]*wish{"acme": {Tag: "2026.11.1"}, "globex": {Tag: "2026.11.1"}}, "One", "Ada")
	h.settle("acme", "globex")
	acme, other, all := h.listen(auth.RoleViewer, "/live?topic=acme"), h.listen(auth.RoleViewer, "/live?topic=globex"), h.listen(auth.RoleViewer, "/live?topic=*")
	first, quiet, whole := acme.next("version"), other.next("version"), all.next("version")
	if page := h.get(auth.RoleViewer, "/instances/acme").body; !strings.Contains(page, `data-version="`+first+`"`) {
		t.Errorf("the page has another version than %s", first)
	}
	if _, err := h.api.Suspend(t.Context(), "acme", server.SuspendRequest{Reason: "x", By: "Ada"}); err != nil {
		t.Fatal(err)
	}
	if acme.next("version") == first || all.next("version") == whole {
		t.Error("the version is the old one")
	}
	select {
	case e := <-other.events:
		t.Errorf("another instance is new: %v, was %s", e, quiet)
	default:
	}
	h.progress.For("globex")("app:2", 10, 100)
	if other.next("version") == quiet {
		t.Error("a pull is nothing new")
	}
}

// However much happens, readers are told once in a while, and each reader that
// is slow costs nobody anything.
func TestEventsAreCoalesced(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.site.hub.every = 200 * time.Millisecond
	h.commit(map[string]*wish{"acme": {Tag: "2026.11.1"}}, "One", "Ada")
	h.settle("acme")
	l := h.listen(auth.RoleViewer, "/live?topic=acme")
	l.next("version")
	began := time.Now()
	for i := range 2000 {
		h.progress.For("acme")("app:2", int64(i), 2000)
	}
	for range 50 {
		if err := h.events.Report("acme", "Happened", "again"); err != nil {
			t.Fatal(err)
		}
	}
	l.next("version")
	ticks := int(time.Since(began)/h.site.hub.every) + 2
	time.AfterFunc(2*h.site.hub.every, l.close)
	told := 1
	for range l.events {
		told++
	}
	if told > ticks+3 {
		t.Errorf("%d versions in %d looks", told, ticks)
	}
}

func TestTheHubRestsWithoutReaders(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.quick()
	l := h.listen(auth.RoleViewer, "/live?topic=*")
	l.next("version")
	l.close()
	hub := h.site.hub
	rests := func() bool {
		hub.mu.Lock()
		defer hub.mu.Unlock()
		return hub.ending == nil && len(hub.readers) == 0
	}
	h.until(rests)
	again := h.listen(auth.RoleViewer, "/live?topic=*")
	again.next("version")
	h.commit(map[string]*wish{"acme": {Tag: "2026.11.1"}}, "One", "Ada")
	h.settle("acme")
	again.next("version")
}

// until waits for something that comes by itself.
func (h *house) until(holds func() bool) {
	h.t.Helper()
	ticker, late := time.NewTicker(5*time.Millisecond), time.After(limit)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-ticker.C:
		case <-late:
			h.t.Fatal("waited too long")
		}
	}
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var list []*listener
	for range maxOfOne {
		l := h.listen(auth.RoleViewer, "/live?topic=*")
		l.next("version")
		list = append(list, l)
	}
	if a := h.get(auth.RoleViewer, "/live?topic=*"); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" {
		t.Errorf("one more: %d", a.status)
	}
	if l := h.listen(auth.RoleAdmin, "/live?topic=*"); l.resp.StatusCode != 200 {
		t.Errorf("of somebody else: %d", l.resp.StatusCode)
	}
	for _, l := range list {
		l.close()
	}
	h.until(func() bool {
		h.site.open.mu.Lock()
		defer h.site.open.mu.Unlock()
		return h.site.open.all == 1
	})
	if l := h.listen(auth.RoleViewer, "/live?topic=*"); l.resp.StatusCode != 200 {
		t.Errorf("after the others went: %d", l.resp.StatusCode)
	}
}

// A session that is ended ends its streams.
func TestStreamsEndWithTheSession(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.site.heartbeat = 10 * time.Millisecond
	var mu sync.Mutex
	valid := true
	h.site.opt.Valid = func(context.Context, auth.Caller) bool { mu.Lock(); defer mu.Unlock(); return valid }
	l := h.listen(auth.RoleViewer, "/live?topic=*")
	l.next("beat")
	mu.Lock()
	valid = false
	mu.Unlock()
	late := time.After(limit)
	for {
		select {
		case _, open := <-l.events:
			if !open {
				return
			}
		case <-late:
			t.Fatal("it goes on")
		}
	}
}

// Closing the site, as the end of the daemon does, ends what is open and leaves
// no goroutine.
func TestNothingIsLeftOfStreams(t *testing.T) {
	h := newHouse(t)
	h.quick()
	h.commit(map[string]*wish{"acme": {Tag: "2026.11.1"}}, "One", "Ada")
	h.settle("acme")
	h.get(auth.RoleViewer, "/instances/acme/live") // keeps the hub looking for a while
	for range 3 {
		h.listen(auth.RoleViewer, "/live?topic=*").next("version")
		h.listen(auth.RoleAdmin, "/instances/acme/logs/follow?service=app")
	}
	h.site.Close()
	h.until(func() bool {
		buf := make([]byte, 1<<20)
		stacks := string(buf[:runtime.Stack(buf, true)])
		return !strings.Contains(stacks, "pages.(*hub)") && !strings.Contains(stacks, "pages.(*Site).follow")
	})
}

// A reader that reads nothing is let go, and holds nobody up meanwhile.
func TestSlowReadersAreDropped(t *testing.T) {
	t.Parallel()
	done := make(chan error, 1)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := &stream{w: w, rc: http.NewResponseController(w), patience: 50 * time.Millisecond}
		for {
			if err := out.event("line", strings.Repeat("x", 1<<20)); err != nil {
				done <- err
				return
			}
		}
	}))
	defer web.Close()
	c, err := net.Dial("tcp", web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatal("it is still written to")
	}
}

func TestLogsAreFollowed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.commit(map[string]*wish{"acme": {Tag: "2026.11.1"}}, "One", "Ada")
	h.settle("acme")
	l := h.listen(auth.RoleViewer, "/instances/acme/logs/follow?service=app")
	if kind := l.resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		t.Fatalf("got %s", kind)
	}
	var got strings.Builder
	h.feed <- "one \x1b[31mred"
	for i := range 100 {
		h.feed <- fmt.Sprintf("line %d", i)
	}
	for !strings.Contains(got.String(), "line 99") {
		got.WriteString(l.next("line") + "\n")
	}
	if want := "one red\nline 0\nline 1\n"; !strings.HasPrefix(got.String(), want) || strings.Count(got.String(), "\n") != 101 {
		t.Errorf("got %q", got.String())
	}
	close(h.feed)
	if text := l.next("end"); !strings.Contains(text, "has ended") {
		t.Errorf("got %q", text)
	}
	gone := h.listen(auth.RoleViewer, "/instances/nobody/logs/follow")
	if text := gone.next("end"); !strings.Contains(text, "no such instance") {
		t.Errorf("got %q", text)
	}
}

func TestLiveShowsWhatIsBeingDone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.quick()
	h.commit(map[string]*wish{"acme": {Tag: "2026.11.1"}}, "One", "Ada")
	h.settle("acme")
	if body := h.get(auth.RoleViewer, "/instances/acme/live").body; !strings.Contains(body, "At rest") || !strings.Contains(body, "<noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript>") {
		t.Error("at rest it does not say so")
	}
	h.commit(map[string]*wish{"acme": {Tag: "slow"}}, "Slowly now", "Ada")
	h.await("acme", func(s reconciler.Status) bool { return s.Phase == reconciler.PhaseApplying && len(s.Pending) > 0 })
	var body string
	h.until(func() bool { // whoever reads has the hub listen; it forgets when nobody does
		h.progress.For("acme")(appImage+"slow", 25<<20, 100<<20)
		body = h.get(auth.RoleViewer, "/instances/acme/live").body
		return strings.Contains(body, "25.0 MiB of 100.0 MiB")
	})
	for _, want := range []string{"Under way", "Slowly now", `width="25.0"`, "replace", `content="2"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, fault := range inspect(body) {
		t.Error(fault)
	}
	h.commit(map[string]*wish{"acme": {Tag: "2026.11.2"}}, "Quickly", "Ada")
	h.settle("acme")
	h.until(func() bool { return len(h.site.hub.pullsOf("acme")) == 0 })
}

// Many who look cost the work tree no more than one: it is looked at once in a
// while.
func TestTheWorkTreeIsLookedAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.commit(map[string]*wish{"acme": {Tag: "2026.11.1"}}, "One", "Ada")
	h.settle("acme")
	h.mu.Lock()
	h.asked = 0
	h.mu.Unlock()
	began := time.Now()
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() { h.get(auth.RoleViewer, "/") })
	}
	all.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if most := int(time.Since(began)/freshFor) + 1; h.asked > most {
		t.Errorf("it was looked at %d times, want %d at most", h.asked, most)
	}
}
