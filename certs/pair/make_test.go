package pair_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/certs/pair"
)

func TestKeys(t *testing.T) {
	for _, a := range []pair.Algorithm{pair.RSA2048, pair.RSA3072, pair.P256, pair.P384, pair.Ed25519} {
		key := newKey(t, a)
		if got := pair.AlgorithmOf(key.Public()); got != a {
			t.Errorf("%s is a %s", a, got)
		}
		back, err := pair.ParseKey(keyText(t, key))
		if err != nil || pair.SPKI(back.Public()) != pair.SPKI(key.Public()) {
			t.Errorf("%s: %v", a, err)
		}
	}
	if _, err := pair.NewKey("p224"); err == nil || !strings.Contains(err.Error(), "use rsa2048") {
		t.Errorf("p224: %v", err)
	}
}

func TestCovers(t *testing.T) {
	for _, tc := range []struct {
		names  []string
		domain string
		want   bool
	}{
		{[]string{"data.acme.com"}, "data.acme.com", true},
		{[]string{"DATA.acme.com"}, "data.Acme.com.", true},
		{[]string{"*.acme.com"}, "data.acme.com", true},
		{[]string{"*.acme.com"}, "acme.com", false},
		{[]string{"*.acme.com"}, "a.data.acme.com", false},
		{[]string{"*.acme.com"}, "*.acme.com", true},
		{[]string{"*.acme.com"}, "*.data.acme.com", false},
		{[]string{"data.acme.com"}, "*.acme.com", false},
		{[]string{"d*.acme.com"}, "data.acme.com", false},
		{[]string{"data.*.com"}, "data.acme.com", false},
		{[]string{"*.com"}, "acme.com", false},
		{[]string{"*"}, "acme", false},
		{[]string{"a.b", "c.d"}, "c.d", true},
		{[]string{"192.0.2.1"}, "192.0.2.1", true},
		{[]string{"192.0.2.1"}, "192.0.2.2", false},
		{[]string{"2001:db8::1"}, "2001:DB8:0::1", true},
		{nil, "a.b", false},
	} {
		c := &x509.Certificate{}
		names(tc.names...)(c)
		if got := pair.Covers(c, tc.domain); got != tc.want {
			t.Errorf("%v covers %s: %t", tc.names, tc.domain, got)
		}
	}
	// An address that is written as a name is none.
	if pair.Covers(&x509.Certificate{DNSNames: []string{"192.0.2.1"}}, "192.0.2.1") {
		t.Error("took an address from the names")
	}
}

// What Covers takes, the verification of crypto/x509 takes too.
func TestCoversIsNoLaxerThanGo(t *testing.T) {
	part := rapid.SampledFrom([]string{"a", "b", "*", "com", "a*", "xn--bcher-kva", "A"})
	name := rapid.Custom(func(r *rapid.T) string { return strings.Join(rapid.SliceOfN(part, 1, 4).Draw(r, "parts"), ".") })
	rapid.Check(t, func(r *rapid.T) {
		c := &x509.Certificate{DNSNames: rapid.SliceOfN(name, 0, 3).Draw(r, "names")}
		domain := name.Draw(r, "domain")
		if pair.Covers(c, domain) && c.VerifyHostname(domain) != nil {
			r.Fatalf("%v covers %s only here", c.DNSNames, domain)
		}
	})
}

func TestDomains(t *testing.T) {
	got, err := pair.Domains([]string{"B.com.", "a.com", "b.com", "*.a.com", "192.0.2.1", "::ffff:192.0.2.1", "localhost"})
	if want := []string{"*.a.com", "192.0.2.1", "a.com", "b.com", "localhost"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range [][]string{nil, {""}, {"a..b"}, {"-a.b"}, {"a.*.b"}, {"bücher.de"}, {"a b"}, {"fe80::1%eth0"}, {strings.Repeat("a.", 130) + "b"}} {
		if got, err := pair.Domains(bad); err == nil {
			t.Errorf("%q gives %v", bad, got)
		}
	}
}

func TestSubject(t *testing.T) {
	for s, want := range map[string]pair.Subject{
		"/CN=data.acme.com":               {{{"CN", "data.acme.com"}}},
		"/C=CZ/O=Acme/CN=x":               {{{"C", "CZ"}}, {{"O", "Acme"}}, {{"CN", "x"}}},
		`/O=Acme\/Sub\+1\\/CN=a=b`:        {{{"O", `Acme/Sub+1\`}}, {{"CN", "a=b"}}},
		"/OU=Data+CN=x/DC=corp/OU=y":      {{{"OU", "Data"}, {"CN", "x"}}, {{"DC", "corp"}}, {{"OU", "y"}}},
		"/O=Žlutý kůň, s.r.o./CN=x":       {{{"O", "Žlutý kůň, s.r.o."}}, {{"CN", "x"}}},
		"/emailAddress=ops@acme.com/UID=": nil, "": nil, "CN=x": nil, "/": nil, "/CN": nil, "/CN=": nil, "/CN=x/": nil, "/CN=x+": nil, "//CN=x": nil,
		"/C=cz": nil, "/C=CZE": nil, "/X=y": nil, "/cn=x": nil, `/CN=x\`: nil, "/CN=a\nb": nil, "/CN=\xff": nil, "/emailAddress=é@x": nil, "/serialNumber=a@b": nil,
		"/CN=" + strings.Repeat("x", 65): nil, `/C\=CZ`: nil, "/O=" + strings.Repeat("a/O=", 2000): nil,
	} {
		got, err := pair.ParseSubject(s)
		if want == nil {
			if err == nil {
				t.Errorf("%q gives %v", s, got)
			}
			continue
		}
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) || got.String() != s {
			t.Errorf("%q gives %q, %v", s, got, err)
		}
	}
}

// What openssl req -subj '/C=CZ/O=Acme/CN=data.acme.com' encodes.
func TestSubjectIsEncodedAsOpensslDoes(t *testing.T) {
	subject, err := pair.ParseSubject("/C=CZ/O=Acme/CN=data.acme.com")
	if err != nil {
		t.Fatal(err)
	}
	req := request(t, mustCSR(t, subject, "data.acme.com"))
	got := fmt.Sprintf("%x", req.RawSubject)
	// SEQUENCE of SETs: C as PrintableString (13), O and CN as UTF8String (0c).
	if got != "3034"+"310b3009060355040613"+"02435a"+"310d300b060355040a0c"+"0441636d65"+"3116301406035504030c"+"0d646174612e61636d652e636f6d" {
		t.Errorf("encoded as %s", got)
	}
}

func mustCSR(t *testing.T, subject pair.Subject, domains ...string) []byte {
	t.Helper()
	csr, err := pair.CSR(testRSA(t), subject, domains)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func request(t *testing.T, csr []byte) *x509.CertificateRequest {
	t.Helper()
	b, _ := pem.Decode(csr)
	if b == nil || b.Type != "CERTIFICATE REQUEST" {
		t.Fatalf("no request: %s", csr)
	}
	req, err := x509.ParseCertificateRequest(b.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func TestCSR(t *testing.T) {
	subject, err := pair.ParseSubject("/C=CZ/O=Acme/OU=Data+OU=Lake/CN=data.acme.com")
	if err != nil {
		t.Fatal(err)
	}
	domains := []string{"data.acme.com", "*.api.acme.com", "192.0.2.7"}
	csr := mustCSR(t, subject, domains...)
	req := request(t, csr)
	if req.CheckSignature() != nil || !slices.Equal(req.DNSNames, []string{"*.api.acme.com", "data.acme.com"}) || len(req.IPAddresses) != 1 {
		t.Errorf("names %v %v", req.DNSNames, req.IPAddresses)
	}
	if got := req.Subject; got.CommonName != "data.acme.com" || !slices.Equal(got.OrganizationalUnit, []string{"Data", "Lake"}) {
		t.Errorf("subject %v", got)
	}
	pub := testRSA(t).Public()
	reordered := []string{"192.0.2.7", "DATA.acme.com", "*.api.acme.com", "data.acme.com."}
	if err := pair.CSRMatches(csr, pub, subject, reordered); err != nil {
		t.Errorf("the same in another order: %v", err)
	}
	for name, err := range map[string]error{
		"its key":     pair.CSRMatches(csr, newKey(t, pair.P256).Public(), subject, domains),
		"its subject": pair.CSRMatches(csr, pub, subject[1:], domains),
		"its names":   pair.CSRMatches(csr, pub, subject, domains[:2]),
		"nothing":     pair.CSRMatches(nil, pub, subject, domains),
		"half of it":  pair.CSRMatches(csr[:200], pub, subject, domains),
	} {
		if err == nil {
			t.Errorf("matches although %s differs", name)
		}
	}
	if key, err := pair.CSRKey(csr); err != nil || pair.SPKI(key) != pair.SPKI(pub) {
		t.Errorf("key of the request: %v", err)
	}
	for want, domains := range map[string][]string{
		"z.com": {"Z.com.", "a.com"}, "d.e": {"192.0.2.7", "*.b.c", "d.e"}, "*.b.c": {"*.b.c"}, "": {strings.Repeat("a.", 32) + "long.com"},
	} {
		if got := request(t, mustCSR(t, nil, domains...)).Subject.CommonName; got != want {
			t.Errorf("of %v the common name is %q", domains, got)
		}
	}
}

// strict is what webpki, which rustls uses, and other strict clients ask of a
// server's certificate beyond what Go does.
func strict(t *testing.T, c *x509.Certificate) {
	t.Helper()
	bc := slices.IndexFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.String() == "2.5.29.19" })
	switch {
	case c.Version != 3 || c.IsCA || !c.BasicConstraintsValid || bc < 0 || !c.Extensions[bc].Critical:
		t.Error("it does not say CA:FALSE, critically")
	case c.KeyUsage&x509.KeyUsageDigitalSignature == 0 || c.KeyUsage&x509.KeyUsageCertSign != 0:
		t.Errorf("key usage %b", c.KeyUsage)
	case !slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}):
		t.Errorf("extended key usage %v", c.ExtKeyUsage)
	case c.SerialNumber.Sign() <= 0 || c.SerialNumber.BitLen() > 159 || c.SerialNumber.BitLen() < 64:
		t.Errorf("serial number %v", c.SerialNumber)
	case len(c.UnhandledCriticalExtensions) > 0:
		t.Error("it has critical extensions that clients do not know")
	}
}

func TestSelfSigned(t *testing.T) {
	for _, signer := range []crypto.Signer{newKey(t, pair.P256), testRSA(t)} {
		p, err := pair.SelfSigned(signer, []string{"data.acme.com", "*.acme.com", "192.0.2.7"}, now, 0)
		if err != nil {
			t.Fatal(err)
		}
		leaf := p.Leaf()
		strict(t, leaf)
		for _, d := range []string{"data.acme.com", "x.acme.com", "192.0.2.7"} {
			if _, err := leaf.Verify(x509.VerifyOptions{DNSName: d, Roots: pool(leaf), CurrentTime: now}); err != nil {
				t.Errorf("%s: %v", d, err)
			}
		}
		if !leaf.NotBefore.Equal(now.Add(-time.Hour)) || !leaf.NotAfter.Equal(now.Add(30*day)) || !p.SelfSigned() {
			t.Errorf("from %v until %v", leaf.NotBefore, leaf.NotAfter)
		}
		if due := pair.RenewSelfSignedAt(leaf); !due.Equal(now.Add(20 * day)) {
			t.Errorf("due %v", due)
		}
		again, err := pair.Load(p.Fullchain(), keyText(t, signer))
		if err != nil || !again.SelfSigned() {
			t.Errorf("read back, it is not known as self-signed: %v", err)
		}
		next, err := pair.SelfSigned(signer, []string{"data.acme.com"}, now, time.Hour)
		if err != nil || next.Leaf().SerialNumber.Cmp(leaf.SerialNumber) == 0 {
			t.Errorf("serial number twice: %v", err)
		}
	}
	if _, err := pair.SelfSigned(testRSA(t), nil, now, 0); err == nil {
		t.Error("made one for no domain")
	}
}

// A certificate that only bears the name of ours is not ours.
func TestIsSelfSigned(t *testing.T) {
	c := newCompany(t)
	named := c.between.issue(t, c.key, func(x *x509.Certificate) { x.Subject.Organization = []string{"Fairlead, self-signed"} })
	if pair.IsSelfSigned(named) || pair.IsSelfSigned(c.leaf) || pair.IsSelfSigned(c.root.cert) || pair.IsSelfSigned(nil) {
		t.Error("took another's certificate for ours")
	}
}

func TestDue(t *testing.T) {
	for _, tc := range []struct{ life, due time.Duration }{
		{90 * day, 60 * day}, {10 * day, 160 * time.Hour}, {160 * time.Hour, 80 * time.Hour}, {time.Minute, 30 * time.Second},
	} {
		c := &x509.Certificate{NotBefore: now, NotAfter: now.Add(tc.life), Raw: []byte("x")}
		if got := pair.DueAt(c).Sub(now); got != tc.due {
			t.Errorf("%v is due after %v, want %v", tc.life, got, tc.due)
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		life := time.Duration(rapid.Int64Range(0, int64(1000*day)).Draw(r, "life"))
		c := &x509.Certificate{NotBefore: now, NotAfter: now.Add(life), Raw: rapid.SliceOf(rapid.Byte()).Draw(r, "raw")}
		seed := rapid.String().Draw(r, "seed")
		at, due := pair.RenewAt(c, seed), pair.DueAt(c)
		if at.After(due) || due.Sub(at) > life/20 || !at.Equal(pair.RenewAt(c, seed)) {
			r.Fatalf("due %v, renewed %v", due, at)
		}
	})
	c := &x509.Certificate{NotBefore: now, NotAfter: now.Add(90 * day), Raw: []byte("x")}
	early, late := 0, 0
	for i := range 200 {
		if pair.DueAt(c).Sub(pair.RenewAt(c, fmt.Sprint("host", i))) > 90*day/40 {
			early++
		} else {
			late++
		}
	}
	if early < 60 || late < 60 {
		t.Errorf("of 200 hosts %d early and %d late", early, late)
	}
}

func TestFormats(t *testing.T) {
	c := newCompany(t)
	p, err := pair.New([]*x509.Certificate{c.leaf, c.between.cert}, c.key)
	if err != nil {
		t.Fatal(err)
	}
	p12, err := p.PKCS12("s3cret")
	if err != nil {
		t.Fatal(err)
	}
	if back, err := pair.LoadPKCS12(p12, "s3cret"); err != nil || !back.Equal(p) {
		t.Errorf("PKCS #12: %v", err)
	}
	for _, bad := range [][]byte{nil, p12[:len(p12)/2], []byte("x")} {
		if _, err := pair.LoadPKCS12(bad, "s3cret"); err == nil {
			t.Errorf("read %d bytes", len(bad))
		}
	}
	if _, err := pair.LoadPKCS12(p12, "other"); err == nil || strings.Contains(err.Error(), "other") && strings.Contains(err.Error(), "s3cret") {
		t.Errorf("another password: %v", err)
	}
	combined, err := p.Combined()
	if err != nil || !bytes.HasPrefix(combined, text(c.leaf, c.between.cert)) || !bytes.HasSuffix(combined, keyText(t, c.key)) {
		t.Errorf("combined: %v", err)
	}
	if got := p.TLS(); len(got.Certificate) != 2 || got.Leaf != p.Leaf() {
		t.Errorf("for crypto/tls: %d certificates", len(got.Certificate))
	}
}

func TestPairsBelongTogether(t *testing.T) {
	c := newCompany(t)
	for name, chain := range map[string][]*x509.Certificate{
		"none": nil, "wrong order": {c.between.cert, c.leaf}, "gap": {c.leaf, c.root.cert}, "twice": {c.leaf, c.leaf},
	} {
		if _, err := pair.New(chain, c.key); err == nil {
			t.Errorf("%s: made a pair", name)
		}
	}
	if _, err := pair.New([]*x509.Certificate{c.leaf}, newKey(t, pair.P256)); err == nil {
		t.Error("made a pair with another's key")
	}
	var none pair.Pair
	if !none.IsZero() || none.Leaf() != nil || none.SelfSigned() || none.TLS() != nil || !none.Equal(pair.Pair{}) || none.ValidAt(now) {
		t.Error("the zero pair is something")
	}
	for name, err := range map[string]error{
		"key": second(none.PrivateKey()), "combined": second(none.Combined()), "p12": second(none.PKCS12("")),
	} {
		if err == nil {
			t.Errorf("%s: wrote the zero pair", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestPairsDoNotPrintTheirKey(t *testing.T) {
	for _, key := range []crypto.Signer{testRSA(t), newKey(t, pair.Ed25519)} {
		p, err := pair.SelfSigned(key, []string{"a.b"}, now, 0)
		if err != nil {
			t.Fatal(err)
		}
		as, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		field := struct{ p pair.Pair }{p} // of which fmt asks no method
		printed := fmt.Sprintf("%v %+v %#v %s %q %x %d %v", p, p, p, p, p, p, p, []any{&p, struct{ P pair.Pair }{p}}) + string(as) +
			fmt.Sprintf("%v %+v %#v %x %s", field, field, field, field, field)
		if !strings.Contains(printed, "CN=a.b") {
			t.Errorf("prints as %.300s", printed)
		}
		holdsNoNumbers(t, printed, key)
	}
}

// holdsNoNumbers fails when a private number is printed, in any base.
func holdsNoNumbers(t *testing.T, printed string, key crypto.Signer) {
	t.Helper()
	var forms []string
	switch k := key.(type) {
	case *rsa.PrivateKey:
		forms = []string{k.D.String()[:20], k.D.Text(16)[:20], k.Primes[0].String()[:20], strings.Trim(fmt.Sprint(k.D.Bytes()[:6]), "[]")}
	case ed25519.PrivateKey:
		forms = []string{fmt.Sprintf("%x", []byte(k.Seed()[:8])), strings.Trim(fmt.Sprint([]byte(k.Seed()[:6])), "[]")}
	}
	for _, f := range forms {
		if strings.Contains(printed, f) {
			t.Errorf("the key is printed: %.500s", printed)
		}
	}
}
