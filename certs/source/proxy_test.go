package source_test

import (
	"net/http"
	"testing"

	"github.com/fairlead/fairlead/certs/source"
)

// TestProxyIsOnlyTheOneThatIsSet also has a proxy that the host named.
func TestProxyIsOnlyTheOneThatIsSet(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("https_proxy", "http://127.0.0.1:1")
	chain, _ := pair(t)
	f := newFake(t, true)
	f.says("/c", 200, string(chain))
	get(t, source.New(source.Options{AllowedHosts: []string{f.host()}}).For(source.Use{CA: f.ca()}), f.URL+"/c", "")

	tunnels := make(chan string, 10)
	proxy := newFake(t, false)
	proxy.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tunnels <- r.Method + " " + r.Host
		w.WriteHeader(http.StatusForbidden)
	})
	fails(t, source.New(source.Options{Proxy: proxy.URL}).For(source.Use{}), "https://pki.acme.com/c", source.ErrRefused, "allowedHosts")
	s := source.New(source.Options{Proxy: proxy.URL, AllowedHosts: []string{"pki.acme.com"}}).For(source.Use{})
	fails(t, s, "https://pki.acme.com/c", source.ErrUnreachable)
	if got := <-tunnels; got != "CONNECT pki.acme.com:443" {
		t.Errorf("the proxy was asked for %q", got)
	}
}

// TestThisMachineIsAskedPastTheProxy has a Vault agent on loopback.
func TestThisMachineIsAskedPastTheProxy(t *testing.T) {
	chain, _ := pair(t)
	v, _ := newVault(t, map[string]any{"chain": string(chain)})
	o := source.Options{Proxy: "http://127.0.0.1:1", Vault: source.Vault{Address: v.URL, TokenFile: write(t, "token", []byte("hvs.first"), 0o600)}}
	get(t, source.New(o).For(source.Use{}), vaultRef, "")
	o.Vault.Address = "https://vault.acme.com:8200"
	fails(t, source.New(o).For(source.Use{}), vaultRef, source.ErrUnreachable, "127.0.0.1:1")
}
