package source

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"strings"
)

// trust is what a server proves itself by, beside the system's authorities.
type trust struct {
	ca   []byte
	pins []string
}

// roots are the system's authorities, the host's and those of the reference.
func (f *Fetcher) roots(ca []byte) (*x509.CertPool, error) {
	if f.opts.CAFile == "" && len(ca) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if f.opts.CAFile != "" {
		data, err := readHostFile(f.opts.CAFile, false)
		if err != nil {
			return nil, err
		}
		if !pool.AppendCertsFromPEM(data) {
			return nil, fail(ErrRefused, "fetch.caFile %s holds no certificate in PEM", f.opts.CAFile)
		}
	}
	if len(ca) > 0 && !pool.AppendCertsFromPEM(ca) {
		return nil, invalid("the bundle of authorities beside it holds no certificate in PEM")
	}
	return pool, nil
}

func parsePins(pins []string) (map[[32]byte]bool, error) {
	want := map[[32]byte]bool{}
	for _, p := range pins {
		text := strings.TrimPrefix(strings.TrimPrefix(p, "sha256/"), "/") // curl writes two slashes
		sum, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(sum) != 32 || !strings.HasPrefix(p, "sha256/") {
			return nil, invalid("its pin is not sha256/ and 32 bytes in base64")
		}
		want[[32]byte(sum)] = true
	}
	return want, nil
}

// checkPins runs after the chain was verified, on each connection.
func checkPins(s tls.ConnectionState, want map[[32]byte]bool) error {
	got := ""
	for _, chain := range s.VerifiedChains {
		for i, c := range chain {
			sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
			if want[sum] {
				return nil
			}
			if i == 0 {
				got = "sha256/" + base64.StdEncoding.EncodeToString(sum[:])
			}
		}
	}
	return fail(ErrForbidden, "no key of the server's chain is pinned; its own is %s", got)
}
