package source_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/fairlead/fairlead/certs/source"
)

const (
	vaultSecret = "/v1/secret/data/tls/edge"
	vaultLogin  = "/v1/auth/approle/login"
	vaultRef    = "vault://secret/tls/edge"
)

// newVault speaks what the documentation of Vault's key-value store, version 2,
// and of AppRole says.
func newVault(t *testing.T, data map[string]any) (f *fake, token *atomic.Pointer[string]) {
	f, token = newFake(t, false), new(atomic.Pointer[string])
	first := "hvs.first"
	token.Store(&first)
	f.on(vaultSecret, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Vault-Token") != *token.Load() || r.Header.Get("X-Vault-Request") != "true" {
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprintf(w, `{"errors":["permission denied for %s"]}`, r.Header.Get("X-Vault-Token"))
			return
		}
		version := 7
		if v := r.URL.Query().Get("version"); v == "2" {
			w.WriteHeader(http.StatusNotFound)
			_, _ = fmt.Fprint(w, `{"data":{"data":null,"metadata":{"deletion_time":"2026-01-01T00:00:00Z","destroyed":false,"version":2}}}`)
			return
		}
		answer := map[string]any{"data": map[string]any{"data": data, "metadata": map[string]any{"version": version, "deletion_time": "", "destroyed": false}}}
		_ = json.NewEncoder(w).Encode(answer)
	})
	f.on(vaultLogin, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != `{"role_id":"role1","secret_id":"hush-hush"}` {
			w.WriteHeader(400)
			_, _ = fmt.Fprintf(w, `{"errors":["invalid role or secret ID %s"]}`, body)
			return
		}
		_, _ = fmt.Fprintf(w, `{"auth":{"client_token":%q,"lease_duration":1200,"renewable":true}}`, *token.Load())
	})
	return f, token
}

func TestVault(t *testing.T) {
	chain, key := pair(t)
	v, token := newVault(t, map[string]any{"chain": string(chain), "key": string(key), "n": 1})
	file := write(t, "token", []byte("hvs.first\n"), 0o640)
	f := source.New(source.Options{Vault: source.Vault{Address: v.URL + "/", TokenFile: file}})
	s := f.For(source.Use{})
	b := get(t, s, vaultRef+"?field=chain", "")
	if !bytes.Equal(b.Data, chain) || !get(t, s, vaultRef+"?field=chain", b.Version).NotModified {
		t.Error("the chain is another, or new every time")
	}
	if k := get(t, f.For(source.Use{Field: source.Key}), vaultRef+"?field=key&version=7", ""); !bytes.Equal(k.Data, key) {
		t.Error("another key")
	}
	fails(t, s, vaultRef, source.ErrWrongKind, "3 fields", "?field=")
	fails(t, s, vaultRef+"?field=n", source.ErrWrongKind, "not a text")
	fails(t, s, vaultRef+"?field=x", source.ErrNotFound, "field")
	fails(t, s, vaultRef+"?field=chain&version=2", source.ErrNotFound, "version 2", "deleted")
	fails(t, s, vaultRef+"?field=key", source.ErrKeyInChain)
	v.says("/v1/secret/data/none", 404, `{"errors":[]}`)
	fails(t, s, "vault://secret/none", source.ErrNotFound)
	v.says("/v1/secret/data/old", 200, `{"data":{"chain":"x"}}`)
	fails(t, s, "vault://secret/old", source.ErrWrongKind, "version 2")
	v.says("/v1/secret/data/sealed", 503, `{"errors":["Vault is sealed"]}`)
	fails(t, s, "vault://secret/sealed", source.ErrUnreachable, "Vault is sealed")
	second := "hvs.second"
	token.Store(&second)
	hides(t, fails(t, s, vaultRef+"?field=chain", source.ErrForbidden, "permission denied", "read on secret/data/tls/edge", file), "hvs.first")
	if n := v.count("GET " + vaultSecret); n < 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestVaultAppRole(t *testing.T) {
	chain, _ := pair(t)
	v, token := newVault(t, map[string]any{"chain": string(chain)})
	role, secret := write(t, "role", []byte("role1"), 0o600), write(t, "secret", []byte("hush-hush\n"), 0o600)
	o := source.Options{Vault: source.Vault{Address: v.URL, RoleIDFile: role, SecretIDFile: secret, Namespace: "acme"}}
	s := source.New(o).For(source.Use{})
	get(t, s, vaultRef, "") // the only field needs no name
	get(t, s, vaultRef, "")
	if n := v.count("POST " + vaultLogin); n != 1 {
		t.Errorf("%d logins", n)
	}
	second := "hvs.second" // the first was revoked
	token.Store(&second)
	get(t, s, vaultRef, "")
	if n := v.count("POST " + vaultLogin); n != 2 {
		t.Errorf("%d logins", n)
	}
	bad := o
	bad.Vault.SecretIDFile = write(t, "secret", []byte("wrong-one"), 0o600)
	hides(t, fails(t, source.New(bad).For(source.Use{}), vaultRef, source.ErrForbidden, "secret ID"), "wrong-one", "role1")
	bad.Vault.SecretIDFile = write(t, "secret", []byte("wrong-one"), 0o604)
	fails(t, source.New(bad).For(source.Use{}), vaultRef, source.ErrRefused, "chmod 600")
	bad.Vault.SecretIDFile = write(t, "secret", []byte("two lines\nhere"), 0o600)
	fails(t, source.New(bad).For(source.Use{}), vaultRef, source.ErrRefused, "on one line")
	fails(t, source.New(source.Options{Vault: source.Vault{Address: v.URL}}).For(source.Use{}), vaultRef, source.ErrRefused, "no login")
	fails(t, source.New(source.Options{Vault: source.Vault{RoleIDFile: role, SecretIDFile: secret}}).For(source.Use{}), vaultRef, source.ErrRefused, "where Vault is")
	open := o
	open.Vault.Address = "http://vault.acme.com:8200"
	fails(t, source.New(open).For(source.Use{}), vaultRef, source.ErrRefused, "https://")
}
