package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"
)

// Cost is what one hash of a password takes.
type Cost struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8
}

// DefaultCost is one of the five that OWASP's Password Storage Cheat Sheet calls
// equally strong. The one with little memory suits a daemon that rests at 25 MiB.
func DefaultCost() Cost { return Cost{Memory: 9 << 10, Time: 4, Threads: 1} }

const (
	saltSize = 16
	hashSize = 32
	// maxWaiting hashes wait for the one that is made: with the default cost
	// under half a second of work.
	maxWaiting = 16
	busyFor    = 2 * time.Second
)

// hasher makes one hash at a time, so that a flood of sign-ins takes neither
// the second processor nor the memory from the loop.
type hasher struct {
	cost    Cost
	turn    chan struct{}
	waiting atomic.Int32
	made    atomic.Int64 // for tests: work is what timing shows
	nobody  string       // a hash that no password has
}

func newHasher(cost Cost) *hasher {
	if cost == (Cost{}) {
		cost = DefaultCost()
	}
	h := &hasher{cost: cost, turn: make(chan struct{}, 1)}
	h.nobody = encodeHash(cost, random(saltSize), random(hashSize))
	return h
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}

// take waits for its turn.
func (h *hasher) take(ctx context.Context) error {
	if h.waiting.Add(1) > maxWaiting {
		h.waiting.Add(-1)
		return &Refusal{Kind: TooMany, Detail: "too many people sign in at once", Hint: "try again in a moment", RetryAfter: busyFor}
	}
	defer h.waiting.Add(-1)
	select {
	case h.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *hasher) key(password string, salt []byte, c Cost, size uint32) []byte {
	h.made.Add(1)
	return argon2.IDKey([]byte(password), salt, c.Time, c.Memory, c.Threads, size)
}

// hash makes what is stored of a password.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	if err := h.take(ctx); err != nil {
		return "", err
	}
	defer func() { <-h.turn }()
	salt := random(saltSize)
	return encodeHash(h.cost, salt, h.key(password, salt, h.cost, hashSize)), nil
}

// verify compares a password with what is stored, which may be nothing: that
// takes as long, and fails. Old says that it was made at another cost.
func (h *hasher) verify(ctx context.Context, stored, password string) (ok, old bool, err error) {
	known := stored != ""
	if !known {
		stored = h.nobody
	}
	cost, salt, want, err := decodeHash(stored)
	if err != nil {
		return false, false, fmt.Errorf("read password hash: %w", err)
	}
	if err := h.take(ctx); err != nil {
		return false, false, err
	}
	defer func() { <-h.turn }()
	same := subtle.ConstantTimeCompare(want, h.key(password, salt, cost, uint32(len(want)))) == 1
	return same && known, cost != h.cost, nil
}

// encodeHash writes the usual text form of argon2 (PHC string format).
func encodeHash(c Cost, salt, key []byte) string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.Memory, c.Time, c.Threads, b64(salt), b64(key))
}

// The most that a stored hash may ask for; more is not ours.
const (
	maxMemory = 1 << 20 // KiB
	maxTime   = 64
)

func decodeHash(s string) (c Cost, salt, key []byte, err error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return c, nil, nil, fmt.Errorf("it is not argon2id, version %d", argon2.Version)
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &c.Memory, &c.Time, &c.Threads); err != nil {
		return c, nil, nil, fmt.Errorf("read its parameters: %w", err)
	}
	if c.Memory == 0 || c.Memory > maxMemory || c.Time == 0 || c.Time > maxTime || c.Threads == 0 {
		return c, nil, nil, fmt.Errorf("its parameters are out of bounds")
	}
	if salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil {
		return c, nil, nil, fmt.Errorf("read its salt: %w", err)
	}
	if key, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil || len(key) < 16 || len(key) > 64 {
		return c, nil, nil, fmt.Errorf("its key is not one")
	}
	return c, salt, key, nil
}
