package acme

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/certs/acme/dns01"
	"github.com/fairlead/fairlead/examples/ports"
)

const bindZone = `$TTL 60
@   IN SOA ns.zone.test. ops.zone.test. ( 1 60 60 3600 1 )
    IN NS  ns.zone.test.
ns  IN A   127.0.0.1
_acme-challenge.alias IN CNAME _acme-challenge.data
`

const bindConf = `options {
	directory "%[1]s"; pid-file "%[1]s/named.pid"; session-keyfile "%[1]s/session.key"; lock-file none;
	listen-on port %[2]s { 127.0.0.1; }; listen-on-v6 { none; };
	recursion no; dnssec-validation no; notify no; empty-zones-enable no;
};
controls { };
key "updates" { algorithm hmac-sha256; secret "%[3]s"; };
zone "zone.test" { type primary; file "%[1]s/zone.db"; update-policy { grant updates name _acme-challenge.zone.test. TXT; grant updates name _acme-challenge.data.zone.test. TXT; }; };
`

// bind runs a real BIND with a zone whose records are changed by a key.
func bind(t *testing.T) (addr, secret string) {
	t.Helper()
	named, err := exec.LookPath("named")
	if err != nil {
		named = "/usr/sbin/named"
	}
	dir, raw := t.TempDir(), make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	secret, addr = base64.StdEncoding.EncodeToString(raw), ports.Address(t)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "zone.db", []byte(bindZone))
	conf := write(t, dir, "named.conf", fmt.Appendf(nil, bindConf, dir, port, secret))
	cmd, log := exec.Command(named, "-g", "-n", "1", "-c", conf), &buffer{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("run named (Debian package bind9): %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be gone
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("named said:\n%s", log)
		}
	})
	eventually(t, "named answers", func() bool {
		_, err := ask(addr, "zone.test.", dns.TypeSOA)
		return err == nil
	})
	return addr, secret
}

func ask(addr, name string, what uint16) ([]dns.RR, error) {
	m := new(dns.Msg).SetQuestion(name, what)
	answer, _, err := (&dns.Client{Net: "tcp", Timeout: 20 * time.Second}).Exchange(m, addr)
	if err != nil {
		return nil, err
	}
	return answer.Answer, nil
}

// TestDNS01ByUpdate gets a certificate for a name and its wildcard, which need
// two TXT records of one name, by dynamic updates of a real BIND.
func TestDNS01ByUpdate(t *testing.T) {
	t.Parallel()
	addr, secret := bind(t)
	ca := newAuthority(t, pebbleConf{Resolver: addr})
	provider, err := dns01.New("rfc2136", map[string]string{"server": addr, "key_name": "updates", "key_alg": "hmac-sha256", "key": secret})
	if err != nil {
		t.Fatal(err)
	}
	k := keep(t, nil, Options{})
	k.ensure(Request{Domains: []string{"zone.test", "*.zone.test", "data.zone.test"}, Issuers: []Issuer{ca.issuer()},
		DNS: &DNS{Provider: provider, Resolvers: []string{addr}, TTL: time.Minute, Timeout: 30 * time.Second}})
	r := leaf(t, k.await(1))
	if err := r.leaf.VerifyHostname("anything.zone.test"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"_acme-challenge.zone.test.", "_acme-challenge.data.zone.test."} {
		if left, err := ask(addr, name, dns.TypeTXT); err != nil || len(left) != 0 {
			t.Errorf("%s: records stay: %v, %v", name, left, err)
		}
	}
	if text := k.log.String(); bytes.Contains([]byte(text), []byte(secret)) {
		t.Error("the key of the updates is in the log")
	}
}

// TestDNS01Delegated proves a name whose record is an alias of one that the key
// may change.
func TestDNS01Delegated(t *testing.T) {
	t.Parallel()
	addr, secret := bind(t)
	ca := newAuthority(t, pebbleConf{Resolver: addr})
	provider, err := dns01.New("rfc2136", map[string]string{"server": addr, "key_name": "updates", "key": secret})
	if err != nil {
		t.Fatal(err)
	}
	k := keep(t, nil, Options{})
	k.ensure(Request{Domains: []string{"alias.zone.test"}, Issuers: []Issuer{ca.issuer()},
		DNS: &DNS{Provider: provider, Resolvers: []string{addr}, Delegate: "_acme-challenge.data.zone.test"}})
	k.await(1)
	if n := k.log.count("certificate was not issued"); n != 0 {
		t.Errorf("%d tries failed", n)
	}
}

// TestDNS01Refused says what the name server said.
func TestDNS01Refused(t *testing.T) {
	t.Parallel()
	addr, secret := bind(t)
	ca := newAuthority(t, pebbleConf{Resolver: addr})
	provider, err := dns01.New("rfc2136", map[string]string{"server": addr})
	if err != nil {
		t.Fatal(err)
	}
	k := keep(t, nil, Options{Backoff: []time.Duration{time.Hour}})
	k.ensure(Request{Domains: []string{"data.zone.test"}, Issuers: []Issuer{ca.issuer()}, DNS: &DNS{Provider: provider, Resolvers: []string{addr}}})
	eventually(t, "the refusal is in the status", func() bool {
		f := k.one().Failures
		return len(f) == 1 && strings.Contains(f[0].Error, "REFUSED")
	})
	// Who mends the settings need not wait for an hour.
	if provider, err = dns01.New("rfc2136", map[string]string{"server": addr, "key_name": "updates", "key": secret}); err != nil {
		t.Fatal(err)
	}
	k.ensure(Request{Domains: []string{"data.zone.test"}, Issuers: []Issuer{ca.issuer()}, DNS: &DNS{Provider: provider, Resolvers: []string{addr}}})
	k.await(1)
}
