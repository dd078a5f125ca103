package front

import (
	"crypto/tls"

	"github.com/fairlead/fairlead/desired"
)

// Certificates says what a host is served with.
type Certificates interface {
	// Certificate returns the certificate of a host whose route names spec. It
	// is called in every full handshake, from many goroutines, and now and then
	// without one: it must answer from memory, or nearly so.
	Certificate(host string, spec desired.CertificateSpec) (Certificate, error)
}

// Certificate is a chain with its key.
type Certificate struct {
	*tls.Certificate
	// SelfSigned says that it is a stand-in of our own, which no browser
	// trusts. It is served without HSTS, which would lock people out.
	SelfSigned bool
}
