package dns01

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

var tsigAlgorithms = map[string]string{
	"": dns.HmacSHA256, "hmac-sha1": dns.HmacSHA1, "hmac-sha224": dns.HmacSHA224, "hmac-sha256": dns.HmacSHA256,
	"hmac-sha384": dns.HmacSHA384, "hmac-sha512": dns.HmacSHA512,
}

// rfc2136 sends dynamic updates, signed by a shared key (RFC 8945) if there is
// one.
type rfc2136 struct {
	server, key, algorithm string
	client                 *dns.Client
}

func openRFC2136(s settings) (backend, error) {
	r := &rfc2136{server: s["server"], client: &dns.Client{Net: "tcp", Timeout: 10 * time.Second}}
	if _, _, err := net.SplitHostPort(r.server); err != nil {
		r.server = net.JoinHostPort(strings.Trim(r.server, "[]"), "53")
	}
	if (s["key_name"] == "") != (s["key"] == "") {
		return nil, errors.New("key_name and key go together")
	}
	if s["key_name"] == "" {
		return r, nil
	}
	var known bool
	if r.algorithm, known = tsigAlgorithms[strings.ToLower(strings.TrimSuffix(s["key_alg"], "."))]; !known {
		return nil, fmt.Errorf("key_alg %q is none of hmac-sha1, -sha224, -sha256, -sha384, -sha512", s["key_alg"])
	}
	if _, err := base64.StdEncoding.DecodeString(s["key"]); err != nil {
		return nil, errors.New("key is not base64")
	}
	r.key = dns.Fqdn(strings.ToLower(s["key_name"]))
	r.client.TsigSecret = map[string]string{r.key: s["key"]}
	return r, nil
}

func (r *rfc2136) add(ctx context.Context, t txt) error {
	return r.send(ctx, t, func(m *dns.Msg, rr []dns.RR) { m.Insert(rr) })
}

func (r *rfc2136) remove(ctx context.Context, t txt) error {
	return r.send(ctx, t, func(m *dns.Msg, rr []dns.RR) { m.Remove(rr) })
}

func (r *rfc2136) send(ctx context.Context, t txt, put func(*dns.Msg, []dns.RR)) error {
	m := new(dns.Msg)
	m.SetUpdate(dns.Fqdn(t.zone))
	put(m, []dns.RR{&dns.TXT{
		Hdr: dns.RR_Header{Name: dns.Fqdn(t.name), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: uint32(t.ttl)},
		Txt: []string{t.value},
	}})
	if r.key != "" {
		m.SetTsig(r.key, r.algorithm, 300, time.Now().Unix())
	}
	answer, _, err := r.client.ExchangeContext(ctx, m, r.server)
	if err != nil {
		return fmt.Errorf("update zone %s at %s: %w", t.zone, r.server, err)
	}
	if answer.Rcode != dns.RcodeSuccess {
		return fmt.Errorf("update zone %s at %s: it answers %s", t.zone, r.server, dns.RcodeToString[answer.Rcode])
	}
	return nil
}
