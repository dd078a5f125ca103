package front

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/reconciler"
)

// asSeen is a request or an answer as text, without what tells the two proxies apart.
func asSeen(first string, h http.Header, body string, trailer http.Header) string {
	var b strings.Builder
	fmt.Fprintln(&b, first)
	for _, part := range []http.Header{h, trailer} {
		for _, name := range sortedKeys(part) {
			if strings.HasPrefix(name, "X-Forwarded-") || name == hSTS || name == "Date" {
				continue
			}
			values := part[name]
			if name == "Trailer" { // a list in any order
				values = slices.Sorted(strings.SplitSeq(strings.Join(values, ","), ", "))
			}
			fmt.Fprintf(&b, "%s: %q\n", name, values)
		}
	}
	return b.String() + body
}

// ask makes a request of a handler as if it had come over TLS.
func ask(t *testing.T, h http.Handler, like *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	r := like.Clone(t.Context())
	r.Host, r.TLS = "app.test", &tls.ConnectionState{ServerName: "app.test"}
	if like.Body != nil && like.Body != http.NoBody {
		r.Body = io.NopCloser(strings.NewReader("some"))
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestRelaysAsTheLibraryDoes holds the front against httputil.ReverseProxy: the
// container sees the same request, and the client the same answer.
func TestRelaysAsTheLibraryDoes(t *testing.T) {
	var answer func(w http.ResponseWriter)
	var seen string
	back := newBackend(t, "one", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what came is compared
		seen = asSeen(fmt.Sprint(r.Method, r.RequestURI, r.Host, r.ContentLength, r.TransferEncoding), r.Header, string(body), r.Trailer)
		answer(w)
	})
	_, front := ours(back)
	proxies := []http.Handler{bareProxy(back), front}
	requests, answers := relayedRequests(), relayedAnswers()
	for _, what := range sortedKeys(requests) {
		for _, how := range sortedKeys(answers) {
			answer = answers[how]
			var saw, got []string
			for _, p := range proxies {
				seen = ""
				w := ask(t, p, requests[what])
				res := w.Result()
				flushed := w.Flushed && w.Body.Len() > 0 // without a body, the library's own timer decides
				saw, got = append(saw, seen), append(got, asSeen(fmt.Sprint(w.Code, flushed), res.Header, w.Body.String(), res.Trailer))
			}
			if saw[0] != saw[1] || saw[0] == "" {
				t.Errorf("%s: the container sees\n%s\nof the library, and of us\n%s", what, saw[0], saw[1])
			}
			if got[0] != got[1] {
				t.Errorf("%s, %s: the client gets\n%.500s\nof the library, and of us\n%.500s", what, how, got[0], got[1])
			}
		}
	}
}

func relayedRequests() map[string]*http.Request {
	header := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h[pairs[i]] = append(h[pairs[i]], pairs[i+1])
		}
		return h
	}
	requests := map[string]*http.Request{
		"bare":                httptest.NewRequest(http.MethodGet, "/", nil),
		"query":               httptest.NewRequest(http.MethodGet, "/a%2Fb/%20?x=1&y=%20", nil),
		"body":                httptest.NewRequest(http.MethodPost, "/", strings.NewReader("some")),
		"body without a size": httptest.NewRequest(http.MethodPut, "/", io.MultiReader(strings.NewReader("so"), strings.NewReader("me"))),
		"empty body":          httptest.NewRequest(http.MethodPost, "/", strings.NewReader("")),
		"HEAD":                httptest.NewRequest(http.MethodHead, "/", nil),
	}
	for name, h := range map[string]http.Header{
		"many":            header("User-Agent", "x", "Accept", "a", "Accept", "b", "Cookie", "c", "A", "1", "B", "2", "C", "3", "D", "4", "E", "5"),
		"hop by hop":      header("Connection", "Secret, close,, x-other", "Connection", "keep-alive", "Secret", "1", "X-Other", "2", "Keep-Alive", "3", "Proxy-Connection", "4", "Te", "gzip, Trailers", "Proxy-Authorization", "5", "Stays", "6"),
		"other te":        header("Te", "gzip", "Trailer", "X"),
		"empty agent":     header("User-Agent", ""),
		"said of itself":  header("Forwarded", "for=1", "X-Forwarded-For", "1.2.3.4", "X-Forwarded-Host", "h", "X-Forwarded-Proto", "p"),
		"ours taken away": header("Connection", "X-Forwarded-For, Host, Connection, Content-Length"),
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header = h
		requests[name] = r
	}
	return requests
}

func relayedAnswers() map[string]func(http.ResponseWriter) {
	return map[string]func(w http.ResponseWriter){
		"small":        func(w http.ResponseWriter) { answerSmall(w, nil) },
		"nothing":      func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) },
		"not modified": func(w http.ResponseWriter) { w.Header().Set("Etag", `"x"`); w.WriteHeader(http.StatusNotModified) },
		"chunks": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, "a")
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, "b")
		},
		"large": func(w http.ResponseWriter) { _, _ = io.WriteString(w, strings.Repeat("0123456789", 20_000)) },
		"headers": func(w http.ResponseWriter) {
			for _, p := range [][2]string{{"Set-Cookie", "a"}, {"Set-Cookie", "b"}, {"Connection", "Mine, close"}, {"Mine", "1"}, {"Keep-Alive", "2"}, {"Location", "/x"}} {
				w.Header().Add(p[0], p[1])
			}
			w.WriteHeader(http.StatusFound)
		},
		"trailers": func(w http.ResponseWriter) {
			w.Header().Set("Trailer", "Sum, More")
			_, _ = io.WriteString(w, "body")
			w.Header().Set("Sum", "1")
			w.Header().Set("More", "2")
		},
		"surprise": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, "body")
			w.Header().Set(http.TrailerPrefix+"Late", "1")
		},
	}
}

// TestNobodyTakesAwayWhatWeSay names our headers as those of the connection.
func TestNobodyTakesAwayWhatWeSay(t *testing.T) {
	var seen http.Header
	back := newBackend(t, "one", func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header
		w.Header().Set("Connection", hSTS)
	})
	_, front := ours(back)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host, r.TLS = "app.test", &tls.ConnectionState{ServerName: "app.test"}
	r.Header.Set("Connection", "X-Forwarded-For, X-Forwarded-Proto")
	w := httptest.NewRecorder()
	front.ServeHTTP(w, r)
	if w.Code != http.StatusOK || !slices.Equal(seen[hXFF], []string{"192.0.2.1"}) || !slices.Equal(seen[hProto], []string{"https"}) || w.Header().Get(hSTS) == "" {
		t.Errorf("%d, seen %q, answered %q", w.Code, seen, w.Header())
	}
}

// TestProtocolThatNobodyAskedFor has a container that switches by itself.
func TestProtocolThatNobodyAskedFor(t *testing.T) {
	l := listen(t)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
				}
			}()
		}
	}()
	h := start(t, Options{})
	r := routeTo()
	r.Endpoints = []reconciler.Endpoint{{Container: "one", Address: l.Addr().(*net.TCPAddr).AddrPort()}}
	h.set(r)
	h.front.Ready()
	for _, http2 := range []bool{false, true} {
		mustGet(t, h.client(http2), "https://app.test/", http.StatusBadGateway, "")
	}
}

// TestBodyIsNotReadAfterTheExchange: the server's body must not be touched once
// the handler has returned.
func TestBodyIsNotReadAfterTheExchange(t *testing.T) {
	b := &requestBody{from: strings.NewReader("more")}
	one := make([]byte, 1)
	if n, err := b.Read(one); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	b.over.Store(true)
	if n, err := b.Read(one); n != 0 || err != http.ErrBodyReadAfterClose {
		t.Errorf("read %d, %v", n, err)
	}
}
