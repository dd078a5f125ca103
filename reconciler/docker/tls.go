package docker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// The files of a certificate directory, named as docker's own client has them.
const (
	caFile   = "ca.pem"
	certFile = "cert.pem"
	keyFile  = "key.pem"
)

const (
	maxPEM      = 1 << 20
	dialTimeout = 10 * time.Second
)

// dialTLS connects to an engine that listens on TCP with TLS. The files in dir
// are read for each connection, so that renewed ones count without a restart.
func dialTLS(ctx context.Context, dir, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("connect to engine: %w", err)
	}
	cfg, err := tlsConfig(dir, host)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", addr)
}

// tlsConfig checks the engine by the authority in dir, and shows it the
// certificate there; one without is for an engine that asks for none.
func tlsConfig(dir, host string) (*tls.Config, error) {
	ca, err := readPEM(dir, caFile)
	if err != nil {
		return nil, fmt.Errorf("read authority of engine: %w", err)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, RootCAs: x509.NewCertPool()}
	if !cfg.RootCAs.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("read authority of engine: %s holds no certificate", filepath.Join(dir, caFile))
	}
	cert, err := readPEM(dir, certFile)
	if errors.Is(err, fs.ErrNotExist) {
		return cfg, nil
	}
	key, kerr := readPEM(dir, keyFile)
	if err = errors.Join(err, kerr); err != nil {
		return nil, fmt.Errorf("read certificate for engine: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("read certificate for engine in %s: %w", dir, err)
	}
	cfg.Certificates = []tls.Certificate{pair}
	return cfg, nil
}

func readPEM(dir, name string) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(b) > maxPEM {
		err = fmt.Errorf("%s is larger than %d KiB", f.Name(), maxPEM>>10)
	}
	return b, err
}
