package front

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/fairlead/fairlead/reconciler"
)

// bareProxy is what the front is held against: a tuned ReverseProxy that does
// nothing but pass on to one address.
func bareProxy(b *backend) http.Handler {
	target := &url.URL{Scheme: "http", Host: b.address.String()}
	return &httputil.ReverseProxy{
		Rewrite:    func(p *httputil.ProxyRequest) { p.SetURL(target); p.SetXForwarded(); p.Out.Host = p.In.Host },
		Transport:  &http.Transport{MaxIdleConnsPerHost: 512, DisableCompression: true, DialContext: (&net.Dialer{}).DialContext},
		BufferPool: new(buffers),
		ErrorLog:   log.New(io.Discard, "", 0),
	}
}

func answerSmall(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, "hello, world\n")
}

func ours(b *backend) (*Front, http.Handler) {
	f := New(Options{})
	r := routeTo(b)
	r.HSTS = 31536000
	f.Set("acme", []reconciler.Route{r})
	f.Ready()
	f.table.Load().host(r.Host).live.Store(true) // as a handshake would
	return f, http.HandlerFunc(f.serveTLS)
}

// BenchmarkHandler measures one request through the handler alone, without
// client connections and TLS: what is ours has the largest share here.
func BenchmarkHandler(b *testing.B) {
	back := newBackend(b, "one", answerSmall)
	_, front := ours(back)
	for name, h := range map[string]http.Handler{"bare": bareProxy(back), "front": front} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				r := httptest.NewRequest(http.MethodGet, "/path?query=1", nil)
				r.Host, r.TLS = "app.test", &tls.ConnectionState{ServerName: "app.test"}
				r.Header.Set("User-Agent", "bench")
				r.Header.Set("Accept", "*/*")
				for pb.Next() {
					w := httptest.NewRecorder()
					if h.ServeHTTP(w, r); w.Code != http.StatusOK {
						b.Errorf("status %d", w.Code)
						return
					}
				}
			})
		})
	}
}

// BenchmarkTLS measures requests over keep-alive TLS connections.
func BenchmarkTLS(b *testing.B) {
	back := newBackend(b, "one", answerSmall)
	f, front := ours(back)
	for name, h := range map[string]http.Handler{"bare": bareProxy(back), "front": front} {
		b.Run(name, func(b *testing.B) {
			l := listen(b)
			srv := &http.Server{Handler: h, TLSConfig: f.tlsConfig(), ReadHeaderTimeout: 10 * time.Second}
			go func() { _ = srv.ServeTLS(l, "", "") }()
			defer srv.Close()
			c := &http.Client{Transport: &http.Transport{
				TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "app.test"}, MaxIdleConnsPerHost: 64, //nolint:gosec // test
			}}
			defer c.CloseIdleConnections()
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				r, _ := http.NewRequest(http.MethodGet, "https://"+l.Addr().String()+"/path?query=1", nil)
				r.Host = "app.test"
				for pb.Next() {
					res, err := c.Do(r)
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
				}
			})
		})
	}
}

func BenchmarkCleanHost(b *testing.B) {
	for b.Loop() {
		cleanHost("data.acme.com:443")
	}
}
