package front

import (
	"crypto/tls"
	"fmt"
	"time"
)

// tlsConfig is what every client is served with: TLS 1.2 with authenticated
// encryption and forward secrecy, or 1.3. The curves are Go's own list, since
// naming any would take ML-KEM out of it.
func (f *Front) tlsConfig() *tls.Config {
	protocols := []string{"h2", "http/1.1"}
	if f.opts.ACMECertificate != nil {
		protocols = append(protocols, "acme-tls/1")
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos:     protocols,
		GetCertificate: f.certificate,
	}
}

// certificate chooses what a client is shown. Without one the handshake ends
// with the alert unrecognized_name. An authority that checks a challenge is
// served first: its name need not have a route yet.
func (f *Front) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if f.opts.ACMECertificate != nil {
		if cert, challenge := f.opts.ACMECertificate(hello); challenge {
			return cert, nil
		}
	}
	rt := f.greet(hello)
	if rt == nil {
		return nil, nil
	}
	c, err := f.ask(rt)
	if err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", rt.host, err)
	}
	return c.Certificate, nil
}

// greet finds the route that a client asks for; one that names none, since it
// knows an address only, gets the only route that there is. While the daemon starts it
// waits, and then gives the handshake its time again.
func (f *Front) greet(hello *tls.ClientHelloInfo) *route {
	host, ok := cleanHost(hello.ServerName)
	if !ok && hello.ServerName != "" {
		return nil
	}
	if rt := f.table.Load().host(host); rt != nil {
		return rt
	}
	rt := f.find(hello.Context(), host)
	// It fails only on a connection that is closed, which the handshake notices.
	_ = hello.Conn.SetDeadline(time.Now().Add(f.opts.ReadHeaderTimeout))
	return rt
}
