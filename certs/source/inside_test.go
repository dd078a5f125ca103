package source_test

import (
	"bytes"
	"encoding/pem"
	"net/netip"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/certs/source"
)

// TestNoWayToMetadata looks at every form in which an IPv6 address leads to an
// IPv4 one.
func TestNoWayToMetadata(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v4 := [4]byte{169, 254, rapid.Byte().Draw(t, "c"), rapid.Byte().Draw(t, "d")}
		if rapid.Bool().Draw(t, "loopback") {
			v4[0], v4[1] = 127, rapid.Byte().Draw(t, "b")
		}
		var forms []netip.Addr
		forms = append(forms, netip.AddrFrom4(v4))
		for _, prefix := range []string{"::ffff:0:0", "64:ff9b::", "64:ff9b:1::", "::"} {
			b := netip.MustParseAddr(prefix).As16()
			copy(b[12:], v4[:])
			forms = append(forms, netip.AddrFrom16(b))
		}
		six := netip.MustParseAddr("2002::").As16()
		copy(six[2:], v4[:])
		forms = append(forms, netip.AddrFrom16(six))
		for i, a := range forms {
			direct := i < 2 && v4[0] == 127 // as this machine itself
			if err := source.Permits(a, true); (err == nil) != direct {
				t.Fatalf("%s: %v", a, err)
			}
			if err := source.Permits(a, false); err == nil {
				t.Fatalf("%s is asked", a)
			}
		}
	})
	for _, good := range []string{"10.0.0.1", "192.168.1.1", "172.16.3.4", "8.8.8.8", "fd12::1", "2001:db8::1", "64:ff9b::808:808"} {
		if err := source.Permits(netip.MustParseAddr(good), false); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

// FuzzPlain wants one short line without what is hidden and without a query.
func FuzzPlain(f *testing.F) {
	f.Add("Get \"https://h/x?sig=abcdef\": refused", "abcdef")
	f.Add("a\nb\x00c\xff", "hush")
	f.Add("Bearer hushhush?x", "hushhush")
	f.Fuzz(func(t *testing.T, text, secret string) {
		got := source.Plain(text, []string{secret})
		if strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) || len([]rune(got)) > 241 {
			t.Fatalf("%q is %q", text, got)
		}
		if len(secret) >= 4 && !strings.Contains("(hidden)…?", secret) && len(strings.Fields(secret)) == 1 && isPlain(secret) && strings.Contains(got, secret) {
			t.Fatalf("%q shows %q: %q", text, secret, got)
		}
		if i := strings.IndexByte(got, '?'); i >= 0 && i+1 < len(got) && isWord(got[i+1]) {
			t.Fatalf("%q shows a query: %q", text, got)
		}
	})
}

func isPlain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < 0x21 || r > 0x7e || strings.ContainsRune("()hiden?", r) })
}

func isWord(b byte) bool { return 'a' <= b && b <= 'z' || '0' <= b && b <= '9' }

// FuzzContent never lets a key pass for a chain, nor show in an error.
func FuzzContent(f *testing.F) {
	key := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte("k")})
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("c")})
	for _, seed := range [][]byte{nil, key, cert, append(bytes.Clone(cert), key...), []byte("<html>"), {0x30, 0x82}, {0x30}, []byte("{"), []byte("-----BEGIN CERTIFICATE-----\n")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		chain, private := source.CheckContent(source.Chain, data), source.CheckContent(source.Key, data)
		if chain == nil && (bytes.Contains(data, []byte("PRIVATE KEY-----")) || !bytes.Contains(data, []byte("BEGIN CERTIFICATE"))) {
			t.Fatalf("%q passes for a chain", data)
		}
		if private == nil && !bytes.Contains(data, []byte("PRIVATE KEY")) {
			t.Fatalf("%q passes for a key", data)
		}
		if chain == nil && private == nil {
			t.Fatalf("%q passes for both", data)
		}
	})
}
