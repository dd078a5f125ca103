package pair

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// MaxDocument bounds a chain or a key, in bytes. A chain takes some 10 kB.
	MaxDocument = 256 << 10
	// MaxCertificates bounds a chain; real ones have two to four.
	MaxCertificates = 10
	maxRoots        = 400

	dashes = "-----"
)

// block is a PEM block and where it begins.
type block struct {
	*pem.Block
	line int
}

// ParseChain reads certificates in PEM, in the order in which they stand. Text
// before a certificate is allowed, as tools write it there (RFC 7468, section
// 2); anything else that is not a certificate is an error. It is a
// *LeakedKeyError when the document holds a private key.
func ParseChain(data []byte) ([]*x509.Certificate, error) { return parseCerts(data, MaxCertificates) }

// parseBundle reads roots, of which a company may have many.
func parseBundle(data []byte) ([]*x509.Certificate, error) { return parseCerts(data, maxRoots) }

func parseCerts(data []byte, most int) ([]*x509.Certificate, error) {
	if err := leaked(data); err != nil {
		return nil, err
	}
	blocks, err := blocks(data)
	if err != nil {
		return nil, err
	}
	if len(blocks) > most {
		return nil, fmt.Errorf("it holds %d PEM blocks, more than %d", len(blocks), most)
	}
	var chain []*x509.Certificate
	for _, b := range blocks {
		if b.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("line %d: a %s stands where only certificates belong%s", b.line, kind(b.Type), kindHint(b.Type))
		}
		if len(b.Headers) > 0 {
			return nil, fmt.Errorf("line %d: the certificate has PEM headers", b.line)
		}
		cert, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			if parseDER(b.Bytes) != nil {
				return nil, &LeakedKeyError{Line: b.line}
			}
			return nil, fmt.Errorf("line %d: the certificate cannot be parsed: %w", b.line, err)
		}
		chain = append(chain, cert)
	}
	return chain, nil
}

// ParseKey reads one private key in PEM: PKCS #8, PKCS #1 or SEC 1. Its errors
// tell nothing of what the document holds but the kinds of its blocks.
func ParseKey(data []byte) (crypto.Signer, error) {
	blocks, err := blocks(data)
	if err != nil {
		return nil, err
	}
	if len(blocks) == 2 && blocks[0].Type == "EC PARAMETERS" { // as openssl ecparam writes it
		blocks = blocks[1:]
	}
	if len(blocks) > 1 {
		return nil, fmt.Errorf("line %d: a %s follows the first block; a key stands alone in its document", blocks[1].line, kind(blocks[1].Type))
	}
	b := blocks[0]
	if b.Type == "ENCRYPTED PRIVATE KEY" || b.Headers["DEK-Info"] != "" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED") {
		return nil, errors.New("the key is encrypted, and nobody is there to type its passphrase: decrypt it with openssl pkey -in FILE -out PLAIN")
	}
	var key any
	switch b.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(b.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(b.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(b.Bytes)
	default:
		return nil, fmt.Errorf("line %d: a %s stands where a private key belongs%s", b.line, kind(b.Type), kindHint(b.Type))
	}
	if err != nil { // whose text is kept out, for what it may quote
		return nil, fmt.Errorf("line %d: the key cannot be parsed: it is damaged, or of a kind that servers do not use", b.line)
	}
	signer, ok := usable(key)
	if !ok {
		return nil, fmt.Errorf("line %d: the key is for exchanging keys, and cannot sign", b.line)
	}
	return signer, nil
}

// parseDER returns a private key of any encoding, nil when it is none.
func parseDER(der []byte) crypto.PrivateKey {
	if k, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return k
	}
	if k, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return k
	}
	if k, err := x509.ParseECPrivateKey(der); err == nil {
		return k
	}
	return nil
}

// leaked looks for private keys first of all, however damaged the document may
// be otherwise.
func leaked(data []byte) error {
	plain := bytes.ReplaceAll(data, []byte{0}, nil) // UTF-16 as well
	if i := bytes.Index(plain, []byte("PRIVATE KEY-")); i >= 0 {
		return &LeakedKeyError{Line: 1 + bytes.Count(plain[:i], []byte("\n"))}
	}
	if len(data) <= MaxDocument && parseDER(data) != nil {
		return &LeakedKeyError{}
	}
	return nil
}

// blocks reads at least one block strictly: encoding/pem would skip over one
// that is cut short.
func blocks(data []byte) ([]block, error) {
	if err := text(data); err != nil {
		return nil, err
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	// Files are put together by cat, and not every first one ends its last line.
	data = bytes.ReplaceAll(data, []byte(dashes+dashes+"BEGIN "), []byte(dashes+"\n"+dashes+"BEGIN "))
	var list []block
	begin, loose := -1, 0 // first line of the block; last line of text outside
	lines := bytes.Split(data, []byte("\n"))
	for i, line := range lines {
		line = bytes.TrimSpace(line)
		lines[i] = line
		switch boundary := bytes.HasPrefix(line, []byte(dashes)); {
		case boundary && bytes.HasPrefix(line, []byte(dashes+"BEGIN ")) && begin < 0:
			begin, loose = i, 0
		case boundary && bytes.HasPrefix(line, []byte(dashes+"END ")) && begin >= 0:
			b, rest := pem.Decode(append(bytes.Join(lines[begin:i+1], []byte("\n")), '\n'))
			if b == nil || len(bytes.TrimSpace(rest)) > 0 || len(b.Bytes) == 0 {
				return nil, fmt.Errorf("line %d: the PEM block that begins here is damaged", begin+1)
			}
			list, begin = append(list, block{b, begin + 1}), -1
		case boundary:
			return nil, fmt.Errorf("line %d: this PEM boundary does not belong here: a block is cut short or damaged", i+1)
		case begin < 0 && len(line) > 0:
			loose = i + 1
		}
	}
	switch {
	case begin >= 0:
		return nil, fmt.Errorf("line %d: the PEM block that begins here does not end: the document is cut short", begin+1)
	case len(list) == 0:
		return nil, errors.New("it holds no PEM block" + guess(data))
	case loose > 0:
		return nil, fmt.Errorf("line %d: there is text after the last PEM block", loose)
	}
	return list, nil
}

// text refuses what cannot be PEM.
func text(data []byte) error {
	switch {
	case len(data) > MaxDocument:
		return fmt.Errorf("it has %d KiB, more than %d", len(data)>>10, MaxDocument>>10)
	case len(bytes.TrimSpace(data)) == 0:
		return errors.New("it is empty")
	case bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")):
		return errors.New("it is UTF-16 text: write it as ASCII")
	}
	if bytes.IndexByte(data, 0) < 0 && utf8.Valid(data) {
		return nil
	}
	if _, err := x509.ParseCertificates(data); err == nil {
		return errors.New("it is DER, not PEM: convert it with openssl x509 -inform DER -in FILE")
	}
	if len(data) > 1 && data[0] == 0x30 && data[1] > 0x7f {
		return errors.New("it is binary, not PEM: if it is PKCS #7 or PKCS #12, convert it with openssl pkcs7 or openssl pkcs12")
	}
	return errors.New("it is binary, not PEM")
}

func guess(data []byte) string {
	head := bytes.ToLower(bytes.TrimSpace(data[:min(len(data), 512)]))
	switch {
	case bytes.HasPrefix(head, []byte("<")):
		return ": it is an HTML or XML page, maybe of a login or an error"
	case bytes.HasPrefix(head, []byte("{")) || bytes.HasPrefix(head, []byte("[")):
		return ": it is JSON"
	}
	return ""
}

// kind is what a block is called in an error. Only known kinds are named:
// anything may stand in a boundary, a key as well.
func kind(t string) string {
	switch t {
	case "CERTIFICATE", "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "DSA PRIVATE KEY", "OPENSSH PRIVATE KEY",
		"PUBLIC KEY", "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST", "TRUSTED CERTIFICATE", "PKCS7", "X509 CRL", "EC PARAMETERS", "DH PARAMETERS":
		return t
	}
	return "PEM block of another kind"
}

func kindHint(t string) string {
	switch t {
	case "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST":
		return ": it is the request; the CA has to sign it and send the chain"
	case "PKCS7":
		return ": convert it with openssl pkcs7 -print_certs -in FILE"
	case "TRUSTED CERTIFICATE":
		return ": convert it with openssl x509 -in FILE"
	case "CERTIFICATE":
		return ": are the key's place and the chain's mixed up?"
	case "OPENSSH PRIVATE KEY":
		return ": it is a key for ssh"
	}
	return ""
}
