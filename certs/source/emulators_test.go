//go:build emulators

// These tests ask emulators that others made, which emulators.sh starts. They
// are not part of the usual run, since the emulators come from registries and
// weigh more than everything else here.
package source_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/fairlead/fairlead/certs/source"
)

// send makes one request and wants success, or what is there already.
func send(t *testing.T, c *http.Client, method, url string, body []byte, pairs ...string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		req.Header.Set(pairs[i], pairs[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode/100 != 2 && resp.StatusCode != http.StatusConflict {
		t.Fatalf("%s %s: %s", method, url, resp.Status)
	}
}

// whole fetches, finds nothing new, and finds the next content.
func whole(t *testing.T, s source.Source, ref string, put func(chain []byte)) {
	t.Helper()
	chain, _ := pair(t)
	put(chain)
	b := get(t, s, ref, "")
	if !bytes.Equal(b.Data, chain) || b.Date.IsZero() {
		t.Errorf("%s: another chain, dated %s", ref, b.Date)
	}
	if !get(t, s, ref, b.Version).NotModified {
		t.Errorf("%s: new every time", ref)
	}
	chain, _ = pair(t)
	put(chain)
	if next := get(t, s, ref, b.Version); !bytes.Equal(next.Data, chain) {
		t.Errorf("%s: the next chain was not noticed", ref)
	}
}

func TestFakeGCSServer(t *testing.T) {
	base := os.Getenv("EMULATOR_GCS")
	g := newGoogle(t)
	s := source.New(source.Options{Env: noEnv, Endpoints: source.Endpoints{GoogleMetadata: g.URL, Storage: base}}).For(source.Use{})
	send(t, http.DefaultClient, "POST", base+"/storage/v1/b?project=acme", []byte(`{"name":"acme-pki"}`), "Content-Type", "application/json")
	const ref = "gs://acme-pki/edge/chain%20one%2Bä.pem"
	whole(t, s, ref, func(chain []byte) {
		send(t, http.DefaultClient, "POST", base+"/upload/storage/v1/b/acme-pki/o?uploadType=media&name=edge/chain%20one%2B%C3%A4.pem", chain, "Content-Type", "text/plain")
	})
	fails(t, s, "gs://acme-pki/none", source.ErrNotFound)
	fails(t, s, "gs://none/none", source.ErrNotFound)
	fails(t, s, ref+"?generation=5", source.ErrNotFound)
}

// TestS3rver has an S3 that reads the form and the time of a signature, but not
// the signature itself: that is TestSignV4's.
func TestS3rver(t *testing.T) {
	base := os.Getenv("EMULATOR_S3")
	id := [3]string{"S3RVER", "S3RVER", ""}
	env := envOf("AWS_ACCESS_KEY_ID", id[0], "AWS_SECRET_ACCESS_KEY", id[1], "AWS_REGION", "us-east-1")
	o := source.Options{Env: env, Endpoints: source.Endpoints{S3: base}}
	s := source.New(o).For(source.Use{})
	const ref, path = "s3://acme-pki/edge/chain%20one+ä.pem", "/acme-pki/edge/chain%20one%2B%C3%A4.pem"
	whole(t, s, ref, func(chain []byte) {
		h := http.Header{}
		auth, err := source.Sign("PUT", base+path, h, id[0], id[1], "us-east-1", "s3", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		send(t, http.DefaultClient, "PUT", base+path, chain, "Authorization", auth, "X-Amz-Date", h.Get("X-Amz-Date"), "X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	})
	fails(t, s, "s3://acme-pki/none", source.ErrNotFound, "NoSuchKey")
	fails(t, s, "s3://other-bucket/none", source.ErrNotFound, "bucket")
	o.Now = func() time.Time { return time.Now().Add(time.Hour) }
	fails(t, source.New(o).For(source.Use{}), ref, source.ErrForbidden, "NTP")
	o.Now, o.Env = nil, envOf("AWS_ACCESS_KEY_ID", "NOBODY", "AWS_SECRET_ACCESS_KEY", "x", "AWS_REGION", "us-east-1")
	fails(t, source.New(o).For(source.Use{}), ref, source.ErrForbidden, "InvalidAccessKeyId")
}

// TestAzurite has Microsoft's own emulator look at audience, issuer and end of
// the tokens.
func TestAzurite(t *testing.T) {
	base, ca := os.Getenv("EMULATOR_AZURE"), os.Getenv("EMULATOR_AZURE_CA")
	trusted, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(trusted)
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}}
	put := func(path string, body []byte, pairs ...string) {
		send(t, c, "PUT", base+"/devstoreaccount1/tls"+path, body, append(pairs, "Authorization", "Bearer "+jwtFor("https://storage.azure.com/", time.Hour), "X-Ms-Version", "2021-12-02")...)
	}
	put("?restype=container", nil)
	imds := newFake(t, false)
	lasts := -time.Minute // the first token has ended, whatever it was said to last
	imds.on(azureToken, func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `{"access_token":%q,"expires_in":"3600"}`, jwtFor(r.URL.Query().Get("resource"), lasts))
		lasts = time.Hour
	})
	o := source.Options{Env: noEnv, CAFile: ca, Endpoints: source.Endpoints{AzureMetadata: imds.URL, AzureBlob: base + "/{account}"}}
	s := source.New(o).For(source.Use{})
	whole(t, s, "azblob://devstoreaccount1/tls/edge/chain%20one%2Bä.pem", func(chain []byte) {
		put("/edge/chain%20one%2B%C3%A4.pem", chain, "X-Ms-Blob-Type", "BlockBlob")
	})
	if n := imds.count("GET " + azureToken); n != 2 {
		t.Errorf("%d tokens, want a second one after the first was refused", n)
	}
	fails(t, s, "azblob://devstoreaccount1/tls/none", source.ErrNotFound, "BlobNotFound")
	fails(t, s, "azblob://devstoreaccount1/none/none", source.ErrNotFound, "ContainerNotFound")
}

// jwtFor is a token as Azurite reads it: it does not check who signed it.
func jwtFor(audience string, lasts time.Duration) string {
	past := time.Now().Add(-2 * time.Hour).Unix()
	claims, err := json.Marshal(map[string]any{"aud": audience, "iss": "https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/",
		"nbf": past, "iat": past, "exp": time.Now().Add(lasts).Unix(), "ver": "1.0"})
	if err != nil {
		panic(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + enc(claims) + ".c2ln"
}
