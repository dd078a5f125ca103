package source_test

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead/fairlead/certs/source"
)

// azure speaks what the documentation of the metadata service, Blob Storage and
// Key Vault says.
type azure struct {
	*fake
	token atomic.Pointer[string]
}

const (
	azureToken = "/metadata/identity/oauth2/token"
	azureBlob  = "/acmestore/tls/edge/chain.pem"
	azureKey   = "/acme-vault/secrets/edge"
)

func newAzure(t *testing.T) *azure {
	a := &azure{fake: newFake(t, false)}
	first := "eyJ.first"
	a.token.Store(&first)
	a.on(azureToken, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case r.Header.Get("Metadata") != "true" || q.Get("api-version") != "2018-02-01":
			w.WriteHeader(400)
			_, _ = fmt.Fprint(w, `{"error":"invalid_request","error_description":"Required metadata header not specified"}`)
		case q.Get("client_id") == "unknown":
			w.WriteHeader(400)
			_, _ = fmt.Fprint(w, `{"error":"invalid_request","error_description":"Identity not found"}`)
		default:
			_, _ = fmt.Fprintf(w, `{"access_token":%q,"client_id":"c1","expires_in":"86399","resource":%q,"token_type":"Bearer"}`, a.tokenFor(q.Get("resource")), q.Get("resource"))
		}
	})
	return a
}

// tokenFor is a token for one resource.
func (a *azure) tokenFor(resource string) string {
	return *a.token.Load() + base64.RawURLEncoding.EncodeToString([]byte(resource))
}

func (a *azure) only(resource string, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+a.tokenFor(resource) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprintf(w, `{"error":{"code":"Unauthorized","message":"AKV10032 %s"}}`, r.Header.Get("Authorization"))
			return
		}
		h(w, r)
	}
}

func (a *azure) client(id string) *source.Fetcher {
	return source.New(source.Options{Env: noEnv, Azure: source.Azure{ClientID: id}, Endpoints: source.Endpoints{
		AzureMetadata: a.URL, AzureBlob: a.URL + "/{account}", KeyVault: a.URL + "/{vault}/"}})
}

func TestBlobStorage(t *testing.T) {
	chain, _ := pair(t)
	a := newAzure(t)
	damaged := false
	a.on(azureBlob, a.only("https://storage.azure.com/", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Ms-Version") == "" {
			w.WriteHeader(400)
			return
		}
		if v := r.URL.Query().Get("versionid"); v != "" && v != "2026-11-22T10:00:00.1234567Z" {
			w.Header().Set("X-Ms-Error-Code", "BlobNotFound")
			w.WriteHeader(404)
			return
		}
		w.Header().Set("ETag", `"0x8D"`)
		if r.Header.Get("If-None-Match") == `"0x8D"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		sum := md5.Sum(chain)
		if damaged {
			sum[0]++
		}
		w.Header().Set("Content-MD5", base64.StdEncoding.EncodeToString(sum[:]))
		_, _ = w.Write(chain)
	}))
	s := a.client("").For(source.Use{})
	const ref = "azblob://acmestore/tls/edge/chain.pem"
	b := get(t, s, ref, "")
	if !bytes.Equal(b.Data, chain) || !get(t, s, ref, b.Version).NotModified {
		t.Error("the blob is another, or new every time")
	}
	get(t, s, ref+"?version=2026-11-22T10:00:00.1234567Z", "")
	fails(t, s, ref+"?version=2020-11-22T10:00:00.1234567Z", source.ErrNotFound, "BlobNotFound")
	damaged = true
	fails(t, s, ref, source.ErrUnreachable, "MD5")
	damaged = false
	second := "eyJ.second"
	a.token.Store(&second)
	get(t, s, ref, "")
	if n := a.count("GET " + azureToken); n != 2 {
		t.Errorf("%d tokens, want a second one after the first was refused", n)
	}
	before := a.count("GET " + azureToken) // a token that ended gets a 403 too, of another code
	a.says(azureBlob, 403, "", "X-Ms-Error-Code", "AuthenticationFailed")
	fails(t, s, ref, source.ErrForbidden, "AuthenticationFailed")
	if n := a.count("GET "+azureToken) - before; n != 1 {
		t.Errorf("%d tokens, want a new one", n)
	}
	a.says(azureBlob, 403, `<?xml version="1.0"?><Error><Code>AuthorizationPermissionMismatch</Code></Error>`, "X-Ms-Error-Code", "AuthorizationPermissionMismatch")
	fails(t, s, ref, source.ErrForbidden, "AuthorizationPermissionMismatch", "Storage Blob Data Reader on the container tls of acmestore", "client ID c1")
	a.says(azureBlob, 503, "", "X-Ms-Error-Code", "ServerBusy", "Retry-After", "7")
	waits(t, fails(t, s, ref, source.ErrUnreachable, "ServerBusy"), 7*time.Second)
	a.says(azureBlob, 200, strings.Repeat("x", source.MaxSize+1))
	fails(t, s, ref, source.ErrTooLarge)
}

func TestKeyVault(t *testing.T) {
	chain, key := pair(t)
	a := newAzure(t)
	value, kind := string(key), ""
	const resource = "https://vault.azure.net"
	answer := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "api-version=7.4" {
			w.WriteHeader(400)
			return
		}
		_, _ = fmt.Fprintf(w, `{"value":%q,"id":"https://acme-vault.vault.azure.net/secrets/edge/0123abcd","contentType":%q,"attributes":{"enabled":true}}`, value, kind)
	}
	a.says(azureKey, 404, `{"error":{"code":"SecretNotFound","message":"A secret with (name/id) edge was not found"}}`)
	s := a.client("").For(source.Use{Field: source.Key})
	const ref = "azkv://acme-vault/edge"
	fails(t, s, ref, source.ErrNotFound, "SecretNotFound")
	a.on(azureKey, a.only(resource, answer))
	a.on(azureKey+"/0123abcd", a.only(resource, answer))
	for _, r := range []string{ref, ref + "/0123abcd"} {
		b := get(t, s, r, "")
		if !bytes.Equal(b.Data, key) || !get(t, s, r, b.Version).NotModified {
			t.Errorf("%s: another key, or new every time", r)
		}
	}
	value, kind = string(key)+string(chain), "application/x-pem-file" // a certificate of the vault
	if b := get(t, s, ref, ""); !bytes.Equal(b.Data, key) {
		t.Errorf("key is %d bytes", len(b.Data))
	}
	if b := get(t, a.client("").For(source.Use{}), ref, ""); !bytes.Equal(b.Data, chain) {
		t.Errorf("chain is %d bytes", len(b.Data))
	}
	kind = "" // not one of the vault's own: somebody put the key into the chain
	fails(t, a.client("").For(source.Use{}), ref, source.ErrKeyInChain)
	kind = "application/x-pkcs12"
	fails(t, s, ref, source.ErrWrongKind, "PKCS#12", "application/x-pem-file")
	for status, c := range map[int]struct {
		body  string
		class error
		word  string
	}{
		403: {`{"error":{"code":"Forbidden","message":"Caller is not authorized to perform action on resource."}}`, source.ErrForbidden, "Key Vault Secrets User on acme-vault to the managed identity of this VM (client ID c1)"},
		404: {`{"error":{"code":"SecretNotFound","message":"not found"}}`, source.ErrNotFound, "SecretNotFound"},
		429: {`{"error":{"code":"Throttled","message":"too many"}}`, source.ErrUnreachable, "1m0s"},
		500: {``, source.ErrUnreachable, "500"},
	} {
		a.says(azureKey, status, c.body)
		fails(t, s, ref, c.class, c.word)
	}
}

func TestAzureMetadata(t *testing.T) {
	a := newAzure(t)
	const ref = "azkv://acme-vault/edge"
	fails(t, a.client("unknown").For(source.Use{}), ref, source.ErrForbidden, "Identity not found", "managed identity")
	for name, c := range map[string]struct {
		say   http.HandlerFunc
		class error
		words []string
	}{
		"updating":  {code(410), source.ErrUnreachable, []string{"updated"}},
		"missing":   {code(404), source.ErrUnreachable, []string{"updated"}},
		"limited":   {code(429), source.ErrUnreachable, []string{"1m0s"}},
		"trouble":   {code(500), source.ErrUnreachable, []string{"500"}},
		"no token":  {said(`{"expires_in":"10"}`), source.ErrFailed, []string{"without a token"}},
		"no end":    {said(`{"access_token":"x","expires_in":"later"}`), source.ErrFailed, nil},
		"no json":   {said(`<html>`), source.ErrFailed, []string{"JSON"}},
		"elsewhere": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, source.ErrUnreachable, []string{"no VM of Azure's"}},
	} {
		t.Run(name, func(t *testing.T) {
			a.on(azureToken, c.say)
			fails(t, a.client("").For(source.Use{}), ref, c.class, c.words...)
		})
	}
}
