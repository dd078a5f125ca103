package secrets

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// The format of a value is that of the package aes of github.com/getsops/sops:
// AES-256-GCM with a nonce of 32 bytes, the place of the value as additional
// data.
const (
	keySize   = 32
	nonceSize = 32
	tagSize   = 16
	maxNonce  = 64
)

var encForm = regexp.MustCompile(`^ENC\[AES256_GCM,data:([A-Za-z0-9+/=]*),iv:([A-Za-z0-9+/=]+),tag:([A-Za-z0-9+/=]+),type:([a-z]+)\]$`)

// The types that a value had before it was encrypted.
const (
	kindText    = "str"
	kindInt     = "int"
	kindFloat   = "float"
	kindBool    = "bool"
	kindBytes   = "bytes"
	kindTime    = "time"
	kindComment = "comment"
)

// plain is a value in the clear: how sops writes it into the code of the file
// (the MAC), and what type it has.
type plain struct {
	text string
	kind string
}

// value is the text as a reference gets it.
func (p plain) value() string {
	if p.kind == kindBool {
		if p.text == "True" {
			return "true"
		}
		return "false"
	}
	return p.text
}

var (
	errNotSealed = errors.New("is not encrypted")
	errTampered  = errors.New("does not decrypt: it was changed, or moved here from another place or file")
	errKind      = errors.New("was encrypted as something that is not known")
)

// isSealed says whether a text is an encrypted value. An empty text is none
// and needs no encryption: sops leaves it.
func isSealed(text string) bool { return encForm.MatchString(text) }

// unsealValue decrypts one value; place is its path with : behind each part.
func unsealValue(text string, key []byte, place string) (plain, error) {
	if text == "" {
		return plain{"", kindText}, nil
	}
	m := encForm.FindStringSubmatch(text)
	if m == nil {
		return plain{}, errNotSealed
	}
	var parts [3][]byte
	for i := range parts {
		var err error
		if parts[i], err = base64.StdEncoding.DecodeString(m[i+1]); err != nil {
			return plain{}, errTampered
		}
	}
	data, nonce, tag := parts[0], parts[1], parts[2]
	if len(tag) != tagSize || len(nonce) == 0 || len(nonce) > maxNonce {
		return plain{}, errTampered
	}
	gcm, err := newGCM(key, len(nonce))
	if err != nil {
		return plain{}, err
	}
	clear, err := gcm.Open(nil, nonce, append(data, tag...), []byte(place))
	if err != nil {
		return plain{}, errTampered
	}
	return typed(string(clear), m[4])
}

// typed is a decrypted text as the type that it had, which is written into the
// code of the file in one way only.
func typed(text, kind string) (plain, error) {
	p := plain{text, kind}
	switch kind {
	case kindText, kindBytes, kindComment:
		return p, nil
	case kindInt:
		n, err := strconv.Atoi(text)
		p.text = strconv.Itoa(n)
		return p, wrongKind(err)
	case kindFloat:
		n, err := strconv.ParseFloat(text, 64)
		p.text = strconv.FormatFloat(n, 'f', -1, 64)
		return p, wrongKind(err)
	case kindBool:
		b, err := strconv.ParseBool(text)
		p.text = titleBool(b)
		return p, wrongKind(err)
	case kindTime:
		t, err := time.Parse(time.RFC3339Nano, text)
		p.text = t.Format(time.RFC3339Nano)
		return p, wrongKind(err)
	}
	return plain{}, errKind
}

func wrongKind(err error) error {
	if err != nil {
		return errKind
	}
	return nil
}

// titleBool is how the first sops, which was Python, wrote it.
func titleBool(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

// sealValue encrypts one value.
func sealValue(p plain, key []byte, place string) (string, error) {
	if p.text == "" {
		return "", nil
	}
	nonce := make([]byte, nonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return "", fmt.Errorf("encrypt a value: %w", err)
	}
	gcm, err := newGCM(key, nonceSize)
	if err != nil {
		return "", err
	}
	out := gcm.Seal(nil, nonce, []byte(p.text), []byte(place))
	code := base64.StdEncoding.EncodeToString
	data, tag := out[:len(out)-tagSize], out[len(out)-tagSize:]
	return fmt.Sprintf("ENC[AES256_GCM,data:%s,iv:%s,tag:%s,type:%s]", code(data), code(nonce), code(tag), p.kind), nil
}

func newGCM(key []byte, nonce int) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("use data key: %w", err)
	}
	gcm, err := cipher.NewGCMWithNonceSize(block, nonce)
	if err != nil {
		return nil, fmt.Errorf("use data key: %w", err)
	}
	return gcm, nil
}
