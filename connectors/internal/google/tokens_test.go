package google

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fairlead/fairlead/connectors"
)

const scope = "https://www.googleapis.com/auth/devstorage.read_only"

// service is a token service that checks claims with the public key, and a
// metadata server.
type service struct {
	t      *testing.T
	key    *rsa.PrivateKey
	life   int
	flavor string
	given  atomic.Int32
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/token" && r.Method == http.MethodPost:
		if err := s.check(r); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprintf(w, `{"error": "invalid_grant", "error_description": %q}`, err.Error())
			return
		}
	case r.URL.Path == "/computeMetadata/v1/instance/service-accounts/default/token" && r.Header.Get("Metadata-Flavor") == "Google":
		if r.URL.Query().Get("scopes") != scope {
			s.t.Errorf("scopes are %s", r.URL.RawQuery)
		}
		w.Header().Set("Metadata-Flavor", s.flavor)
	default:
		http.NotFound(w, r)
		return
	}
	_, _ = fmt.Fprintf(w, `{"access_token": "token-%d", "expires_in": %d, "token_type": "Bearer"}`, s.given.Add(1), s.life)
}

func (s *service) check(r *http.Request) error {
	if r.PostFormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		return fmt.Errorf("grant_type")
	}
	parts := strings.Split(r.PostFormValue("assertion"), ".")
	if len(parts) != 3 {
		return fmt.Errorf("no JWT")
	}
	signature, _ := base64.RawURLEncoding.DecodeString(parts[2])
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(&s.key.PublicKey, crypto.SHA256, sum[:], signature); err != nil {
		return err
	}
	var claim struct{ Iss, Scope, Aud string }
	body, _ := base64.RawURLEncoding.DecodeString(parts[1])
	if err := json.Unmarshal(body, &claim); err != nil || claim.Scope != scope || claim.Iss != "reader@p.iam" || !strings.HasSuffix(claim.Aud, "/token") {
		return fmt.Errorf("claim %s, %v", body, err)
	}
	return nil
}

func start(t *testing.T) (*service, string, string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := &service{t: t, key: key, life: 3600, flavor: "Google"}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server.URL, keyFile(t, key, server.URL+"/token")
}

func keyFile(t *testing.T, key *rsa.PrivateKey, tokenURI string) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{"type": "service_account", "client_email": "reader@p.iam", "project_id": "p", "private_key_id": "1", "token_uri": tokenURI,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTokensAreKeptUntilTheyEnd(t *testing.T) {
	for _, who := range []string{"key", "machine"} {
		s, url, key := start(t)
		if who == "machine" {
			key = ""
		}
		tokens, err := New(Options{Key: key, Scopes: []string{scope}, Token: url + "/token", Metadata: url})
		if err != nil {
			t.Fatal(err)
		}
		defer tokens.Close()
		get := func(want string) {
			t.Helper()
			if got, err := tokens.Get(t.Context()); err != nil || got != want {
				t.Errorf("%s: %s, %v, want %s", who, got, err, want)
			}
		}
		get("token-1")
		get("token-1")
		tokens.Drop("token-0")
		get("token-1")
		s.life = 30 // less than is spared: not kept
		tokens.Drop("token-1")
		get("token-2")
		get("token-3")
	}
}

func TestWhatIsNotGoogleIsNotBelieved(t *testing.T) {
	s, url, key := start(t)
	s.flavor = ""
	tokens, err := New(Options{Scopes: []string{scope}, Metadata: url})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.Get(t.Context()); err == nil || connectors.Hint(err) == "" || !strings.Contains(err.Error(), "not Google's") {
		t.Errorf("a metadata server without its flavour: %v", err)
	}
	if _, err := New(Options{Key: key, Scopes: []string{scope}}); err == nil || !strings.Contains(err.Error(), "token_uri") {
		t.Errorf("a key of another token service: %v", err)
	}
	if _, err := New(Options{Key: "{s3cret}", Scopes: []string{scope}}); err == nil || strings.Contains(err.Error(), "s3cret") || connectors.Hint(err) == "" {
		t.Errorf("no key: %v", err)
	}
}

// TestRefusedKeysAreSaid: what the service says is told, the claim is not.
func TestRefusedKeysAreSaid(t *testing.T) {
	s, url, key := start(t)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s.key = other
	tokens, err := New(Options{Key: key, Scopes: []string{scope}, Token: url + "/token"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = tokens.Get(t.Context())
	if err == nil || !strings.Contains(err.Error(), "reader@p.iam") || !strings.Contains(err.Error(), "invalid_grant") || connectors.Hint(err) == "" || strings.Contains(err.Error(), "eyJ") {
		t.Errorf("the error is %v, %s", err, connectors.Hint(err))
	}
}
