package source_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead/fairlead/certs/source"
	"github.com/fairlead/fairlead/reconciler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestManyAtOnce wants one token for all that wait for it.
func TestManyAtOnce(t *testing.T) {
	chain, _ := pair(t)
	g := newGoogle(t)
	g.on(secretPath+"latest:access", g.only(said(secretAnswer("3", chain, sum32(chain)))))
	s := g.client(t).For(source.Use{})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := s.Fetch(t.Context(), "sm://edge", ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := g.count("GET " + vmToken); n != 1 {
		t.Errorf("%d tokens were fetched", n)
	}
}

// FuzzAnswers has services answer anything at all, their caller's credentials
// included, and wants data of the right kind or one line without a secret.
func FuzzAnswers(f *testing.F) {
	const secret, query = "t0p-s3cret-token", "hushhush"
	for _, status := range []int{200, 204, 301, 304, 400, 401, 403, 404, 410, 429, 500, 503} {
		f.Add(status, "ECHO", "Sun, 22 Nov 2099 10:00:00 GMT")
		f.Add(status, `{"error":{"code":"x","message":"ECHO"}}`, "90")
		f.Add(status, `{"errors":["ECHO"],"__type":"a#ThrottlingException","message":"ECHO"}`, "90")
		f.Add(status, `<Error><Code>AccessDenied</Code><Message>ECHO https://x/y?sig=ECHO</Message></Error>`, "90")
		f.Add(status, `{"payload":{"data":"RUNITw=="},"value":"ECHO","SecretString":"ECHO","data":{"data":{"a":"ECHO"},"metadata":{"version":1}}}`, "90")
	}
	var mu sync.Mutex
	status, body, retry := 200, "", ""
	server := &fake{}
	server.start(f, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/imds/metadata/identity/oauth2/token" || strings.HasPrefix(r.URL.Path, "/computeMetadata/") {
			w.Header().Set("Metadata-Flavor", "Google")
			_, _ = fmt.Fprintf(w, `{"access_token":%q,"expires_in":"3600"}`, secret)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		said := strings.Join(append(r.Header.Values("Authorization"), r.Header.Get("X-Vault-Token"), r.Header.Get("X-Amz-Security-Token"), secret, "?sig="+query), " ")
		w.Header().Set("Location", "https://other/x?"+query)
		w.Header().Set("X-Ms-Error-Code", secret)
		w.Header().Set("Retry-After", retry)
		w.Header().Set("ETag", retry)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(strings.ReplaceAll(body, "ECHO", said)))
	}), false)
	token := write(f, "token", []byte(secret), 0o600)
	client := source.New(source.Options{
		AllowedHosts: []string{server.host()}, Vault: source.Vault{Address: server.URL, TokenFile: token},
		Env: envOf("AWS_ACCESS_KEY_ID", "AKIA", "AWS_SECRET_ACCESS_KEY", "x"+secret, "AWS_SESSION_TOKEN", secret, "AWS_REGION", "eu-central-1"),
		Endpoints: source.Endpoints{SecretManager: server.URL, Storage: server.URL, GoogleMetadata: server.URL, AzureMetadata: server.URL + "/imds",
			AzureBlob: server.URL + "/{account}", KeyVault: server.URL + "/{vault}", S3: server.URL, SecretsManager: server.URL},
	})
	refs := []string{"sm://acme-project/edge", "gs://acme-pki/chain.pem", "s3://acme-pki/chain.pem", "awssm://edge", "azblob://acmestore/tls/x", "azkv://acme-vault/edge", "vault://secret/edge"}
	f.Fuzz(func(t *testing.T, s int, b, after string) {
		if s < 200 || s > 599 || len(b)+len(after) > 4096 {
			return
		}
		mu.Lock()
		status, body, retry = s, b, after
		mu.Unlock()
		for _, ref := range refs {
			got, err := client.For(source.Use{}).Fetch(t.Context(), ref, "")
			if err == nil {
				if s != 200 || !strings.Contains(string(got.Data), "CERTIFICATE") {
					t.Fatalf("%s: %d %q gives %q", ref, s, b, got.Data)
				}
				continue
			}
			if d, limited := reconciler.RetryDelay(err); limited && (d < time.Second || d > time.Hour) {
				t.Fatalf("%s: %d %q waits %s", ref, s, after, d)
			}
			text := err.Error()
			if got.Data != nil || strings.Contains(text, secret) || strings.Contains(text, query) || strings.ContainsAny(text, "\r\n\x00") || len(text) > 1200 {
				t.Fatalf("%s: %d %q gives %q", ref, s, b, text)
			}
		}
	})
}
