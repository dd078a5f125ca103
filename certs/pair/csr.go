package pair

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
)

// CSR makes a signing request in PEM, with all domains as subject alternative
// names. Without a subject its common name is the first of the domains.
func CSR(key crypto.Signer, subject Subject, domains []string) ([]byte, error) {
	names, err := Domains(domains)
	if err != nil {
		return nil, fmt.Errorf("make signing request: %w", err)
	}
	name, err := subjectFor(subject, domains).der()
	if err != nil {
		return nil, fmt.Errorf("make signing request: %w", err)
	}
	usage, err := usageExtensions(key.Public())
	if err != nil {
		return nil, fmt.Errorf("make signing request: %w", err)
	}
	req := &x509.CertificateRequest{RawSubject: name, ExtraExtensions: usage}
	req.DNSNames, req.IPAddresses = split(names)
	der, err := x509.CreateCertificateRequest(rand.Reader, req, key)
	if err != nil {
		return nil, errors.New("make signing request: the key cannot sign")
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}

// CSRMatches tells whether a signing request still asks for this: nil, or what
// differs, upon which it has to be made anew.
func CSRMatches(csr []byte, key crypto.PublicKey, subject Subject, domains []string) error {
	names, err := Domains(domains)
	if err != nil {
		return err
	}
	name, err := subjectFor(subject, domains).der()
	if err != nil {
		return err
	}
	req, err := parseCSR(csr)
	if err != nil {
		return err
	}
	have := slices.Clone(req.DNSNames)
	for _, ip := range req.IPAddresses {
		have = append(have, ip.String())
	}
	slices.Sort(have)
	switch {
	case !samePublic(req.PublicKey, key):
		return fmt.Errorf("it is for the key %s, the key is %s", SPKI(req.PublicKey), SPKI(key))
	case !bytes.Equal(req.RawSubject, name):
		return fmt.Errorf("its subject is %.200q", req.Subject.String())
	case !slices.Equal(have, names):
		return fmt.Errorf("its names are %s", listed(have))
	}
	return nil
}

// CSRKey returns the public key that a signing request is for.
func CSRKey(csr []byte) (crypto.PublicKey, error) {
	req, err := parseCSR(csr)
	if err != nil {
		return nil, fmt.Errorf("read signing request: %w", err)
	}
	return req.PublicKey, nil
}

func parseCSR(data []byte) (*x509.CertificateRequest, error) {
	list, err := blocks(data)
	if err != nil {
		return nil, err
	}
	if len(list) != 1 || list[0].Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("it is no signing request")
	}
	req, err := x509.ParseCertificateRequest(list[0].Bytes)
	if err != nil {
		return nil, fmt.Errorf("it cannot be parsed: %w", err)
	}
	if err := req.CheckSignature(); err != nil {
		return nil, errors.New("its signature is wrong")
	}
	return req, nil
}

func subjectFor(s Subject, domains []string) Subject {
	if cn := commonName(domains); len(s) == 0 && cn != "" {
		return Subject{{{"CN", cn}}}
	}
	return s
}

// usageExtensions ask for what a server needs: some CAs copy nothing else.
func usageExtensions(pub crypto.PublicKey) ([]pkix.Extension, error) {
	bits := asn1.BitString{Bytes: []byte{0x80}, BitLength: 1} // digitalSignature
	if _, isRSA := pub.(*rsa.PublicKey); isRSA {
		bits = asn1.BitString{Bytes: []byte{0xa0}, BitLength: 3} // and keyEncipherment
	}
	ku, err := asn1.Marshal(bits)
	if err != nil {
		return nil, err
	}
	eku, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 1}}) // serverAuth
	if err != nil {
		return nil, err
	}
	return []pkix.Extension{
		{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: ku},
		{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: eku},
	}, nil
}
