package pair_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/certs/pair"
)

func seedDocuments(f *testing.F) (c company, docs [][]byte) {
	c = newCompany(f)
	leaf, between, secret := text(c.leaf), text(c.between.cert), keyText(f, c.key)
	return c, [][]byte{
		nil, leaf, slices.Concat(leaf, between), slices.Concat(between, leaf), slices.Concat(leaf, secret), secret, leaf[:len(leaf)/2],
		[]byte("<html>"), []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), []byte("-----BEGIN -----\n-----END -----\n"),
		[]byte("-----BEGIN CERTIFICATE----------BEGIN CERTIFICATE-----"), block("ENCRYPTED PRIVATE KEY", []byte("x")), c.leaf.Raw,
	}
}

func FuzzParseChain(f *testing.F) {
	_, docs := seedDocuments(f)
	for _, d := range docs {
		f.Add(d)
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		chain, err := pair.ParseChain(doc)
		if (err == nil) != (len(chain) > 0) || len(chain) > pair.MaxCertificates {
			t.Fatalf("%d certificates, %v", len(chain), err)
		}
		if err != nil {
			if strings.Contains(string(doc), "PRIVATE KEY-") && !errors.As(err, new(*pair.LeakedKeyError)) {
				t.Fatalf("no alarm: %v", err)
			}
			return
		}
		again, err := pair.ParseChain(text(chain...))
		if err != nil || len(again) != len(chain) {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	_, docs := seedDocuments(f)
	for _, d := range docs {
		f.Add(d)
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		key, err := pair.ParseKey(doc)
		if err != nil {
			if len(err.Error()) > 300 {
				t.Fatalf("a long error: %v", err)
			}
			holdsNoSecret(t, err.Error(), doc)
			return
		}
		if back, err := pair.ParseKey(keyText(t, key)); err != nil || pair.SPKI(back.Public()) != pair.SPKI(key.Public()) {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
	})
}

// FuzzCheck holds that whatever is let through is a pair that a client would
// accept.
func FuzzCheck(f *testing.F) {
	c, docs := seedDocuments(f)
	for _, d := range docs {
		f.Add(d, int64(0))
	}
	f.Add(text(c.leaf, c.between.cert), int64(100*24*3600))
	secret := keyText(f, c.key)
	f.Fuzz(func(t *testing.T, doc []byte, seconds int64) {
		rules := c.rules()
		rules.Now = now.Add(time.Duration(seconds%(1<<31)) * time.Second)
		v := pair.Check(pair.Candidate{Chain: doc, Privkey: secret}, rules)
		if v.OK() != (v.Err() == nil) || v.OK() && v.Pair.IsZero() {
			t.Fatalf("verdict %+v", v)
		}
		if !v.OK() {
			holdsNoSecret(t, v.Err().Error(), secret)
			return
		}
		if v.Pair.Leaf().VerifyHostname("data.acme.com") != nil || !v.Pair.ValidAt(rules.Now) && v.Staged.IsZero() {
			t.Fatalf("let through %v", v.Pair)
		}
		if back, err := pair.Load(v.Pair.Fullchain(), secret); err != nil || !back.Equal(v.Pair) {
			t.Fatalf("what was let through cannot be loaded: %v", err)
		}
	})
}

func FuzzSubject(f *testing.F) {
	for _, s := range []string{"/C=CZ/O=Acme/CN=x", `/O=a\/b\+c\\/CN=d=e`, "/OU=a+CN=b", "/", "", "/CN=", "/DC=corp/DC=acme", "/emailAddress=a@b"} {
		f.Add(s)
	}
	key := newKey(f, pair.P256)
	f.Fuzz(func(t *testing.T, s string) {
		subject, err := pair.ParseSubject(s)
		if err != nil {
			return
		}
		again, err := pair.ParseSubject(subject.String())
		if err != nil || again.String() != subject.String() {
			t.Fatalf("%q is written as %q: %v", s, subject, err)
		}
		csr, err := pair.CSR(key, subject, []string{"a.b"})
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if err := pair.CSRMatches(csr, key.Public(), subject, []string{"a.b"}); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
	})
}
