package front

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

// onTLS is a connection to the front for what no client library sends.
func (h *harness) onTLS() net.Conn {
	h.t.Helper()
	c, err := tls.Dial("tcp", h.https, &tls.Config{InsecureSkipVerify: true, ServerName: "app.test", NextProtos: []string{"http/1.1"}}) //nolint:gosec // test
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		h.t.Fatal(err)
	}
	return c
}

// echoUpgrade accepts a change of protocol and sends back what it gets.
func echoUpgrade(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Connection") != "Upgrade" {
		http.Error(w, "no upgrade", http.StatusBadRequest)
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_ = rw.Flush()
	_, _ = io.Copy(conn, rw)
}

func upgraded(t *testing.T, h *harness) (net.Conn, *bufio.Reader) {
	t.Helper()
	c := h.onTLS()
	_, err := io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %v %v", res, err)
	}
	return c, r
}

func TestWebSocketAndItsDrain(t *testing.T) {
	h := start(t, Options{})
	b := newBackend(t, "b", echoUpgrade)
	route := routeTo(b)
	route.Drain = 50 * time.Millisecond
	h.set(route)
	c, r := upgraded(t, h)
	for range 3 {
		if _, err := io.WriteString(c, "hello"); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(r, got); err != nil || string(got) != "hello" {
			t.Fatalf("echo: %q %v", got, err)
		}
	}
	if err := h.front.Drain(t.Context(), "acme", "b"); err != nil {
		t.Fatalf("an expired drain is no error: %v", err)
	}
	var late net.Error
	if _, err := r.ReadByte(); err == nil || errors.As(err, &late) && late.Timeout() {
		t.Errorf("the tunnel outlives its drain: %v", err)
	}
	if n := h.front.total.cut.Load(); n != 1 {
		t.Errorf("%d requests counted as cut off", n)
	}
}

func TestDrainEndsWithItsContext(t *testing.T) {
	h := start(t, Options{})
	h.set(routeTo(newBackend(t, "b", echoUpgrade)))
	upgraded(t, h)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := h.front.Drain(ctx, "acme", "b")
	if err == nil || !strings.Contains(err.Error(), "drain container b: context deadline exceeded") {
		t.Errorf("%v", err)
	}
}

// Each event arrives before the next is sent: nothing is kept back.
func TestStreamsAreNotBuffered(t *testing.T) {
	h := start(t, Options{})
	next := make(chan string)
	b := newBackend(t, "b", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/sse" {
			w.Header().Set("Content-Type", "text/event-stream")
		}
		_ = http.NewResponseController(w).Flush()
		for s := range next {
			_, _ = io.WriteString(w, s)
			_ = http.NewResponseController(w).Flush()
		}
	})
	for _, http2 := range []bool{false, true} {
		for _, path := range []string{"/sse", "/chunks"} {
			next = make(chan string)
			h.set(routeTo(b))
			res, err := h.client(http2).Get("https://app.test" + path)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				s := fmt.Sprintf("data: %d\n\n", i)
				next <- s
				got := make([]byte, len(s))
				if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != s {
					t.Fatalf("%s: %q %v", path, got, err)
				}
			}
			close(next)
			_ = res.Body.Close()
		}
	}
}

func TestLargeBodiesBothWays(t *testing.T) {
	h := start(t, Options{})
	h.set(routeTo(newBackend(t, "b", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(w, r.Body)
	})))
	const size = 16 << 20
	for _, http2 := range []bool{false, true} {
		want := sha256.New()
		body := io.TeeReader(io.LimitReader(&pattern{}, size), want)
		res, err := h.client(http2).Post("https://app.test/", "application/octet-stream", body)
		if err != nil {
			t.Fatal(err)
		}
		got := sha256.New()
		n, err := io.Copy(got, res.Body)
		_ = res.Body.Close()
		if err != nil || n != size || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
			t.Errorf("http2 %v: %d bytes, %v", http2, n, err)
		}
	}
}

// pattern is a stream of bytes that differ.
type pattern struct{ n byte }

func (p *pattern) Read(b []byte) (int, error) {
	for i := range b {
		p.n += 7
		b[i] = p.n
	}
	return len(b), nil
}

func TestTrailersBothWays(t *testing.T) {
	h := start(t, Options{})
	h.set(routeTo(newBackend(t, "b", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Back")
		_, _ = io.Copy(w, r.Body)
		w.Header().Set("X-Back", "got "+r.Trailer.Get("X-There"))
	})))
	for _, http2 := range []bool{false, true} {
		r, _ := http.NewRequest(http.MethodPost, "https://app.test/", io.MultiReader(strings.NewReader("body")))
		r.Trailer = http.Header{"X-There": {"42"}}
		res, err := h.client(http2).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || string(b) != "body" || res.Trailer.Get("X-Back") != "got 42" {
			t.Errorf("http2 %v: %q, trailer %v, %v", http2, b, res.Trailer, err)
		}
	}
}

func TestExpectContinue(t *testing.T) {
	h := start(t, Options{})
	h.set(routeTo(newBackend(t, "b", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(http.StatusRequestEntityTooLarge) // without looking at the body
			return
		}
		_, _ = io.Copy(w, r.Body)
	})))
	c := h.client(false)
	c.Transport.(*http.Transport).ExpectContinueTimeout = limit
	for path, status := range map[string]int{"/yes": 200, "/no": 413} {
		continued := false
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { continued = true }})
		r, _ := http.NewRequestWithContext(ctx, http.MethodPut, "https://app.test"+path, strings.NewReader("body"))
		r.Header.Set("Expect", "100-continue")
		res, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != status || continued != (status == 200) {
			t.Errorf("%s: %d, continued %v", path, res.StatusCode, continued)
		}
	}
}

func TestEarlyHintsPassThrough(t *testing.T) {
	h := start(t, Options{})
	h.set(routeTo(newBackend(t, "b", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "done")
	})))
	hints := 0
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
		if code == http.StatusEarlyHints {
			hints++
		}
		return nil
	}})
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://app.test/", nil)
	res, err := h.client(false).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if hints != 1 {
		t.Errorf("%d hints", hints)
	}
}

// A client that goes away ends its request at the container, or its wait.
func TestClientGoesAway(t *testing.T) {
	h := start(t, Options{})
	begun, ended := make(chan struct{}), make(chan struct{})
	b := newBackend(t, "b", func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		close(ended)
	})
	h.set(routeTo(b))
	ctx, cancel := context.WithCancel(t.Context())
	ask := func() error {
		r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://app.test/", nil)
		res, err := h.client(true).Do(r)
		if err == nil {
			_ = res.Body.Close()
			return fmt.Errorf("answered %d", res.StatusCode)
		}
		return nil
	}
	done := background(ask)
	<-begun
	cancel()
	await(t, "client", done)
	select {
	case <-ended:
	case <-time.After(limit):
		t.Fatal("the container is not told")
	}
	h.set(routeTo())
	ctx, cancel = context.WithCancel(t.Context())
	done = background(ask)
	eventually(t, "it is held", func() bool { return h.held() == 1 })
	cancel()
	await(t, "client", done)
	eventually(t, "it is held no more", func() bool { return h.held() == 0 })
}

// seen is what a container is told of a request.
func seen(t *testing.T, opts Options, send http.Header) http.Header {
	t.Helper()
	h := start(t, opts)
	got := make(chan *http.Request, 1)
	h.set(routeTo(newBackend(t, "b", func(_ http.ResponseWriter, r *http.Request) { got <- r })))
	r, _ := http.NewRequest(http.MethodGet, "https://app.test/a%2Fb//c?q=%zz;x", nil)
	for k, v := range send {
		r.Header[k] = v
	}
	res, err := h.client(false).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	out := <-got
	if out.Host != "app.test" || out.RequestURI != "/a%2Fb//c?q=%zz;x" {
		t.Errorf("host %q, URI %q", out.Host, out.RequestURI)
	}
	return out.Header
}

func TestForwardedHeaders(t *testing.T) {
	lies := http.Header{
		"X-Forwarded-For": {"1.2.3.4"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"evil.test"}, "X-Forwarded-Port": {"1"},
		"X-Forwarded-Prefix": {"/evil"}, "Forwarded": {"for=1.2.3.4"}, "X-Real-Ip": {"1.2.3.4"}, "X_forwarded_for": {"1.2.3.4"},
		"X-Kept": {"yes"}, "Connection": {"X-Hop"}, "X-Hop": {"1"}, "Proxy-Authorization": {"x"}, "Te": {"gzip"},
	}
	trusted := Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	for _, tt := range []struct {
		name string
		opts Options
		want map[string]string
	}{
		{"not trusted", Options{}, map[string]string{
			hXFF: "127.0.0.1", hProto: "https", hHost: "app.test", hPort: "443"}},
		{"trusted", trusted, map[string]string{
			hXFF: "1.2.3.4, 127.0.0.1", hProto: "http", hHost: "evil.test", hPort: "1"}},
	} {
		got := seen(t, tt.opts, lies)
		for k, v := range tt.want {
			if got.Get(k) != v || len(got[k]) != 1 {
				t.Errorf("%s: %s is %q, want %q", tt.name, k, got[k], v)
			}
		}
		for _, k := range []string{"Forwarded", "X-Forwarded-Prefix", "X-Real-Ip", "X_forwarded_for", "X-Hop", "Connection", "Proxy-Authorization", "Te"} {
			if len(got[k]) > 0 {
				t.Errorf("%s: %s came through: %q", tt.name, k, got[k])
			}
		}
		if got.Get("X-Kept") != "yes" {
			t.Errorf("%s: X-Kept is %q", tt.name, got.Get("X-Kept"))
		}
	}
}

// What one server may take for one request and another for two reaches the
// container as one, or not at all.
func TestNoRequestIsSmuggled(t *testing.T) {
	const hidden = "GET /hidden HTTP/1.1\r\nHost: app.test\r\n\r\n"
	for name, raw := range map[string]string{
		"both lengths":   "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x", len(hidden)) + "\r\n" + hidden + "\r\n0\r\n\r\n",
		"two lengths":    "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\n" + hidden,
		"odd encoding":   "POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: xchunked\r\nContent-Length: 40\r\n\r\n" + hidden,
		"spaced header":  "POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + hidden,
		"two hosts":      "GET / HTTP/1.1\r\nHost: app.test\r\nHost: other.test\r\n\r\n",
		"absolute other": "GET http://other.test/ HTTP/1.1\r\nHost: app.test\r\n\r\n",
		"line in header": "GET / HTTP/1.1\r\nHost: app.test\r\nX: a\rGET /hidden HTTP/1.1\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, Options{})
			paths := make(chan string, 8)
			h.set(routeTo(newBackend(t, "b", func(_ http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				if len(b) != 0 && len(b) != len(hidden) {
					t.Errorf("body of %d bytes", len(b))
				}
				paths <- r.URL.Path
			})))
			h.front.Ready()
			c := h.onTLS()
			if _, err := io.WriteString(c, raw); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.Close()
			h.stop()
			close(paths)
			for p := range paths {
				if name != "both lengths" || p != "/" {
					t.Errorf("status %d, and the container was asked for %s", res.StatusCode, p)
				}
			}
		})
	}
}
