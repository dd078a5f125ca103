package source_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead/fairlead/certs/source"
)

// google speaks what the documentation of Google's metadata server, token
// service, Secret Manager and Cloud Storage says.
type google struct {
	*fake
	token   atomic.Pointer[string] // that is taken now
	expires atomic.Int64           // seconds that a token lasts
}

const (
	vmToken    = "/computeMetadata/v1/instance/service-accounts/default/token"
	secretPath = "/v1/projects/acme-project/secrets/edge/versions/"
	object     = "/storage/v1/b/acme-pki/o/edge/chain.pem"
)

func newGoogle(t *testing.T) *google {
	g := &google{fake: newFake(t, false)}
	first := "ya29.first"
	g.token.Store(&first)
	g.expires.Store(3599)
	flavoured := func(text func() string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Metadata-Flavor") != "Google" {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			w.Header().Set("Metadata-Flavor", "Google")
			_, _ = fmt.Fprint(w, text())
		}
	}
	g.on(vmToken, flavoured(func() string {
		return fmt.Sprintf(`{"access_token":%q,"expires_in":%d,"token_type":"Bearer"}`, *g.token.Load(), g.expires.Load())
	}))
	g.on("/computeMetadata/v1/instance/service-accounts/default/email", flavoured(func() string { return "vm@acme-project.iam.gserviceaccount.com" }))
	g.on("/computeMetadata/v1/project/project-id", flavoured(func() string { return "acme-project" }))
	return g
}

// only lets requests with the token of now through.
func (g *google) only(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+*g.token.Load() {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprintf(w, `{"error":{"code":401,"message":"Request had invalid authentication credentials %s","status":"UNAUTHENTICATED"}}`, r.Header.Get("Authorization"))
			return
		}
		h(w, r)
	}
}

func (g *google) client(t *testing.T, change ...func(*source.Options)) *source.Fetcher {
	o := source.Options{Env: noEnv, Endpoints: source.Endpoints{GoogleMetadata: g.URL, GoogleToken: g.URL + "/token", SecretManager: g.URL, Storage: g.URL}}
	for _, c := range change {
		c(&o)
	}
	return source.New(o)
}

func sum32(data []byte) uint32 { return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)) }

func secretAnswer(version string, data []byte, sum uint32) string {
	return fmt.Sprintf(`{"name":"projects/123/secrets/edge/versions/%s","payload":{"data":%q,"dataCrc32c":"%d"}}`,
		version, base64.StdEncoding.EncodeToString(data), sum)
}

func TestSecretManager(t *testing.T) {
	_, key := pair(t)
	g := newGoogle(t)
	g.on(secretPath+"latest:access", g.only(said(secretAnswer("3", key, sum32(key)))))
	g.on(secretPath+"2:access", g.only(said(secretAnswer("2", key, sum32(key)))))
	s := g.client(t).For(source.Use{Field: source.Key})
	for _, ref := range []string{"sm://edge", "sm://acme-project/edge", "sm://edge@latest", "sm://acme-project/edge@2", "sm://edge?version=2", "sm://projects/acme-project/secrets/edge/versions/2"} {
		b := get(t, s, ref, "")
		if !bytes.Equal(b.Data, key) || b.Date.IsZero() || !get(t, s, ref, b.Version).NotModified {
			t.Errorf("%s: %+v", ref, b)
		}
	}
	if n := g.count("GET " + vmToken); n != 1 {
		t.Errorf("%d tokens were fetched", n)
	}
	fails(t, g.client(t).For(source.Use{}), "sm://edge", source.ErrKeyInChain)
	old := get(t, s, "sm://edge", "")
	_, next := pair(t) // a secret that was made anew counts its versions from 1 again
	g.on(secretPath+"latest:access", g.only(said(secretAnswer("3", next, sum32(next)))))
	if b := get(t, s, "sm://edge", old.Version); b.NotModified || !bytes.Equal(b.Data, next) {
		t.Error("other data under the old number counts as the old")
	}
}

func TestSecretManagerErrors(t *testing.T) {
	_, key := pair(t)
	g := newGoogle(t)
	s := g.client(t).For(source.Use{Field: source.Key})
	refuse := func(status int, state, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, `{"error":{"code":%d,"message":%q,"status":%q}}`, status, text, state)
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		class  error
		words  []string
	}{
		"missing":   {refuse(404, "NOT_FOUND", "Secret [projects/123/secrets/edge] not found"), source.ErrNotFound, []string{"Secret [projects/123"}},
		"forbidden": {refuse(403, "PERMISSION_DENIED", "Permission 'secretmanager.versions.access' denied"), source.ErrForbidden, []string{"secretmanager.versions.access", "roles/secretmanager.secretAccessor on edge in acme-project to vm@acme-project.iam"}},
		"disabled":  {refuse(400, "FAILED_PRECONDITION", "Secret Version is in DISABLED state."), source.ErrFailed, []string{"DISABLED"}},
		"limited":   {refuse(429, "RESOURCE_EXHAUSTED", "Quota exceeded"), source.ErrUnreachable, []string{"Quota", "1m0s"}},
		"trouble":   {refuse(503, "UNAVAILABLE", "try again"), source.ErrUnreachable, []string{"503"}},
		"crc":       {said(secretAnswer("3", key, sum32(key)+1)), source.ErrUnreachable, []string{"CRC32C"}},
		"no base64": {said(`{"name":"x","payload":{"data":"%%%"}}`), source.ErrFailed, []string{"base64"}},
		"no json":   {said("<html>"), source.ErrFailed, []string{"JSON"}},
		"nothing":   {said(`{}`), source.ErrWrongKind, []string{"nothing"}},
		"large":     {said(secretAnswer("3", make([]byte, source.MaxSize+1), sum32(make([]byte, source.MaxSize+1)))), source.ErrTooLarge, nil},
	} {
		t.Run(name, func(t *testing.T) {
			g.on(secretPath+"latest:access", g.only(c.answer))
			hides(t, fails(t, s, "sm://edge", c.class, c.words...), "ya29")
		})
	}
}

func TestGoogleTokens(t *testing.T) {
	_, key := pair(t)
	g := newGoogle(t)
	var now atomic.Pointer[time.Time]
	start := time.Now()
	now.Store(&start)
	g.on(secretPath+"latest:access", g.only(said(secretAnswer("3", key, sum32(key)))))
	s := g.client(t, func(o *source.Options) { o.Now = func() time.Time { return *now.Load() } }).For(source.Use{Field: source.Key})
	get(t, s, "sm://edge", "")
	second := "ya29.second" // the first was revoked
	g.token.Store(&second)
	get(t, s, "sm://edge", "")
	if n := g.count("GET " + vmToken); n != 2 {
		t.Errorf("%d tokens, want a second one after the first was refused", n)
	}
	later := start.Add(3599*time.Second - 30*time.Second) // shortly before its end
	now.Store(&later)
	get(t, s, "sm://edge", "")
	if n := g.count("GET " + vmToken); n != 3 {
		t.Errorf("%d tokens, want a third one before the second ends", n)
	}
	g.on(secretPath+"latest:access", code(401))
	before := g.count("GET " + secretPath + "latest:access")
	fails(t, s, "sm://edge", source.ErrForbidden, "401")
	if n := g.count("GET "+secretPath+"latest:access") - before; n != 2 {
		t.Errorf("asked %d times with tokens that nobody takes", n)
	}
}

func TestGoogleMetadataIsTheRealOne(t *testing.T) {
	g := newGoogle(t)
	s := g.client(t).For(source.Use{})
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		class  error
		words  []string
	}{
		"no flavour": {said(`{"access_token":"x","expires_in":3600}`), source.ErrForbidden, []string{"is not it"}},
		"no account": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Metadata-Flavor", "Google")
			w.WriteHeader(404)
		}, source.ErrForbidden, []string{"no service account"}},
		"no token": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Metadata-Flavor", "Google")
			_, _ = w.Write([]byte("{}"))
		}, source.ErrFailed, []string{"without a token"}},
		"torn": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, source.ErrUnreachable, []string{"no VM of Google's"}},
	} {
		t.Run(name, func(t *testing.T) {
			g.on(vmToken, c.answer)
			fails(t, s, "sm://acme-project/edge", c.class, c.words...)
		})
	}
	byName := source.New(source.Options{Env: noEnv, Endpoints: source.Endpoints{GoogleMetadata: "http://metadata.google.internal"}})
	fails(t, byName.For(source.Use{}), "sm://acme-project/edge", source.ErrRefused, "address")
	open := source.New(source.Options{Env: noEnv, Endpoints: source.Endpoints{GoogleMetadata: g.URL, SecretManager: "http://secretmanager.acme.com"}})
	fails(t, open.For(source.Use{}), "sm://acme-project/edge", source.ErrRefused, "https://")
}

// TestServiceAccount has the token service check the claim.
func TestServiceAccount(t *testing.T) {
	chain, _ := pair(t)
	g := newGoogle(t)
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	g.on(secretPath+"latest:access", g.only(said(secretAnswer("3", chain, sum32(chain)))))
	g.on("/token", func(w http.ResponseWriter, r *http.Request) {
		if why := checkClaim(r, &private.PublicKey, g.URL+"/token"); why != "" {
			w.WriteHeader(400)
			_, _ = fmt.Fprintf(w, `{"error":"invalid_grant","error_description":"%s %s"}`, why, r.FormValue("assertion"))
			return
		}
		_, _ = fmt.Fprintf(w, `{"access_token":%q,"expires_in":3599,"token_type":"Bearer"}`, *g.token.Load())
	})
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	sa := map[string]string{"type": "service_account", "client_email": "ci@acme-project.iam.gserviceaccount.com", "private_key_id": "k1", "project_id": "acme-project",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": g.URL + "/token"}
	client := func(mode os.FileMode, change ...string) source.Source {
		all := map[string]string{}
		for k, v := range sa {
			all[k] = v
		}
		for i := 0; i < len(change); i += 2 {
			all[change[i]] = change[i+1]
		}
		data, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		name := write(t, "sa.json", data, mode)
		return g.client(t, func(o *source.Options) { o.Env = envOf("GOOGLE_APPLICATION_CREDENTIALS", name) }).For(source.Use{})
	}
	get(t, client(0o600), "sm://edge", "")
	if n := g.count("GET " + vmToken); n != 0 {
		t.Error("the VM's account was asked although there is a key")
	}
	hides(t, fails(t, client(0o600, "client_email", "other@acme.com"), "sm://edge", source.ErrForbidden, "other@acme.com", "invalid_grant", "clock"), "eyJ")
	fails(t, client(0o600, "token_uri", "https://evil.com/token"), "sm://edge", source.ErrRefused, "token_uri")
	fails(t, client(0o600, "type", "authorized_user"), "sm://edge", source.ErrRefused, "service account")
	hides(t, fails(t, client(0o600, "private_key", "hushhush"), "sm://edge", source.ErrRefused, "no private key"), "hush")
	fails(t, client(0o644), "sm://edge", source.ErrRefused, "chmod 600")
}

func checkClaim(r *http.Request, key *rsa.PublicKey, audience string) string {
	if r.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		return "grant type"
	}
	parts := strings.Split(r.FormValue("assertion"), ".")
	if len(parts) != 3 {
		return "no JWT"
	}
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err != nil || rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig) != nil {
		return "signature"
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	var c struct {
		Iss, Scope, Aud string
		Iat, Exp        int64
	}
	if err != nil || json.Unmarshal(body, &c) != nil || c.Aud != audience || c.Exp-c.Iat != 3600 || !strings.HasSuffix(c.Scope, "/cloud-platform") {
		return "claims"
	}
	if c.Iss != "ci@acme-project.iam.gserviceaccount.com" {
		return "issuer"
	}
	return ""
}

func TestCloudStorage(t *testing.T) {
	chain, _ := pair(t)
	g := newGoogle(t)
	generation := "1700000000000001"
	damaged, packed := false, false
	g.on(object, g.only(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("alt") != "media" || r.URL.EscapedPath() != "/storage/v1/b/acme-pki/o/edge%2Fchain.pem" {
			w.WriteHeader(400)
			return
		}
		if q.Get("ifGenerationNotMatch") == generation {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		if g := q.Get("generation"); g != "" && g != generation {
			w.WriteHeader(404)
			_, _ = w.Write([]byte("No such object: acme-pki/edge/chain.pem"))
			return
		}
		var sum [4]byte
		binary.BigEndian.PutUint32(sum[:], sum32(chain))
		if damaged {
			sum[0]++
		}
		if packed {
			w.Header().Set("X-Goog-Stored-Content-Encoding", "gzip")
		}
		w.Header().Add("X-Goog-Hash", "crc32c="+base64.StdEncoding.EncodeToString(sum[:])+",md5=AAAA")
		w.Header().Set("X-Goog-Generation", generation)
		_, _ = w.Write(chain)
	}))
	s := g.client(t).For(source.Use{})
	const ref = "gs://acme-pki/edge/chain.pem"
	b := get(t, s, ref, "")
	if !bytes.Equal(b.Data, chain) || !get(t, s, ref, b.Version).NotModified {
		t.Error("the object is another, or new every time")
	}
	get(t, s, ref+"?generation="+generation, "")
	fails(t, s, ref+"?generation=5", source.ErrNotFound)
	fails(t, s, "gs://acme-pki/none", source.ErrNotFound)
	damaged = true
	fails(t, s, ref, source.ErrUnreachable, "CRC32C")
	packed = true // the hash is of the packed bytes then
	get(t, s, ref, "")
	g.says(object, 403, `{"error":{"code":403,"message":"vm@x does not have storage.objects.get access"}}`)
	fails(t, s, ref, source.ErrForbidden, "storage.objects.get", "roles/storage.objectViewer on the bucket acme-pki to vm@acme-project")
	g.says(object, 200, strings.Repeat("x", source.MaxSize+1))
	fails(t, s, ref, source.ErrTooLarge)
}
