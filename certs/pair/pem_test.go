package pair_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/certs/pair"
)

// testRSA is one key of 2048 bits for all tests: they take long to make.
var testRSAOnce = sync.OnceValues(func() (crypto.Signer, error) { return pair.NewKey(pair.RSA2048) })

func testRSA(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := testRSAOnce()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// holdsNoSecret fails when a message quotes a key in any form.
func holdsNoSecret(t testing.TB, message string, secret []byte) {
	t.Helper()
	for line := range bytes.Lines(secret) {
		if line = bytes.TrimSpace(line); len(line) > 16 && !bytes.HasPrefix(line, []byte("-----")) && strings.Contains(message, string(line[:16])) {
			t.Fatalf("the message quotes the key: %s", message)
		}
	}
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestParseChainTakes(t *testing.T) {
	c := newCompany(t)
	leaf, between := text(c.leaf), text(c.between.cert)
	for name, doc := range map[string][]byte{
		"plain":          slices.Concat(leaf, between),
		"CRLF":           bytes.ReplaceAll(slices.Concat(leaf, between), []byte("\n"), []byte("\r\n")),
		"byte order":     slices.Concat([]byte("\ufeff"), leaf, between),
		"text before":    slices.Concat([]byte("subject=CN = data.acme.com\nissuer=CN = Acme\n"), leaf, []byte("\n# and its issuer\n"), between),
		"no end of line": slices.Concat(bytes.TrimSpace(leaf), between),
		"indented":       bytes.ReplaceAll(slices.Concat([]byte("\n"), leaf, between), []byte("\n"), []byte("\n    ")),
		"blank lines":    slices.Concat([]byte("\n\n"), leaf, []byte("\n\n"), between, []byte("\n \n")),
	} {
		chain, err := pair.ParseChain(doc)
		if err != nil || len(chain) != 2 || !chain[0].Equal(c.leaf) || !chain[1].Equal(c.between.cert) {
			t.Errorf("%s: %d certificates, %v", name, len(chain), err)
		}
	}
}

func TestParseChainRefuses(t *testing.T) {
	c := newCompany(t)
	leaf := text(c.leaf)
	csr, err := pair.CSR(c.key, nil, []string{"a.b"})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		doc  []byte
		says string
	}{
		"empty":            {nil, "it is empty"},
		"blank":            {[]byte(" \n\t\n"), "it is empty"},
		"HTML":             {[]byte("<!DOCTYPE html><html><body>Sign in</body></html>"), "HTML"},
		"JSON":             {[]byte(`{"error": "not found"}`), "JSON"},
		"text":             {[]byte("not found"), "no PEM block"},
		"cut short":        {leaf[:len(leaf)/2], "line 1: the PEM block that begins here does not end"},
		"cut in the end":   {leaf[:len(leaf)-8], "line 1: the PEM block that begins here is damaged"},
		"only the end":     {leaf[len(leaf)/2:], "does not belong here"},
		"second cut short": {slices.Concat(leaf, leaf[:len(leaf)/2]), "does not end"},
		"garbage after":    {slices.Concat(leaf, []byte("oops\n")), "text after the last PEM block"},
		"bad base64":       {bytes.Replace(leaf, []byte("\nMII"), []byte("\n!II"), 1), "damaged"},
		"DER":              {c.leaf.Raw, "openssl x509 -inform DER"},
		"UTF-16":           {[]byte("\xff\xfe-\x00-\x00-\x00"), "UTF-16"},
		"binary":           {[]byte{0x30, 0x82, 1, 2, 3}, "binary"},
		"request":          {csr, "the CA has to sign it"},
		"PKCS #7":          {block("PKCS7", []byte("x")), "openssl pkcs7"},
		"public key":       {block("PUBLIC KEY", []byte("x")), "PUBLIC KEY stands where"},
		"unknown kind":     {block("SESAME 1234", []byte("x")), "PEM block of another kind"},
		"no certificate":   {block("CERTIFICATE", []byte("hello")), "cannot be parsed"},
		"headers":          {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Headers: map[string]string{"A": "b"}, Bytes: c.leaf.Raw}), "headers"},
		"eleven":           {bytes.Repeat(leaf, 11), "11 PEM blocks, more than 10"},
		"huge":             {bytes.Repeat([]byte("# nothing\n"), pair.MaxDocument/10+1), "more than 256"},
	} {
		_, err := pair.ParseChain(tc.doc)
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", name, err, tc.says)
		}
		if errors.As(err, new(*pair.LeakedKeyError)) {
			t.Errorf("%s is an alarm", name)
		}
		if err != nil && strings.Contains(err.Error(), "SESAME") {
			t.Errorf("%s: quotes the boundary: %v", name, err)
		}
	}
}

func TestParseChainAlarms(t *testing.T) {
	c := newCompany(t)
	leaf, secret := text(c.leaf), keyText(t, c.key)
	b, _ := pem.Decode(secret)
	utf16 := []byte("\xff\xfe")
	for _, ch := range secret {
		utf16 = append(utf16, ch, 0)
	}
	for name, doc := range map[string][]byte{
		"after the chain":  slices.Concat(leaf, secret),
		"before the chain": slices.Concat(secret, leaf),
		"alone":            secret,
		"cut short":        slices.Concat(leaf, secret[:len(secret)/2]),
		"encrypted":        slices.Concat(leaf, block("ENCRYPTED PRIVATE KEY", []byte("x"))),
		"another label":    block("CERTIFICATE", b.Bytes),
		"DER":              b.Bytes,
		"UTF-16":           utf16,
		"in JSON":          []byte(`{"private_key": "-----BEGIN PRIVATE KEY-----\n` + base64.StdEncoding.EncodeToString(b.Bytes) + `"}`),
		"in a huge one":    slices.Concat(bytes.Repeat([]byte("#\n"), pair.MaxDocument), secret),
	} {
		_, err := pair.ParseChain(doc)
		var leak *pair.LeakedKeyError
		if !errors.As(err, &leak) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		holdsNoSecret(t, err.Error(), secret)
	}
	_, err := pair.ParseChain(slices.Concat(leaf, secret))
	var leak *pair.LeakedKeyError
	if errors.As(err, &leak); leak.Line != 1+bytes.Count(leaf, []byte("\n")) {
		t.Errorf("line %d", leak.Line)
	}
}

func TestParseKeyTakes(t *testing.T) {
	ec := newKey(t, pair.P256).(*ecdsa.PrivateKey)
	big := testRSA(t).(*rsa.PrivateKey)
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		doc  []byte
		want crypto.Signer
	}{
		"PKCS #8 P-256": {keyText(t, ec), ec},
		"PKCS #8 RSA":   {keyText(t, big), big},
		"PKCS #1":       {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(big)), big},
		"SEC 1":         {block("EC PRIVATE KEY", sec1), ec},
		"ecparam":       {slices.Concat(block("EC PARAMETERS", []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}), block("EC PRIVATE KEY", sec1)), ec},
	} {
		key, err := pair.ParseKey(tc.doc)
		if err != nil || pair.SPKI(key.Public()) != pair.SPKI(tc.want.Public()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseKeyRefuses(t *testing.T) {
	c := newCompany(t)
	secret := keyText(t, c.key)
	b, _ := pem.Decode(secret)
	exchange, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x25519, err := x509.MarshalPKCS8PrivateKey(exchange)
	if err != nil {
		t.Fatal(err)
	}
	headers := map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}
	for name, tc := range map[string]struct {
		doc  []byte
		says string
	}{
		"empty":         {nil, "it is empty"},
		"encrypted":     {block("ENCRYPTED PRIVATE KEY", b.Bytes), "openssl pkey -in FILE"},
		"old encrypted": {pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: headers, Bytes: b.Bytes}), "openssl pkey -in FILE"},
		"certificate":   {text(c.leaf), "mixed up"},
		"combined":      {slices.Concat(secret, text(c.leaf)), "a key stands alone"},
		"two":           {slices.Concat(secret, secret), "a key stands alone"},
		"ssh":           {block("OPENSSH PRIVATE KEY", b.Bytes), "for ssh"},
		"damaged":       {block("PRIVATE KEY", b.Bytes[:len(b.Bytes)-3]), "cannot be parsed"},
		"wrong label":   {block("RSA PRIVATE KEY", b.Bytes), "cannot be parsed"},
		"cut short":     {secret[:len(secret)-30], "does not end"},
		"for exchange":  {block("PRIVATE KEY", x25519), "cannot sign"},
		"HTML":          {[]byte("<html>"), "HTML"},
	} {
		_, err := pair.ParseKey(tc.doc)
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", name, err, tc.says)
			continue
		}
		holdsNoSecret(t, err.Error(), secret)
	}
}

func TestRoots(t *testing.T) {
	c, other := newCompany(t), newCompany(t)
	system := pool(other.root.cert)
	roots, err := pair.Roots(system, slices.Concat([]byte("# Acme\n"), text(c.root.cert)))
	if err != nil {
		t.Fatal(err)
	}
	rules := c.rules()
	rules.Roots = roots
	if v := pair.Check(c.candidate(t, c.leaf, c.between.cert), rules); !v.OK() {
		t.Errorf("private root: %v", v.Err())
	}
	if v := pair.Check(other.candidate(t, other.leaf, other.between.cert), rules); !v.OK() {
		t.Errorf("system's root: %v", v.Err())
	}
	rules.Roots = system
	if v := pair.Check(c.candidate(t, c.leaf, c.between.cert), rules); v.OK() {
		t.Error("the system's pool was changed")
	}
	if _, err := pair.Roots(nil, []byte("nothing")); err == nil {
		t.Error("took a bundle without certificates")
	}
	if _, err := pair.Roots(nil, nil); err != nil {
		t.Error(err)
	}
}
