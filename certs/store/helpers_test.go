package store_test

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/certs/store"
)

var (
	now     = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	serials atomic.Int64
)

func clock() time.Time { return now }

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := pair.NewKey(pair.P256)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// realPair is one of a tiny CA, of leaf and intermediate.
func realPair(t testing.TB, key crypto.Signer) pair.Pair {
	t.Helper()
	caKey := newKey(t)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(serials.Add(1)), Subject: pkix.Name{CommonName: "Acme Issuing"}, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(5, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, &x509.Certificate{Subject: pkix.Name{CommonName: "Acme Root"}}, caKey.Public(), newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(serials.Add(1)), DNSNames: []string{"data.acme.com"}, NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(0, 3, 0),
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := x509.ParseCertificates(append(leafDER, caDER...))
	if err != nil {
		t.Fatal(err)
	}
	p, err := pair.New(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func standIn(t testing.TB, key crypto.Signer) pair.Pair {
	t.Helper()
	p, err := pair.SelfSigned(key, []string{"data.acme.com"}, now, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func open(t testing.TB, dir string) (*store.Store, []store.Drift) {
	t.Helper()
	s, repairs, err := store.Open(dir, store.Options{Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, repairs
}

func publish(t testing.TB, s *store.Store, p pair.Pair) store.Generation {
	t.Helper()
	g, err := s.Publish(p, store.Origin{Source: "https://pki.acme.com/chain.pem", Version: "v1", Commit: "abc"})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// onDisk reads the pair as a server does that is pointed at current.
func onDisk(t testing.TB, dir string) pair.Pair {
	t.Helper()
	p, err := pair.Load(read(t, dir, "current/fullchain.pem"), read(t, dir, "current/privkey.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func read(t testing.TB, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// live fails unless the store and the disk both have the pair, and nothing is
// amiss.
func live(t testing.TB, s *store.Store, dir string, want pair.Pair) {
	t.Helper()
	if g, ok := s.Current(); !ok || !g.Pair.Equal(want) {
		t.Errorf("current is %v, want %v", g.Pair, want)
	}
	if got := onDisk(t, dir); !got.Equal(want) {
		t.Errorf("on disk is %v, want %v", got, want)
	}
	drift, err := s.Verify()
	if err != nil || len(drift) > 0 {
		t.Errorf("drift %v, %v", drift, err)
	}
}

// leftovers are names that a crash leaves.
func leftovers(t testing.TB, dir string) (list []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.Contains(d.Name(), "tmp-") {
			list = append(list, path)
		}
		return err
	}))
	return list
}

func mode(t testing.TB, name string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func kinds(list []store.Drift) map[string]store.Kind {
	m := map[string]store.Kind{}
	for _, d := range list {
		m[d.Path] = d.Kind
	}
	return m
}
