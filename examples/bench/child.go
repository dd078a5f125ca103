package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server/front"
)

// What this program is when it starts itself once more: the parts of a comparison of proxies are processes of their own.
const (
	childBackend = "backend"
	childBare    = "bare"   // httputil.ReverseProxy, tuned, with nothing around it
	childPolite  = "polite" // the same with what nobody leaves out before the Internet
	childFront   = "front"  // ours
	childLoad    = "load"
)

const proxyHost = "bench.example.com"

// runChild is the program in a part. It ends when its input does, so it never outlives the one that started it.
func runChild(args []string, in io.Reader, out, errs io.Writer) int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() { _, _ = io.Copy(io.Discard, in); stop() }() // the end of it is all that counts
	var err error
	switch {
	case len(args) == 1 && args[0] == childBackend:
		err = serveBackend(ctx, out)
	case len(args) > 0 && args[0] == childBare:
		err = serveBare(ctx, args[1:], out, false)
	case len(args) > 0 && args[0] == childPolite:
		err = serveBare(ctx, args[1:], out, true)
	case len(args) > 0 && args[0] == childFront:
		err = serveFront(ctx, args[1:], out)
	case len(args) > 0 && args[0] == childLoad:
		err = shoot(ctx, args[1:], out)
	default:
		err = fmt.Errorf("there is no part %q", args)
	}
	if err != nil {
		fmt.Fprintln(errs, "bench: "+err.Error())
		return 1
	}
	return 0
}

// pairFiles are a chain and its key.
type pairFiles struct{ chain, key string }

// makePair writes a certificate of the kind that all proxies are measured with.
func makePair(dir string) (pairFiles, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pairFiles{}, fmt.Errorf("make certificate: %w", err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: proxyHost}, DNSNames: []string{proxyHost},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	chain, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return pairFiles{}, fmt.Errorf("make certificate: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pairFiles{}, fmt.Errorf("make certificate: %w", err)
	}
	p := pairFiles{filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem")}
	err = errors.Join(os.WriteFile(p.chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain}), 0o644),
		os.WriteFile(p.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return p, err
}

// open listens where there is room and tells the one who waits.
func open(ctx context.Context, out io.Writer) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err == nil {
		_, err = fmt.Fprintln(out, l.Addr())
	}
	return l, err
}

// serveUntil serves until ctx ends, then hangs up.
func serveUntil(ctx context.Context, srv *http.Server, serve func() error) error {
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := serve(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// serveBackend answers as little as an application can.
func serveBackend(ctx context.Context, out io.Writer) error {
	l, err := open(ctx, out)
	if err != nil {
		return err
	}
	answer := []byte("hello from the application\n")
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(answer) // who does not read it counts it
	})}
	return serveUntil(ctx, srv, func() error { return srv.Serve(l) })
}

// proxied are the arguments of a proxy of ours.
func proxied(args []string) (backend string, p pairFiles, err error) {
	flags := flag.NewFlagSet("proxy", flag.ContinueOnError)
	flags.StringVar(&backend, "backend", "", "")
	flags.StringVar(&p.chain, "chain", "", "")
	flags.StringVar(&p.key, "key", "", "")
	err = flags.Parse(args)
	return backend, p, err
}

// copyBuffers is the BufferPool of a tuned proxy.
type copyBuffers struct{ pool sync.Pool }

func (b *copyBuffers) Get() []byte  { return *b.pool.Get().(*[]byte) }
func (b *copyBuffers) Put(p []byte) { b.pool.Put(&p) }

// serveBare is as fast as httputil lets a proxy be: no routes, no metrics, no log; and neither headers of its own nor an
// end of idle connections, unless it is polite.
func serveBare(ctx context.Context, args []string, out io.Writer, polite bool) error {
	backend, p, err := proxied(args)
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(p.chain, p.key)
	if err != nil {
		return err
	}
	target := &url.URL{Scheme: "http", Host: backend}
	transport := &http.Transport{MaxIdleConnsPerHost: 512, DisableCompression: true}
	proxy := &httputil.ReverseProxy{
		Rewrite:    func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:  transport,
		BufferPool: &copyBuffers{sync.Pool{New: func() any { p := make([]byte, 32<<10); return &p }}},
		ErrorLog:   log.New(io.Discard, "", 0),
	}
	l, err := open(ctx, out)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: proxy, ReadHeaderTimeout: 10 * time.Second, ErrorLog: proxy.ErrorLog,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}}
	if polite {
		srv.IdleTimeout, transport.IdleConnTimeout = 2*time.Minute, 90*time.Second
		proxy.Rewrite = func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
			r.Out.Host = r.In.Host
		}
	}
	return serveUntil(ctx, srv, func() error { return srv.ServeTLS(l, "", "") })
}

// single is the certificate of every host.
type single struct{ pair *tls.Certificate }

func (s single) Certificate(string, string, string) (front.Certificate, error) {
	return front.Certificate{Certificate: s.pair, Live: true}, nil
}

// serveFront is the daemon's front with the settings that people get.
func serveFront(ctx context.Context, args []string, out io.Writer) error {
	backend, p, err := proxied(args)
	if err != nil {
		return err
	}
	address, err := netip.ParseAddrPort(backend)
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(p.chain, p.key)
	if err != nil {
		return err
	}
	f := front.New(front.Options{Certificates: single{&pair}})
	f.Set("bench", []reconciler.Route{{
		FrontRoute: desired.FrontRoute{Host: proxyHost, Service: "app", Port: int(address.Port()), HSTS: 31536000, RedirectHTTP: true,
			Drain: 30 * time.Second, Hold: 30 * time.Second},
		Endpoints: []reconciler.Endpoint{{Container: "app", Address: address}},
	}})
	f.Ready()
	l, err := open(ctx, out)
	if err != nil {
		return err
	}
	return f.Run(ctx, l, nil)
}
