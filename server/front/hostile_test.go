package front

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/fairlead/fairlead/reconciler"
)

// bare leads the route to a container that speaks for itself on each connection.
func (h *harness) bare(speak func(net.Conn, *bufio.Reader)) {
	l := listen(h.t)
	h.t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(limit)) // it is open
				speak(c, bufio.NewReader(c))
			}()
		}
	}()
	r := routeTo()
	r.Endpoints = []reconciler.Endpoint{{Container: "bare", Address: l.Addr().(*net.TCPAddr).AddrPort()}}
	h.set(r)
	h.front.Ready()
}

// nothingInFlight fails when a request stays counted.
func (h *harness) nothingInFlight() {
	h.t.Helper()
	eventually(h.t, "nothing is in flight", func() bool {
		return h.front.table.Load().host("app.test").stats.inflight.Load() == 0
	})
}

// send writes bytes to the front and reads one answer.
func (h *harness) send(raw string) (*http.Response, net.Conn) {
	h.t.Helper()
	c := h.onTLS()
	if _, err := io.WriteString(c, raw); err != nil {
		h.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return res, c
}

// TestNoTunnelOfHTTP2: who asks for HTTP/2 in the clear gets an answer, and no
// tunnel through which requests would come that nobody looks at.
func TestNoTunnelOfHTTP2(t *testing.T) {
	h := start(t, Options{})
	h.bare(func(c net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if req.Header.Get("Upgrade") != "" {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+req.Header.Get("Upgrade")+"\r\n\r\n")
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	for upgrade, status := range map[string]int{"h2c": 200, "H2C": 200, "websocket, h2c": 200, "websocket": 101} {
		res, _ := h.send("GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nUpgrade: " + upgrade + "\r\n\r\n")
		if res.StatusCode != status {
			t.Errorf("%s: %d, want %d", upgrade, res.StatusCode, status)
		}
	}
}

// TestTrailersSayNothingOfTheClient: of what follows a body, what was announced
// goes on, and nothing that a server could take for our word or for framing.
func TestTrailersSayNothingOfTheClient(t *testing.T) {
	h := start(t, Options{})
	got := make(chan string, 2)
	h.bare(func(c net.Conn, r *bufio.Reader) {
		var all strings.Builder
		for last := ""; last != "\r\n" || !strings.Contains(all.String(), "\r\n0\r\n"); {
			var err error
			if last, err = r.ReadString('\n'); err != nil {
				break
			}
			all.WriteString(last)
		}
		got <- all.String()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	const lies = "Sum: 42\r\nX-Forwarded-For: 203.0.113.6\r\nX_real-ip: 203.0.113.6\r\nContent-Length: 30\r\nTransfer-Encoding: gzip\r\nHost: evil.test\r\n"
	for announced, want := range map[string]string{
		"Trailer: Sum, X-Forwarded-For, X-Real-Ip, X_real-Ip\r\n": "1\r\na\r\n0\r\nSum: 42\r\n\r\n",
		"": "1\r\na\r\n0\r\n\r\n",
	} {
		h.send("POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n" + announced + "\r\n1\r\na\r\n0\r\n" + lies + "\r\n")
		if all := <-got; !strings.HasSuffix(all, "\r\n\r\n"+want) || strings.Contains(all, "203.0.113.6") || strings.Count(strings.ToLower(all), "forwarded-for") != 1 {
			t.Errorf("announced %q, the container gets\n%q", announced, all)
		}
	}
}

// TestUploadThatIsCutIsNeverWhole: a client that goes away in the middle of a
// body leaves the container with an error, not with a short body.
func TestUploadThatIsCutIsNeverWhole(t *testing.T) {
	h := start(t, Options{})
	begun, ended := make(chan struct{}), make(chan error, 1)
	h.set(routeTo(newBackend(t, "b", func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadFull(r.Body, make([]byte, 3))
		close(begun)
		if err == nil {
			_, err = io.Copy(io.Discard, r.Body)
		}
		ended <- err
	})))
	for _, rest := range []string{"Content-Length: 100\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"} {
		begun = make(chan struct{})
		c := h.onTLS()
		if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: app.test\r\n"+rest); err != nil {
			t.Fatal(err)
		}
		<-begun
		_ = c.Close()
		if err := <-ended; err == nil {
			t.Errorf("%q counts as whole", rest)
		}
		h.nothingInFlight()
	}
}

// TestAnswersThatAreNone: what a container breaks off or gets wrong reaches the
// client as an error of ours, or broken off; never as a whole answer.
func TestAnswersThatAreNone(t *testing.T) {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, tt := range map[string]struct {
		raw    string
		status int // of an answer of ours; 0: none, or a body that breaks off
	}{
		"short body":         {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", 0},
		"chunk cut off":      {chunked + "5\r\nab", 0},
		"last chunk missing": {chunked + "2\r\nab\r\n", 0},
		"chunk of no size":   {chunked + "zz\r\nab\r\n0\r\n\r\n", 0},
		"two lengths":        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde", 502},
		"length below zero":  {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\na", 502},
		"no status":          {"HTTP/1.1 099 None\r\nContent-Length: 1\r\n\r\na", 502},
		"long status":        {"HTTP/1.1 1000 Much\r\nContent-Length: 1\r\n\r\na", 502},
		"no HTTP":            {"SSH-2.0-OpenSSH_9.2\r\n\r\n", 502},
		"nothing":            {"", 502},
		"endless header":     {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", maxRespHeader+4096) + "\r\nContent-Length: 1\r\n\r\na", 502},
	} {
		t.Run(name, func(t *testing.T) {
			log, hook := logtest.NewNullLogger()
			h := start(t, Options{Log: logrus.NewEntry(log)})
			h.bare(func(c net.Conn, r *bufio.Reader) {
				if _, err := http.ReadRequest(r); err == nil {
					_, _ = io.WriteString(c, tt.raw)
				}
			})
			for _, http2 := range []bool{false, true} {
				status, _, err := get(h.client(http2), "https://app.test/")
				if tt.status == 0 && err == nil || tt.status != 0 && (err != nil || status != tt.status) {
					t.Errorf("http2 %v: %d, %v", http2, status, err)
				}
			}
			h.nothingInFlight()
			for _, e := range hook.AllEntries() {
				if e.Level <= logrus.ErrorLevel {
					t.Errorf("logged: %s", e.Message)
				}
			}
		})
	}
}

// TestEarlyAnswerArrivesThoughTheClientStalls: the container has answered before
// the body was there; the answer does not wait for the rest, nor does the place
// of the request.
func TestEarlyAnswerArrivesThoughTheClientStalls(t *testing.T) {
	h := start(t, Options{})
	h.bare(func(c net.Conn, r *bufio.Reader) {
		for line := ""; line != "\r\n"; {
			var err error
			if line, err = r.ReadString('\n'); err != nil {
				return
			}
		}
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
		_, _ = io.Copy(io.Discard, r)
	})
	res, c := h.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 30\r\n\r\nabc")
	if res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("%d", res.StatusCode)
	}
	h.nothingInFlight()
	_ = c.Close()
	eventually(t, "its connection has ended", func() bool { return h.front.total.open.Load() == 0 })
}

// TestPipelinedRequestsAreKeptApart: the body of a request that was answered
// early is not the next request.
func TestPipelinedRequestsAreKeptApart(t *testing.T) {
	h := start(t, Options{})
	h.set(routeTo(newBackend(t, "b", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/early" {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		b, _ := io.ReadAll(r.Body) // what came is counted
		_, _ = fmt.Fprintf(w, "%s %d", r.URL.Path, len(b))
	})))
	const hidden = "GET /hidden HTTP/1.1\r\nHost: app.test\r\n\r\n"
	c := h.onTLS()
	_, err := io.WriteString(c, "GET /1 HTTP/1.1\r\nHost: app.test\r\n\r\n"+
		"POST /early HTTP/1.1\r\nHost: app.test\r\nContent-Length: "+fmt.Sprint(len(hidden))+"\r\n\r\n"+hidden+
		"POST /3 HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"+
		"HEAD /4 HTTP/1.1\r\nHost: app.test\r\n\r\n"+
		"GET /5 HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	for _, want := range []string{"/1 0", "", "/3 2", "", "/5 0"} {
		var like *http.Request
		if want == "" {
			like = &http.Request{Method: http.MethodHead} // of the early answer, too, nothing follows
		}
		res, err := http.ReadResponse(r, like)
		if err != nil {
			t.Fatalf("%q: %v", want, err)
		}
		if b, err := io.ReadAll(res.Body); err != nil || string(b) != want {
			t.Errorf("%q, %v; want %q", b, err, want)
		}
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("something follows: %v", err)
	}
}

// TestRapidResets opens streams and takes each back at once (CVE-2023-44487):
// the container is asked by few of them at a time, others are served, and
// nothing stays.
func TestRapidResets(t *testing.T) {
	h := start(t, Options{})
	h.set(routeTo(newBackend(t, "b", hello("b"))))
	h.front.Ready()
	c, err := tls.Dial("tcp", h.https, &tls.Config{InsecureSkipVerify: true, ServerName: "app.test", NextProtos: []string{"h2"}}) //nolint:gosec // test
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	frame := func(to *bytes.Buffer, kind, flags byte, stream uint32, payload string) {
		to.Write([]byte{0, byte(len(payload) >> 8), byte(len(payload)), kind, flags}) // below 64 KiB each
		_ = binary.Write(to, binary.BigEndian, stream)                                // a buffer takes all
		to.WriteString(payload)
	}
	var all bytes.Buffer
	all.WriteString("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	frame(&all, 4, 0, 0, "")
	for i := range uint32(20_000) {
		frame(&all, 1, 5, 2*i+1, "\x82\x87\x84\x01\x08app.test") // GET https / app.test, whole
		frame(&all, 3, 0, 2*i+1, "\x00\x00\x00\x08")
	}
	written := background(func() error {
		go func() { _, _ = io.Copy(io.Discard, c) }() // until it is closed
		_, _ = c.Write(all.Bytes())                   // the front may have had enough before the end
		return nil
	})
	for range 20 {
		mustGet(t, h.client(true), "https://app.test/", http.StatusOK, "b")
	}
	await(t, "resets", written)
	_ = c.Close()
	h.nothingInFlight()
}
