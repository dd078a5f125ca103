package source

import (
	"bytes"
	"encoding/pem"
	"strings"
)

var keyMark = []byte("PRIVATE KEY-----")

// checkContent refuses what is of another kind than the field wants. The
// content itself never shows in an error.
func checkContent(field Field, data []byte) error {
	if len(data) > MaxSize {
		return fail(ErrTooLarge, "it has more than %d bytes", MaxSize)
	}
	certs, keys, other := blocks(data)
	switch {
	case field == Chain && (keys > 0 || bytes.Contains(data, keyMark)):
		return &failure{class: keyInChain{}, text: "there is a private key where the certificate chain should be, and whoever can read the chain can read it: replace the key, and publish the certificates alone"}
	case field == Chain && certs == 0, field == Key && keys == 0:
		return fail(ErrWrongKind, "want a %s in PEM, got %s", field, looksLike(data, certs, keys, other))
	}
	return nil
}

// keyInChain is ErrKeyInChain and ErrWrongKind at once.
type keyInChain struct{}

func (keyInChain) Error() string        { return ErrKeyInChain.Error() }
func (keyInChain) Is(target error) bool { return target == ErrKeyInChain || target == ErrWrongKind }

// blocks counts PEM blocks; other is the type of the first that is neither a
// certificate nor a key.
func blocks(data []byte) (certs, keys int, other string) {
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			return certs, keys, other
		}
		switch {
		case b.Type == "CERTIFICATE":
			certs++
		case strings.HasSuffix(b.Type, "PRIVATE KEY"):
			keys++
		case other == "":
			other = b.Type
		}
	}
}

func looksLike(data []byte, certs, keys int, other string) string {
	head := bytes.ToLower(bytes.TrimSpace(data[:min(len(data), 512)]))
	switch {
	case keys > 0:
		return "a private key"
	case certs > 0:
		return "certificates"
	case strings.Contains(other, "REQUEST"):
		return "a signing request"
	case other != "":
		return "PEM of another type"
	case len(head) == 0:
		return "nothing"
	case bytes.HasPrefix(head, []byte("<")):
		return "a page of HTML or XML"
	case head[0] == '{' || head[0] == '[':
		return "JSON; ?field=NAME takes one field of a secret of AWS or Vault"
	case data[0] == 0x30 && len(data) > 1 && data[1] >= 0x80: // SEQUENCE, as X.509, PKCS#7 and PKCS#12 begin
		return "binary DER; write it as PEM"
	case bytes.Contains(head, []byte("-----begin")):
		return "PEM that is cut off or damaged"
	}
	return "something else"
}

// onlyBlocks keeps the blocks that the field wants, of a store whose format has
// the chain and the key in one.
func onlyBlocks(field Field, data []byte) []byte {
	var out []byte
	for rest := data; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return out
		}
		if strings.HasSuffix(b.Type, "PRIVATE KEY") == (field == Key) {
			out = append(out, pem.EncodeToMemory(b)...)
		}
	}
}
