package registry_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler"
	client "github.com/fairlead/fairlead/reconciler/registry"
)

func TestLimitIsHonouredByAllReferencesOfTheHost(t *testing.T) {
	for name, f := range map[string]registry.Fault{
		"429 seconds": {Status: 429, RetryAfter: 90 * time.Second},
		"429 date":    {Status: 429, RetryAfter: 90 * time.Second, DateForm: true},
		"503 seconds": {Status: 503, RetryAfter: 90 * time.Second},
		"429 unsaid":  {Status: 429},
		"too long":    {Status: 429, RetryAfter: 1000 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, ref, digest := serve(t, registry.Options{})
			push(t, r, "dev", "1")
			c := client.New(client.Options{})
			means(t, fresh(t, c, ref), digest)
			f.Match = registry.Manifests
			r.Fault(f)
			if got := fresh(t, c, ref); got.Err == nil {
				t.Fatal("a limit is no failure")
			} else if d, ok := reconciler.RetryDelay(got.Err); !ok || d < 30*time.Second || d > time.Hour {
				t.Errorf("it is tried again after %v (%v): %v", d, ok, got.Err)
			}
			r.ResetRequests()
			err := fails(t, c, r.Ref("app", "dev"), "limits how often")
			if _, ok := reconciler.RetryDelay(err); !ok {
				t.Errorf("the error has no delay: %v", err)
			}
			if n := len(r.Requests()); n != 0 {
				t.Errorf("%d requests to a registry that limits: %v", n, r.Requests())
			}
			s := c.Status()
			if len(s) != 1 || s[0].Host != r.Addr() || s[0].Limited != 1 || s[0].PausedUntil.IsZero() || s[0].FailingSince.IsZero() || s[0].LastSuccess.IsZero() {
				t.Errorf("status %+v", s)
			}
		})
	}
}

func TestLostRegistryIsLeftAlone(t *testing.T) {
	r, ref, digest := serve(t, registry.Options{})
	c := client.New(client.Options{Timeout: time.Minute})
	means(t, ask(t, c, ref, reconciler.Ask{}), digest)
	addr := r.Addr()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	got := fresh(t, c, ref)
	means(t, got, digest)
	says(t, got.Err, "reach "+addr)
	first := c.Status()[0].Requests
	if _, err := c.Release(t.Context(), addr+"/other:stable", reconciler.Ask{}); err == nil {
		t.Error("a lost registry answered")
	}
	if s := c.Status()[0]; s.Requests != first || s.PausedUntil.IsZero() || s.Err == "" {
		t.Errorf("a lost registry is asked at once again: %+v", s)
	}
}

func TestBasicAndTokenLogins(t *testing.T) {
	for name, o := range map[string]registry.Options{
		"basic": {Username: "ann", Password: "s3cretword"},
		"token": {Username: "ann", Password: "s3cretword", Token: true},
	} {
		t.Run(name, func(t *testing.T) {
			r, ref, digest := serve(t, o)
			good := client.New(client.Options{Keychain: login{"ann", "s3cretword"}})
			means(t, fresh(t, good, ref), digest)
			r.ResetRequests()
			means(t, fresh(t, good, ref), digest)
			if n := len(r.Requests()); n != 1 {
				t.Errorf("a known login takes %d requests a question: %v", n, r.Requests())
			}
			err := fails(t, client.New(client.Options{Keychain: login{"ann", "wr0ngword"}}), ref, "the stored login is refused", "docker login "+r.Addr())
			if strings.Contains(err.Error(), "wr0ngword") {
				t.Errorf("the password is in %q", err)
			}
			t.Setenv("DOCKER_CONFIG", t.TempDir())
			t.Setenv("HOME", t.TempDir())
			fails(t, client.New(client.Options{}), ref, "run docker login "+r.Addr())
		})
	}
}

func TestDockerConfigIsReadAnew(t *testing.T) {
	r, ref, digest := serve(t, registry.Options{Username: "ann", Password: "s3cretword"})
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("HOME", t.TempDir())
	config := filepath.Join(dir, "config.json")
	c := client.New(client.Options{})
	fails(t, c, ref, "run docker login")
	write(t, config, []byte(`{"auths":{"`+r.Addr()+`":{"auth":"YW5uOnMzY3JldHdvcmQ="}}}`))
	means(t, fresh(t, c, ref), digest)

	write(t, config, []byte(`{"credHelpers":{"`+r.Addr()+`":"fairlead-missing"}}`))
	got := fresh(t, c, ref)
	means(t, got, digest)
	says(t, got.Err, "docker-credential-fairlead-missing", "not in this daemon's PATH")

	write(t, config, []byte(`{"credHelpers":{"`+r.Addr()+`":"fairlead-broken"}}`))
	bin := t.TempDir()
	write(t, filepath.Join(bin, "docker-credential-fairlead-broken"), []byte("#!/bin/sh\necho leaked-s3cretword; exit 1\n"))
	if err := os.Chmod(filepath.Join(bin, "docker-credential-fairlead-broken"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	got = fresh(t, c, ref)
	says(t, got.Err, "credential helper")
	if strings.Contains(got.Err.Error(), "leaked") {
		t.Errorf("what the helper said is in %q", got.Err)
	}
	write(t, config, []byte(`{`))
	says(t, fresh(t, c, ref).Err, "read credentials")
}

func TestRegistryEchoesNoSecret(t *testing.T) {
	_, ref, _ := serve(t, registry.Options{Middleware: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if _, _, ok := q.BasicAuth(); !ok {
				w.Header().Set("WWW-Authenticate", "Basic realm=x")
				w.WriteHeader(401)
				return
			}
			user, password, _ := q.BasicAuth()
			w.WriteHeader(403)
			_, _ = w.Write([]byte(`{"errors":[{"code":"DENIED","message":"` + user + " with " + password + " sent " + q.Header.Get("Authorization") + `\n"}]}`))
		})
	}})
	err := fails(t, client.New(client.Options{Keychain: login{"ann", "s3cretword"}}), ref, "403")
	if strings.Contains(err.Error(), "s3cretword") || strings.Contains(err.Error(), "YW5u") {
		t.Errorf("a secret is in %q", err)
	}
}

func TestPrivateAuthority(t *testing.T) {
	r, ref, digest := serve(t, registry.Options{TLS: true})
	dir := t.TempDir()
	ca := filepath.Join(dir, "root.pem")
	certs := filepath.Join(dir, "certs.d")
	fails(t, client.New(client.Options{CertsDir: certs}), ref, "unknown authority", "certs.d/"+r.Addr()+"/ca.crt")
	write(t, ca, r.CA())
	means(t, fresh(t, client.New(client.Options{CertsDir: certs, CAFile: ca}), ref), digest)

	c := client.New(client.Options{CertsDir: certs}) // and the file that comes later is read
	fails(t, c, ref)
	write(t, filepath.Join(certs, r.Addr(), "ca.crt"), r.CA())
	means(t, fresh(t, c, ref), digest)

	write(t, filepath.Join(certs, r.Addr(), "ca.crt"), []byte("no certificate"))
	fails(t, client.New(client.Options{CertsDir: certs}), ref, "no PEM certificate")
	fails(t, client.New(client.Options{CertsDir: certs, CAFile: dir}), ref, dir+" is no file")
}

// TestClientCertificate lies where Docker looks for it.
func TestClientCertificate(t *testing.T) {
	r, _, digest := serve(t, registry.Options{})
	var others atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if len(q.TLS.PeerCertificates) == 0 {
			others.Add(1)
			w.WriteHeader(http.StatusForbidden)
			return
		}
		forward(t, w, q, r.Transport())
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	defer s.Close()
	key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	host := s.Listener.Addr().String()
	dir := filepath.Join(t.TempDir(), host)
	write(t, filepath.Join(dir, "ca.crt"), cert)
	c := client.New(client.Options{CertsDir: filepath.Dir(dir)})
	fails(t, c, host+"/app:stable", "403")
	write(t, filepath.Join(dir, "client.cert"), cert)
	c = client.New(client.Options{CertsDir: filepath.Dir(dir)})
	fails(t, c, host+"/app:stable", "client.key")
	write(t, filepath.Join(dir, "client.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	means(t, fresh(t, c, host+"/app:stable"), digest)
	if others.Load() == 0 {
		t.Error("the server did not look at certificates")
	}
}

func forward(t *testing.T, w http.ResponseWriter, q *http.Request, to http.RoundTripper) {
	resp, err := to.RoundTrip(q)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

func TestPlainHTTPIsForLoopbackAndThoseNamed(t *testing.T) {
	r, _, digest := serve(t, registry.Options{})
	const host = "registry.example:5000"
	via := roundTrip(func(q *http.Request) (*http.Response, error) {
		if q.URL.Scheme == "https" {
			return nil, http.ErrSchemeMismatch
		}
		return r.Transport().RoundTrip(q)
	})
	fails(t, client.New(client.Options{Transport: via}), host+"/app:stable")
	fails(t, client.New(client.Options{Transport: via}), "10.0.0.1/app:stable", "10.0.0.1")
	if n := len(r.Requests()); n != 0 {
		t.Errorf("%d requests by plain HTTP", n)
	}
	got := fresh(t, client.New(client.Options{Transport: via, Insecure: []string{host}}), host+"/app:stable")
	means(t, got, digest)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }

func TestRedirectsTakeNoCredentialsAlong(t *testing.T) {
	var mu sync.Mutex
	var got []string
	r, ref, digest := serve(t, registry.Options{Username: "ann", Password: "s3cretword"})
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		got = append(got, q.Header.Get("Authorization")+q.Header.Get("Cookie"))
		mu.Unlock()
		q.SetBasicAuth("ann", "s3cretword")
		forward(t, w, q, r.Transport())
	}))
	defer other.Close()
	first, _, _ := serve(t, registry.Options{Username: "ann", Password: "s3cretword", Middleware: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodHead {
				http.Redirect(w, q, other.URL+q.URL.Path, http.StatusTemporaryRedirect)
				return
			}
			next.ServeHTTP(w, q)
		})
	}})
	_ = ref
	c := client.New(client.Options{Keychain: login{"ann", "s3cretword"}})
	means(t, fresh(t, c, first.Ref("app", "stable")), digest)
	mu.Lock()
	defer mu.Unlock()
	if len(got) == 0 || slices.ContainsFunc(got, func(s string) bool { return s != "" }) {
		t.Errorf("the other host was sent %q", got)
	}
}

func TestMirrors(t *testing.T) {
	origin, ref, first := serve(t, registry.Options{})
	mirror := registry.Test(t)
	for _, build := range []string{"2", "1"} { // it has both, and says the first
		if _, _, err := mirror.Push(t.Context(), "proxy/app", "stable", registry.App{Empty: true, Build: build}); err != nil {
			t.Fatal(err)
		}
	}
	c := client.New(client.Options{Mirrors: map[string][]string{origin.Addr(): {"http://" + mirror.Addr() + "/proxy/"}}})
	means(t, fresh(t, c, ref), first)
	for _, q := range origin.Requests() {
		if strings.Contains(q.Path, "/blobs/") || strings.Contains(q.Path, "/manifests/sha256:") {
			t.Errorf("bytes came from the registry though the mirror has them: %v", q)
		}
	}
	_, second := push(t, origin, "stable", "2")
	mirror.Fault(registry.Fault{Match: registry.Manifests, Corrupt: true})
	means(t, fresh(t, c, ref), second) // bad bytes of the mirror: those of the registry
	mirror.ClearFaults()

	origin.Fault(registry.Fault{Status: 500})
	got := fresh(t, c, ref)
	means(t, got, second)
	says(t, got.Err, "status 500", "is behind")
	if _, _, err := mirror.Push(t.Context(), "proxy/app", "stable", registry.App{Empty: true, Build: "3"}); err != nil {
		t.Fatal(err)
	}
	if got := fresh(t, c, ref); got.Err != nil || strings.HasSuffix(got.Digest, second) {
		t.Errorf("the mirror stands in for the registry: %+v", got)
	}
	mirror.Fault(registry.Fault{Status: 502})
	says(t, fresh(t, c, ref).Err, "status 500", "status 502")
}

func TestManyTagsComeInPages(t *testing.T) {
	var lists atomic.Int64
	r, ref, _ := serve(t, registry.Options{Middleware: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if !strings.HasSuffix(q.URL.Path, "/tags/list") {
				next.ServeHTTP(w, q)
				return
			}
			lists.Add(1)
			switch q.URL.Query().Get("last") {
			case "":
				w.Header().Set("Link", `<http://elsewhere.example/v2/app/tags/list?last=b&n=1000>; rel="next"`)
				_, _ = w.Write([]byte(`{"tags":["a","b"]}`))
			case "b":
				_, _ = w.Write([]byte(`{"tags":["deprecated-2026.04.1"]}`))
			}
		})
	}})
	if err := r.Tag(t.Context(), "app", "stable", "deprecated-2026.04.1"); err != nil {
		t.Fatal(err)
	}
	if got := fresh(t, client.New(client.Options{}), ref); got.Deprecated != "deprecated-2026.04.1" || lists.Load() != 2 {
		t.Errorf("release %+v after %d pages", got, lists.Load())
	}
}
