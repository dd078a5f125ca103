package auth

import "time"

// Hashes is how many passwords were hashed: the work that timing would show.
func (s *Store) Hashes() int64 { return s.hash.made.Load() }

// Sign makes a token of a session as the store does.
func (s *Store) Sign(u User, x Session) (string, error) { return s.sign(u, x) }

// CheckPassword is checkPassword.
func CheckPassword(password, email, name string) error {
	return checkPassword(sameForm(password), email, name)
}

// FoldEmail and CheckEmail are what an address passes.
func FoldEmail(email string) string { return foldEmail(email) }

func CheckEmail(email string) error { return checkEmail(foldEmail(email)) }

// ReadJWT is what a session's token passes before the store is asked.
func (s *Store) ReadJWT(token string) error {
	_, err := s.readJWT(token)
	return err
}

// WellFormed reports whether a text can be a personal access token.
func WellFormed(secret string) bool { return wellFormed(secret) }

// NewSecret makes one.
func NewSecret() string { return newSecret() }

// BearerOf reads Authorization headers.
func BearerOf(values []string) (string, bool, error) { return bearerOf(values) }

// DecodeHash and EncodeHash are the stored form of a password.
func DecodeHash(s string) (Cost, []byte, []byte, error) { return decodeHash(s) }

func EncodeHash(c Cost, salt, key []byte) string { return encodeHash(c, salt, key) }

// Throttle counts as those of a store do.
type Throttle = throttle

var (
	NewThrottle = newThrottle
	Block       = block
)

// Rate makes a rate.
func Rate(burst int, every time.Duration) rate { return rate{burst, every} }

// Take is take.
func (t *throttle) Take(key string) (time.Duration, bool) { return t.take(key) }

// Known is how many keys are counted.
func (t *throttle) Known() int { return len(t.keys) }
