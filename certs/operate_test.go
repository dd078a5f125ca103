package certs_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/certs"
	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// deaf are servers that take every signal and do nothing.
type deaf struct{ signals chan string }

func (d deaf) Signal(_ context.Context, instance, service, signal string) (int, error) {
	select {
	case d.signals <- instance + " " + service + " " + signal:
	default:
	}
	return 1, nil
}

func (d deaf) Addresses(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

// A proxy that ignores its signal: the certificate is served by the front and is
// never called live. When the proxy shows it, it is.
func TestServersAreProved(t *testing.T) {
	t.Parallel()
	servers := deaf{make(chan string, 100)}
	h, ca := furnished(t, func(h *host) { h.opts.Servers = servers })
	other, _ := furnished(t)
	m := other.Manager // what the proxy has
	proxy := newLoad(t, func() *certs.Manager { return m }, 0)
	tls := filepath.Join(filepath.Dir(h.dir), "tls")
	spec := byRequest(ca)
	spec.Deliver = []desired.Delivery{{Dir: tls, Formats: []string{"pem", "combined"}}}
	spec.Reload = []desired.Reloader{{Service: "caddy", Signal: "SIGUSR1", Prove: portOf(proxy.addr), Within: 200 * time.Millisecond}}
	h.want(spec)
	h.sync()
	s := h.stands(reconciler.CertificateDegraded, "NotServed")
	if len(s.Targets) != 2 || !s.Targets[0].OK || s.Targets[1].OK || len(servers.signals) == 0 {
		t.Errorf("targets %+v", s.Targets)
	}
	if _, live, _ := h.Certificate(inst, name, domain); !live {
		t.Error("what the front serves does not count as live")
	}
	h.sync()
	h.once(certs.ReasonNotServed, "caddy")
	if string(read(t, tls, "fullchain.pem")) != string(pemOf(h.leaf(), ca.ca)) {
		t.Error("the directory has another chain")
	}
	must(t, os.Remove(filepath.Join(tls, "privkey.pem")))
	h.sync()
	h.once(certs.ReasonDrift, tls)
	m = h.Manager // the proxy was restarted
	must(t, os.Remove(filepath.Join(tls, "fullchain.pem")))
	h.sync()
	h.stands(reconciler.CertificateLive, "")
	h.once(certs.ReasonServed, "everywhere")
}

func portOf(addr string) string { return addr[strings.LastIndexByte(addr, ':'):] }

// One source that does not answer keeps nobody waiting: no other certificate,
// not Set, not handshakes, and not the end.
func TestNobodyWaitsForAnother(t *testing.T) {
	t.Parallel()
	web := newSite(t)
	h := newHost(t, web.with, func(h *host) { h.opts.Every = 20 * time.Millisecond })
	ca := newAuthority(t, h.now())
	asked, stuck := make(chan bool, 100), make(chan bool)
	slow := newSite(t)
	slow.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- true
		<-stuck
	})
	t.Cleanup(func() { close(stuck) })
	quick, hangs := byRequest(ca), byRequest(ca)
	hangs.Fullchain, hangs.CA = slow.URL+"/chain.pem", hangs.CA+string(pemOf(slow.Certificate()))
	h.opts.Fetch = slowFetch(h, slow, web)
	h.Manager = certs.New(h.opts)
	want := reconciler.WantedCertificates{ByName: map[string]desired.CertificateSpec{name: quick, "hangs": hangs}}
	h.Set(inst, want)
	h.run()
	<-asked
	req, err := h.Request(inst, name)
	must(t, err)
	h.put("CHAIN", pemOf(ca.answer(req.PEM, h.now(), h.now().Add(90*day)), ca.ca))
	must(t, h.Renew(t.Context(), inst, name, false))
	all := h.Certificates(inst)
	if len(all) != 2 || all[0].Name != name || all[0].Phase != reconciler.CertificateLive || all[1].Phase != reconciler.CertificateAwaitsIssuer {
		t.Errorf("status %+v", all)
	}
	if c, _, err := h.Certificate(inst, "hangs", domain); err != nil || !pair.IsSelfSigned(c.Leaf) {
		t.Errorf("the one whose source hangs is not served: %v", err)
	}
	delete(want.ByName, name)
	h.Set(inst, want)
	if n := len(h.Certificates(inst)); n != 1 {
		t.Errorf("%d certificates after Set, want 1", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := h.Renew(ctx, inst, "hangs", false); err == nil {
		t.Error("it was renewed while its source hangs")
	}
	h.stop()
}

// To try a source publishes nothing and tells all that is wrong.
func TestTryASource(t *testing.T) {
	h, ca := furnished(t)
	before := h.leaf()
	try := func(test certs.Test) certs.Report {
		t.Helper()
		r, err := h.Test(t.Context(), inst, test)
		must(t, err)
		return r
	}
	r := try(certs.Test{URL: "env://CHAIN", Certificate: name})
	if !r.OK() || !r.KeyChecked || len(r.Chain) != 2 || r.Chain[0].SPKI != pair.SPKI(before.PublicKey) || r.Bytes == 0 || r.Version == "" {
		t.Errorf("report %+v", r)
	}
	h.put("OTHER", pemOf(ca.ca, ca.issue(newKey(t).Public(), h.now(), h.now().Add(day), "else.acme.com")))
	r = try(certs.Test{URL: "env://OTHER", Certificate: name})
	codes := func(ps []pair.Problem) (out []pair.Code) {
		for _, p := range ps {
			out = append(out, p.Code)
		}
		return out
	}
	if got := codes(r.Problems); !slices.Contains(got, pair.KeyMismatch) || !slices.Contains(got, pair.NamesMissing) {
		t.Errorf("problems %v", got)
	}
	r = try(certs.Test{URL: "env://OTHER", Domains: []string{"else.acme.com"}})
	if r.KeyChecked || !slices.Equal(codes(r.Problems), []pair.Code{pair.ChainIncomplete}) || r.Chain[0].Names[0] != "else.acme.com" {
		t.Errorf("without a key: %+v", r)
	}
	key := newKey(t)
	h.put("KEY", keyPEM(t, key))
	h.put("LEAK", append(pemOf(before), keyPEM(t, key)...))
	r = try(certs.Test{URL: "env://LEAK", Certificate: name})
	if !slices.Equal(codes(r.Problems), []pair.Code{pair.KeyInChain}) || strings.Contains(fmt.Sprintf("%+v", r), "PRIVATE KEY-") {
		t.Errorf("a leak: %+v", r)
	}
	r = try(certs.Test{URL: "env://CHAIN", Privkey: "env://KEY", Certificate: name})
	if !slices.Contains(codes(r.Problems), pair.KeyMismatch) || len(r.Warnings) == 0 {
		t.Errorf("with a key by reference: %+v", r)
	}
	if _, err := h.Test(t.Context(), inst, certs.Test{URL: "env://NONE"}); err == nil {
		t.Error("nothing was fetched, and that is no error")
	}
	if _, err := h.Test(t.Context(), inst, certs.Test{URL: "env://CHAIN", Certificate: "none"}); err == nil {
		t.Error("there is no such certificate")
	}
	h.serves(before)
	h.stands(reconciler.CertificateLive, "")
	if len(h.told(certs.ReasonRefused)) > 0 {
		t.Error("a try was reported")
	}
}

func TestMetrics(t *testing.T) {
	h, ca := furnished(t)
	spec := byRequest(ca)
	spec.Deliver = []desired.Delivery{{Dir: filepath.Join(filepath.Dir(h.dir), "tls")}}
	h.Set(inst, reconciler.WantedCertificates{ByName: map[string]desired.CertificateSpec{name: spec}, Hosts: []string{name}})
	h.sync()
	r := prometheus.NewPedanticRegistry()
	must(t, r.Register(h.Manager))
	families, err := r.Gather()
	must(t, err)
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := ""
			for _, l := range m.GetLabel() {
				labels += "," + l.GetValue()
			}
			got[f.GetName()+labels] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	leaf := h.leaf()
	for what, want := range map[string]float64{
		"fairlead_cert_not_after_timestamp_seconds,data,acme":                                 float64(leaf.NotAfter.Unix()),
		"fairlead_cert_not_before_timestamp_seconds,data,acme":                                float64(leaf.NotBefore.Unix()),
		"fairlead_cert_phase,data,acme,Live,":                                                 1,
		"fairlead_cert_phase,_data,acme,SelfSigned,":                                          1,
		"fairlead_cert_generation,data,acme":                                                  2,
		"fairlead_cert_publish_total,data,acme":                                               2,
		"fairlead_cert_fetch_total,acme,ok,env":                                               2,
		"fairlead_cert_fetch_total,acme,not_found,env":                                        1,
		"fairlead_cert_clock_suspect":                                                         0,
		"fairlead_cert_observed_match,data,acme," + filepath.Join(filepath.Dir(h.dir), "tls"): 1,
	} {
		if have, there := got[what]; !there || have != want {
			t.Errorf("%s is %v (%t), want %v", what, have, there, want)
		}
	}
	if t.Failed() {
		t.Logf("there are %v", got)
	}
}

// No byte of a key, no token and no password is in what is told, shown, logged
// or remembered.
func TestNothingSecretLeaves(t *testing.T) {
	h, ca := furnished(t)
	spec := byRequest(ca)
	spec.Deliver = []desired.Delivery{{Dir: "/nonexistent/tls", Password: "swordfish", Formats: []string{"p12"}}}
	spec.Bearer, spec.BearerToken = "TOKEN", "swordfish"
	spec.ACME = &desired.ACMESpec{Issuers: []desired.ACMEIssuer{{Directory: "http://ca.acme.com", EABKeyID: "id", EABKey: "swordfish"}},
		DNS: &desired.ACMEDNS{Provider: "hetzner", With: map[string]string{"api_token": "swordfish", "wrong": "swordfish"}}}
	h.want(spec)
	if h.Sync(t.Context(), inst) == nil {
		t.Error("a wrong request is no error")
	}
	h.memory.mu.Lock()
	defer h.memory.mu.Unlock()
	key := strings.Split(string(read(t, h.dir, inst, name, "key.pem")), "\n")[1]
	all := fmt.Sprintf("%+v %+v %+v", h.status(), h.events, h.memory.data)
	for _, data := range h.memory.data {
		all += string(data)
	}
	for _, secret := range []string{"swordfish", key} {
		if strings.Contains(all, secret) {
			t.Errorf("%s is in\n%s", secret, all)
		}
	}
}
