package reconciler

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
)

// sealer encrypts what is stored with AES-256-GCM under a key of this host, so
// that a copy of the database alone gives no secret away.
type sealer struct{ aead cipher.AEAD }

func newSealer(key []byte) (sealer, error) {
	if len(key) != 32 {
		return sealer{}, fmt.Errorf("use state key: has %d bytes, needs 32", len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, fmt.Errorf("use state key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return sealer{}, fmt.Errorf("use state key: %w", err)
	}
	return sealer{aead}, nil
}

// NewKey makes a key for NewStore.
func NewKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails since Go 1.24
	return key
}

func (s sealer) seal(plain []byte) ([]byte, error) { return s.aead.Seal(nil, nil, plain, nil), nil }

// ErrUnsealed says that what is kept cannot be read any more, now or later.
var ErrUnsealed = errors.New("it was written with another key (state/store.key) or is damaged")

func (s sealer) open(sealed []byte) ([]byte, error) {
	plain, err := s.aead.Open(nil, nil, sealed, nil)
	if err != nil {
		return nil, ErrUnsealed
	}
	return plain, nil
}
