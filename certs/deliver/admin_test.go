package deliver_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead/fairlead/certs/deliver"
	"github.com/fairlead/fairlead/desired"
)

// api is an admin API that can be as bad as a test wants.
type api struct {
	*httptest.Server
	gets, posts atomic.Int64
}

func newAPI(t testing.TB, get, post http.HandlerFunc) *api {
	a := &api{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /config/", func(w http.ResponseWriter, r *http.Request) { a.gets.Add(1); get(w, r) })
	mux.HandleFunc("POST /config/", func(w http.ResponseWriter, r *http.Request) { a.posts.Add(1); post(w, r) })
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	return a
}

func says(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text) // the client tells
	}
}

func TestAdminAPIThatFails(t *testing.T) {
	good := says(200, "{\"apps\":{}}\n")
	other := httptest.NewServer(good)
	defer other.Close()
	cases := map[string]struct {
		get, post http.HandlerFunc
		says      string
	}{
		"redirects":      {http.RedirectHandler(other.URL, http.StatusFound).ServeHTTP, nil, "redirects"},
		"forbids":        {says(403, `{"error":"host not allowed: x"}`), nil, "it answers 403: host not allowed: x"},
		"is no Caddy":    {says(200, "<html>hello</html>"), nil, "is this a Caddy's admin API?"},
		"no config":      {says(200, "null\n"), nil, "it has no configuration"},
		"half a config":  {says(200, `{"apps":`), nil, "no configuration"},
		"too much":       {says(200, `{"a":"`+strings.Repeat("x", 17<<20)+`"}`), nil, "larger than 16 MiB"},
		"a bad config":   {good, says(500, `{"error":"loading new config: open privkey.pem: permission denied"}`), "it answers 500: loading new config: open privkey.pem: permission denied"},
		"an odd refusal": {good, says(502, "\x1b[31mbad\n\ngateway\x00"+strings.Repeat("y", 1<<20)), "it answers 502: [31mbad gateway"},
		"long":           {good, says(500, `{"error":"`+strings.Repeat("long ", 500)+`"}`), "…"},
		"always changes": {good, says(412, `{"error":"hash"}`), "is being changed by somebody else"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, tc.get, tc.post)
			s := newServer(t, "127.0.0.1:0", fresh(t))
			began := time.Now()
			o := one(t, deliver.New(deliver.Options{}), spec(desired.Reloader{Caddy: a.URL, Prove: s.Addr().String(), Within: 30 * time.Second}), fresh(t))
			fails(t, o, tc.says, "serves", a.Listener.Addr().String())
			if len(o.Target.Message) > 1000 || strings.ContainsAny(o.Target.Message, "\x00\x1b\n") {
				t.Errorf("the message is %q", o.Target.Message)
			}
			if o.Changed || time.Since(began) > 25*time.Second {
				t.Errorf("changed %t after %s", o.Changed, time.Since(began))
			}
		})
	}
}

// Somebody else changes the configuration between the two calls: it is read
// again, and theirs is not undone.
func TestAdminAPIChangedMeanwhile(t *testing.T) {
	live := fresh(t)
	s := newServer(t, "127.0.0.1:0", fresh(t))
	var state atomic.Value
	state.Store(`{"n":1}`)
	tag := func() string { return `"/config/ ` + state.Load().(string)[5:6] + `"` }
	a := newAPI(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Etag", tag())
		_, _ = io.WriteString(w, state.Load().(string)) // the client tells
		state.CompareAndSwap(`{"n":1}`, `{"n":2}`)
	}, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		switch {
		case err != nil || r.Header.Get("Cache-Control") != "must-revalidate" || r.Header.Get("Content-Type") != "application/json":
			w.WriteHeader(http.StatusBadRequest)
		case r.Header.Get("If-Match") != tag():
			w.WriteHeader(http.StatusPreconditionFailed)
		case string(body) != state.Load():
			w.WriteHeader(http.StatusConflict)
		default:
			s.serve(live)
		}
	})
	proved(t, one(t, deliver.New(deliver.Options{}), spec(desired.Reloader{Caddy: a.URL, Prove: s.Addr().String(), Within: 30 * time.Second}), live))
	if a.gets.Load() != 2 || a.posts.Load() != 2 {
		t.Errorf("%d reads, %d writes", a.gets.Load(), a.posts.Load())
	}
}

// A Caddy that serves the pair and is long in saying so is proved meanwhile.
func TestAdminAPIThatIsSlowToAnswer(t *testing.T) {
	live := fresh(t)
	s := newServer(t, "127.0.0.1:0", fresh(t))
	a := newAPI(t, says(200, "{}"), func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // then the server sees that the client goes
		s.serve(live)
		<-r.Context().Done()
	})
	began := time.Now()
	o := one(t, deliver.New(deliver.Options{}), spec(desired.Reloader{Caddy: a.URL, Prove: s.Addr().String(), Within: 30 * time.Second}), live)
	proved(t, o)
	if !o.Changed || time.Since(began) > 25*time.Second {
		t.Errorf("changed %t after %s", o.Changed, time.Since(began))
	}
}

// The API can do anything to a Caddy: only this host's and the containers' are
// asked, and a name leads nowhere.
func TestAdminAPIElsewhereIsNotAsked(t *testing.T) {
	live, old := fresh(t), fresh(t)
	s := newServer(t, "127.0.0.1:0", old)
	s2 := newServer(t, "127.0.0.1:0", old)
	port := s2.port()
	var dialled []string
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if !strings.HasPrefix(address, "127.") {
			dialled = append(dialled, address)
			address = "127.0.0.1" + port
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	c := &containers{addrs: []netip.Addr{s.addr()}}
	for address, text := range map[string]string{
		"http://10.1.2.3:2019": "neither this host nor a container", "http://169.254.169.254:80": "neither", "http://[fe80::1]:2019": "neither",
		"http://caddy:2019": "http://HOST:PORT", "https://127.0.0.1:2019": "http://HOST:PORT", "http://127.0.0.1:2019/load": "http://HOST:PORT",
		"http://a:b@127.0.0.1": "http://HOST:PORT", "unix//run/caddy.sock": "http://HOST:PORT", "http://2130706433:2019": "http://HOST:PORT",
	} {
		o := one(t, deliver.New(deliver.Options{Servers: c, Dial: dial}), spec(desired.Reloader{Service: "web", Caddy: address, Prove: s.port(), Within: 50 * time.Millisecond}), live)
		fails(t, o, text)
	}
	if len(dialled) > 0 {
		t.Errorf("dialled %v", dialled)
	}
}

// Every container of the service is told, at the port of its own admin API.
func TestAdminAPIOfTheContainers(t *testing.T) {
	live := fresh(t)
	s := newServer(t, "127.0.0.1:0", fresh(t))
	var host atomic.Value
	a := newAPI(t, says(200, "{}"), func(_ http.ResponseWriter, r *http.Request) { host.Store(r.Host); s.serve(live) })
	_, port, err := net.SplitHostPort(a.Listener.Addr().String())
	must(t, err)
	c := &containers{addrs: []netip.Addr{s.addr()}}
	o := one(t, deliver.New(deliver.Options{Servers: c}), spec(desired.Reloader{Service: "web", Caddy: ":" + port, Prove: s.port(), Within: 30 * time.Second}), live)
	proved(t, o)
	if host.Load() != "127.0.0.1:"+port || len(c.told()) > 0 || !strings.HasPrefix(o.Target.Name, "web ") {
		t.Errorf("asked as %v, signalled %v, named %s", host.Load(), c.told(), o.Target.Name)
	}
}
