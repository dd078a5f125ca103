package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/examples/ports"
)

// pebble is the real one, as scripts/pebble.sh built it, which comes to the
// front's ports of a world, and is trusted there. It returns its directory.
func (c *corporation) pebble() (directory string) {
	c.t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		c.t.Fatal(err)
	}
	program := filepath.Join(cache, "fairlead", "pebble-v2.10.1")
	if _, err := os.Stat(program); err != nil {
		c.t.Fatalf("Pebble is missing, run scripts/pebble.sh: %v", err)
	}
	listen, manage := ports.Address(c.t), ports.Address(c.t)
	key := p256(c.t)
	server := leafOf("", time.Now().Add(24*time.Hour))
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		c.t.Fatal(err)
	}
	settings, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": manage,
		"certificate": c.write("pebble.pem", certPEM(signed(c.t, server, c.ca, key.Public(), c.key))+certPEM(c.ca)),
		"privateKey":  c.write("pebble.key", pemText("PRIVATE KEY", der)),
		"httpPort":    portOf(c.t, c.plain), "tlsPort": portOf(c.t, c.https), "keyAlgorithm": "ecdsa",
		"retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles":   map[string]any{"default": map[string]any{"description": "default", "validityPeriod": 90 * 24 * 3600}},
	}})
	if err != nil {
		c.t.Fatal(err)
	}
	cmd, out := exec.Command(program, "-strict", "-config", c.write("pebble.json", string(settings)), "-dnsserver", loopbackNames(c.t)), &syncBuffer{}
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_AUTHZREUSE=0")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be gone
		_ = cmd.Wait()
		if c.t.Failed() {
			c.t.Logf("Pebble said:\n%s", out)
		}
	})
	pool := x509.NewCertPool()
	pool.AddCert(c.root)
	client := &http.Client{Timeout: limit, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool}}}
	var root []byte
	waitFor(c.t, "Pebble shows its root", func() bool {
		resp, err := client.Get("https://" + manage + "/roots/0")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		root, err = io.ReadAll(resp.Body)
		return err == nil && resp.StatusCode == http.StatusOK
	})
	c.write("roots.pem", certPEM(c.root)+string(root))
	c.write("agent.yaml", fmt.Sprintf("front: {https: %q, http: %q}\nfetch: {allowedHosts: [%q], caFile: %q}\n", c.https, c.plain, listen, filepath.Join(c.dir, "roots.pem")))
	return "https://" + listen + "/dir"
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return atoi(port)
}

// loopbackNames is a name server by which every name leads to this machine.
func loopbackNames(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)}}
		}
		_ = w.WriteMsg(m) // who asked will ask again
	})}
	ended := make(chan error, 1)
	go func() { ended <- srv.ActivateAndServe() }()
	t.Cleanup(func() {
		if err := errors.Join(srv.Shutdown(), <-ended); err != nil {
			t.Logf("name server: %v", err)
		}
	})
	return l.Addr().String()
}

// TestACMEByTheDaemon has the real Pebble come to the daemon's own ports, for an
// instance that has no route.
func TestACMEByTheDaemon(t *testing.T) {
	t.Parallel()
	for _, challenge := range []string{"http-01", "tls-alpn-01"} {
		t.Run(challenge, func(t *testing.T) {
			t.Parallel()
			c := newCorporation(t)
			directory := c.pebble()
			out := filepath.Join(c.dir, "tls")
			c.begin(c.instance("certificates:\n  www:\n    domains: [" + certHost + "]\n    acme: {directory: \"" + directory + "\", profile: default, challenges: [" +
				challenge + "]}\n    deliver: [{dir: " + out + "}]\n"))
			c.start()
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("daemon:\n%s", c.must(0, "events").stdout)
				}
			})
			waitFor(t, "it is issued and delivered", func() bool {
				r := c.run("cert", "show", "www") // which does not know it before the first pass
				return r.code == 0 && strings.HasPrefix(r.stdout, "acme/www  Live")
			})
			s := c.certificate("www")
			if s.Source != directory || s.SelfSigned || !strings.Contains(s.Issuer, "Pebble") {
				t.Errorf("it is %+v", s)
			}
			if _, err := os.Stat(filepath.Join(out, "fullchain.pem")); err != nil {
				t.Error(err)
			}
			if conn, err := net.Dial("tcp", c.https); err != nil || conn.Close() != nil {
				t.Errorf("the door is shut: %v", err)
			}
			says(t, c.must(0, "cert", "renew", "www"), "www")
			waitFor(t, "it is renewed", func() bool { return c.certificate("www").Generation == 2 })
			c.commit("Do without", acme("1"))
			c.must(0, "apply")
			waitFor(t, "the doors are shut", func() bool {
				conn, err := net.Dial("tcp", c.https)
				return err != nil || conn.Close() != nil
			})
		})
	}
}
