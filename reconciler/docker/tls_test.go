package docker_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler/docker"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

// An engine behind TLS is driven as one on a socket, by nobody without its
// certificate, and with renewed certificates at once.
func TestEngineByTLS(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	dir := t.TempDir()
	first := newAuthority(t)
	addr := serveTLS(t, first)
	first.write(dir, true)
	driver := func(certs string) *docker.Engine {
		e, err := docker.New(docker.Options{Host: "tcp://" + addr, Owner: r.owner, CertDir: certs})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	r.engine = driver(dir)
	tgt := r.deploy(r.target(desired.Service{Name: "web", Image: r.images(drivertest.KindPlain, 1)}))
	o, err := r.engine.Observe(t.Context(), r.instance, true)
	if err != nil || len(o.Containers) != 1 || o.Containers[0].Hash != tgt.Spec.Services["web"].Hash() {
		t.Fatalf("observed %+v, %v", o.Containers, err)
	}
	bare, other, empty := t.TempDir(), t.TempDir(), t.TempDir()
	first.write(bare, false)
	newAuthority(t).write(other, true)
	for what, tt := range map[string]struct{ dir, says string }{
		"no certificate":    {bare, "certificate required"},
		"another authority": {other, "certificate signed by unknown authority"},
		"nothing there":     {empty, "ca.pem: no such file"},
	} {
		o, err := driver(tt.dir).Observe(t.Context(), r.instance, false)
		if !docker.IsUnreachable(err) || o.Containers != nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %+v, %v", what, o.Containers, err)
		}
	}
	if _, err := docker.New(docker.Options{Owner: r.owner, CertDir: dir}); err == nil {
		t.Error("certificates for a socket were taken")
	}
}

// A certificate that was renewed counts from the next connection on.
func TestRenewedCertificatesCount(t *testing.T) {
	dir := t.TempDir()
	a := newAuthority(t)
	a.write(dir, true)
	e, err := docker.New(docker.Options{Host: "tcp://" + serveTLS(t, a), Owner: dir, CertDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	newAuthority(t).write(dir, true)
	if _, err := e.Survey(t.Context(), "acme"); !docker.IsUnreachable(err) {
		t.Fatalf("with what another authority signed: %v", err)
	}
	a.write(dir, true)
	if _, err := e.Survey(t.Context(), "acme"); err != nil {
		t.Errorf("with renewed certificates: %v", err)
	}
}

// serveTLS passes connections of clients that a knows on to the engine.
func serveTLS(t *testing.T, a *authority) string {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{a.leaf(x509.ExtKeyUsageServerAuth)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go pipe(t.Context(), c)
		}
	}()
	return l.Addr().String()
}

func pipe(ctx context.Context, c net.Conn) {
	defer c.Close()
	if c.(*tls.Conn).HandshakeContext(ctx) != nil {
		return // a stranger
	}
	up, err := (&net.Dialer{}).DialContext(ctx, "unix", strings.TrimPrefix(docker.DefaultHost, "unix://"))
	if err != nil {
		return
	}
	defer up.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close(); _ = up.Close() })()
	go func() { _, _ = io.Copy(up, c); _ = up.Close() }()
	_, _ = io.Copy(c, up)
}

// authority signs certificates of this test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert, a.key = a.sign(tmpl)
	return a
}

func (a *authority) sign(tmpl *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.check(err)
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), by)
	a.check(err)
	cert, err := x509.ParseCertificate(der)
	a.check(err)
	return cert, key
}

func (a *authority) leaf(usage x509.ExtKeyUsage) tls.Certificate {
	cert, key := a.sign(&x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{usage}})
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// write makes dir what docker's own client takes for DOCKER_CERT_PATH.
func (a *authority) write(dir string, client bool) {
	a.t.Helper()
	a.save(filepath.Join(dir, "ca.pem"), "CERTIFICATE", a.cert.Raw)
	if !client {
		return
	}
	pair := a.leaf(x509.ExtKeyUsageClientAuth)
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	a.check(err)
	a.save(filepath.Join(dir, "cert.pem"), "CERTIFICATE", pair.Certificate[0])
	a.save(filepath.Join(dir, "key.pem"), "PRIVATE KEY", key)
}

func (a *authority) save(name, kind string, der []byte) {
	a.t.Helper()
	a.check(os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

func (a *authority) check(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}
