package source_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/certs/source"
	"github.com/fairlead/fairlead/reconciler"
)

// pair is a certificate and its key in PEM.
func pair(t *testing.T) (chain, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "data.acme.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bytes})
}

// fake is a server whose requests are counted by path, and whose answers can be
// changed while it runs.
type fake struct {
	*httptest.Server
	mu     sync.Mutex
	routes map[string]http.HandlerFunc
	seen   map[string]int
}

func newFake(t *testing.T, tls bool) *fake {
	t.Helper()
	f := &fake{routes: map[string]http.HandlerFunc{}, seen: map[string]int{}}
	f.start(t, f, tls)
	return f
}

// start serves h.
func (f *fake) start(t testing.TB, h http.Handler, tls bool) {
	f.Server = httptest.NewUnstartedServer(h)
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	if tls {
		f.StartTLS()
	} else {
		f.Start()
	}
	t.Cleanup(f.Close)
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	h := f.routes[r.URL.Path]
	f.seen[r.Method+" "+r.URL.Path]++
	f.mu.Unlock()
	if h == nil {
		http.NotFound(w, r)
		return
	}
	h(w, r)
}

// on answers a path.
func (f *fake) on(path string, h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.routes[path] = h
}

// says answers a path with a status and a body; pairs are headers.
func (f *fake) says(path string, status int, body string, pairs ...string) {
	f.on(path, func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(pairs); i += 2 {
			w.Header().Set(pairs[i], pairs[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

func (f *fake) count(what string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[what]
}

// host is 127.0.0.1 and the port.
func (f *fake) host() string {
	u, err := url.Parse(f.URL)
	if err != nil {
		panic(err)
	}
	return u.Host
}

// ca is the authority of a fake with TLS.
func (f *fake) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})
}

func noEnv(string) (string, bool) { return "", false }

func envOf(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func get(t *testing.T, s source.Source, ref string, prev source.Version) source.Blob {
	t.Helper()
	b, err := s.Fetch(t.Context(), ref, prev)
	if err != nil {
		t.Fatal(err)
	}
	if b.Version == "" || b.NotModified == (b.Data != nil) {
		t.Fatalf("version %q, not modified %v, %d bytes", b.Version, b.NotModified, len(b.Data))
	}
	return b
}

// fails wants an error of a class that says all of the words, on one line.
func fails(t *testing.T, s source.Source, ref string, class error, words ...string) error {
	t.Helper()
	b, err := s.Fetch(t.Context(), ref, "")
	if err == nil || b.Data != nil {
		t.Fatalf("%s gives %d bytes, error %v", ref, len(b.Data), err)
	}
	if !errors.Is(err, class) {
		t.Errorf("error %q is not %q", err, class)
	}
	if got := source.Result(err); got == "ok" || class != source.ErrKeyInChain && !strings.EqualFold(strings.ReplaceAll(got, "_", " "), class.Error()) {
		t.Errorf("error %q counts as %s", err, got)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
	if strings.ContainsAny(err.Error(), "\r\n") || len(err.Error()) > 800 {
		t.Errorf("error has lines or is long: %q", err)
	}
	return err
}

// hides wants none of the words in the error.
func hides(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if strings.Contains(err.Error(), w) {
			t.Errorf("error %q shows %q", err, w)
		}
	}
}

func waits(t *testing.T, err error, want time.Duration) {
	t.Helper()
	if d, ok := reconciler.RetryDelay(err); !ok || d != want {
		t.Errorf("it is tried again after %v (%v), want %v", d, ok, want)
	}
}

func write(t testing.TB, name string, data []byte, mode os.FileMode) string {
	t.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join(t.TempDir(), name)
	}
	if err := os.WriteFile(name, data, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
	return name
}
