package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const maxPEM = 1 << 20

// transportOf is the host's connections. Certificates are read again now and
// then, and after a failure.
func (c *Client) transportOf(h *host) (http.RoundTripper, error) {
	if c.opts.Transport != nil {
		return c.opts.Transport, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.transport != nil && time.Since(h.made) < tlsLasts {
		return h.transport, nil
	}
	cfg, err := c.tlsOf(h.name)
	if err != nil {
		return nil, local("ask %s: %v", h.name, err)
	}
	h.closeIdle()
	h.made = time.Now()
	h.transport = &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:       cfg,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		MaxIdleConnsPerHost:   hostAtOnce,
		IdleConnTimeout:       30 * time.Second,
		ForceAttemptHTTP2:     true,

		MaxResponseHeaderBytes: 256 << 10,
	}
	return h.transport, nil
}

// closeIdle gives connections back; h is locked.
func (h *host) closeIdle() {
	if t, ok := h.transport.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
	h.transport = nil
}

// forget has connections made and certificates read anew.
func (h *host) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closeIdle()
}

func (c *Client) tlsOf(hostName string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	var files []string
	if c.opts.CAFile != "" {
		files = append(files, c.opts.CAFile)
	}
	dirs := []string{hostName}
	if hostName == "index.docker.io" {
		dirs = append(dirs, "docker.io")
	}
	for _, dir := range dirs {
		if strings.ContainsAny(dir, `/\`) || strings.HasPrefix(dir, ".") {
			continue
		}
		more, pairs, err := certificatesIn(filepath.Join(c.opts.CertsDir, dir))
		if err != nil {
			return nil, err
		}
		files = append(files, more...)
		cfg.Certificates = append(cfg.Certificates, pairs...)
	}
	if len(files) == 0 {
		return cfg, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a machine without any: the files stand alone
	}
	for _, file := range files {
		pem, err := readPEM(file)
		if err != nil {
			return nil, err
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read %s: there is no PEM certificate in it", file)
		}
	}
	cfg.RootCAs = pool
	return cfg, nil
}

// certificatesIn reads a directory as Docker does: *.crt are authorities, and
// each *.cert has its key in the *.key of the same name.
func certificatesIn(dir string) (authorities []string, pairs []tls.Certificate, err error) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("list certificates: %w", err)
	}
	for _, f := range list {
		path := filepath.Join(dir, f.Name())
		base, isCert := strings.CutSuffix(path, ".cert")
		switch {
		case strings.HasSuffix(path, ".crt"):
			authorities = append(authorities, path)
		case isCert:
			pair, err := readPair(path, base+".key")
			if err != nil {
				return nil, nil, err
			}
			pairs = append(pairs, pair)
		}
	}
	return authorities, pairs, nil
}

func readPair(cert, key string) (tls.Certificate, error) {
	c, err := readPEM(cert)
	if err != nil {
		return tls.Certificate{}, err
	}
	k, err := readPEM(key)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(c, k)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read certificate %s with its key: %w", cert, err)
	}
	return pair, nil
}

func readPEM(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait
		return nil, fmt.Errorf("read certificates: %s is no file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(b) > maxPEM {
		err = fmt.Errorf("%s is larger than %d MiB", path, maxPEM>>20)
	}
	return b, err
}
