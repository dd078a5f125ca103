package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"math/big"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Scopes of tokens. One that has none may do all that its owner may.
const (
	ScopeRead  = "read"  // look at everything that a viewer sees
	ScopeQuery = "query" // ask data: tables, queries, profiles
	ScopeSync  = "sync"  // bring about what is configured already
	ScopeWrite = "write" // change what is configured
	ScopeAdmin = "admin" // everything, people and the audit log included
)

// Scopes lists them.
func Scopes() []string { return []string{ScopeRead, ScopeQuery, ScopeSync, ScopeWrite, ScopeAdmin} }

// Permits reports whether a caller's token reaches to something. Who did not
// come with a token is bounded by the role alone.
func (c Caller) Permits(scope string) bool {
	return c.Via != ViaToken || len(c.Scopes) == 0 || slices.Contains(c.Scopes, scope) || slices.Contains(c.Scopes, ScopeAdmin)
}

// The form of a token: a prefix by which scanners for leaked secrets find it,
// 256 random bits, and a checksum by which they tell it from chance. Both are in
// base 62, so that a double click takes it whole.
const (
	tokenPrefix = "flp_"
	secretSize  = 32
	secretChars = 43
	checkChars  = 6
	shownChars  = len(tokenPrefix) + 6
	tokenChars  = len(tokenPrefix) + secretChars + checkChars
)

// The bounds of tokens.
const (
	maxTokens     = 100 // of one user
	maxTokenName  = 100 // characters
	defaultExpiry = 90  // days
	maxExpiry     = 3650
	day           = 24 * time.Hour
)

type secretHash [sha256.Size]byte

// MarshalText writes it in hexadecimal.
func (h secretHash) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h[:])), nil }

// UnmarshalText reads what MarshalText wrote.
func (h *secretHash) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(h) {
		return fmt.Errorf("read hash of token: %q is none", clip(string(text), 8))
	}
	copy(h[:], b)
	return nil
}

// tokenRecord is a token as it is stored.
type tokenRecord struct {
	Token
	// Hash is SHA-256: what it is of has 256 random bits, which nobody guesses.
	Hash secretHash `json:"hash"`
}

func base62(n *big.Int, width int) string {
	s := n.Text(62)
	return strings.Repeat("0", max(0, width-len(s))) + s
}

func newSecret() string {
	body := tokenPrefix + base62(new(big.Int).SetBytes(random(secretSize)), secretChars)
	return body + checksum(body)
}

func checksum(body string) string {
	return base62(big.NewInt(int64(crc32.ChecksumIEEE([]byte(body)))), checkChars)
}

// wellFormed reports whether a text can be a token at all.
func wellFormed(secret string) bool {
	if len(secret) != tokenChars || !strings.HasPrefix(secret, tokenPrefix) {
		return false
	}
	body := secret[:len(secret)-checkChars]
	return checksum(body) == secret[len(body):]
}

// NewToken is what is wanted of a token.
type NewToken struct {
	Name string
	// Days until it ends; 0: the default. Forever asks for one that never does.
	Days    int
	Forever bool
	Scopes  []string
}

func (n *NewToken) check(who Caller) error {
	n.Name = strings.TrimSpace(n.Name)
	switch count := utf8.RuneCountInString(n.Name); {
	case !plainText(n.Name) || count == 0 || count > maxTokenName:
		return refuse(Invalid, fmt.Sprintf("name: a token has a name of 1 to %d characters", maxTokenName), "call it by what uses it, as in \"nightly export\"")
	case n.Forever && !who.Role.Allows(RoleAdmin):
		return refuse(Denied, "expires_in_days: only an administrator makes tokens that never end", "leave it out for 90 days, or give up to 3650")
	case n.Days < 0 || n.Days > maxExpiry:
		return refuse(Invalid, fmt.Sprintf("expires_in_days: it is from 1 to %d", maxExpiry), "leave it out for 90 days")
	}
	for _, scope := range n.Scopes {
		if !slices.Contains(Scopes(), scope) {
			return refuse(Invalid, fmt.Sprintf("scopes: there is no scope %q", clip(scope, maxAgent)), "there are: "+strings.Join(Scopes(), ", ")+"; none means all that your role allows")
		}
	}
	n.Scopes = slices.Compact(slices.Sorted(slices.Values(n.Scopes)))
	return nil
}

// CreateToken makes a token of a user, and returns it with its secret, which
// nobody can have again.
func (s *Store) CreateToken(_ context.Context, who Caller, user string, n NewToken) (Token, string, error) {
	if who.Via == ViaToken {
		return Token{}, "", refuse(Denied, "a token cannot make tokens", "sign in with a password: POST /auth/token, or the page Tokens")
	}
	if user != who.ID && who.Via != ViaSocket {
		return Token{}, "", refuse(Denied, "a token is made by whose it is", "leave user_id out; on the host, fairlead user token add makes one for anybody")
	}
	if err := n.check(who); err != nil {
		return Token{}, "", err
	}
	if err := s.Busy(who); err != nil {
		return Token{}, "", err
	}
	secret := newSecret()
	now := time.Now().UTC().Truncate(time.Second)
	t := tokenRecord{Hash: sha256.Sum256([]byte(secret)), Token: Token{ID: newID(), User: user, Name: n.Name, Prefix: secret[:shownChars], Scopes: n.Scopes, Created: now}}
	if t.Scopes == nil {
		t.Scopes = []string{}
	}
	if n.Days == 0 {
		n.Days = defaultExpiry
	}
	if !n.Forever {
		t.Expires = now.Add(time.Duration(n.Days) * day)
	}
	err := s.change(func(c *change) error {
		if _, err := c.user(user); err != nil {
			return err
		}
		if count(c.tokens, func(o *tokenRecord) bool { return o.User == user }) >= maxTokens {
			return refuse(Conflict, fmt.Sprintf("there are %d tokens already", maxTokens), "delete those that nobody uses: GET /api/tokens shows when each was used last")
		}
		return c.putToken(t)
	})
	return t.Token, secret, err
}

func count[K comparable, V any](m map[K]V, is func(V) bool) (n int) {
	for _, v := range m {
		if is(v) {
			n++
		}
	}
	return n
}

// Tokens returns those of a user, the newest first; of all for an empty id.
func (s *Store) Tokens(_ context.Context, user string) ([]Token, error) {
	if err := s.load(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := []Token{}
	for _, t := range s.tokens {
		if user == "" || t.User == user {
			one, last := t.Token, s.seen(t.ID, t.Seen)
			one.Seen = last.at
			if last.from != "" {
				one.SeenFrom = last.from
			}
			list = append(list, one)
		}
	}
	slices.SortFunc(list, func(x, y Token) int {
		if c := y.Created.Compare(x.Created); c != 0 {
			return c
		}
		return strings.Compare(x.ID, y.ID)
	})
	return list, nil
}

// DeleteToken ends a token. A caller who is no administrator ends only their own.
func (s *Store) DeleteToken(_ context.Context, who Caller, id string) (Token, error) {
	var gone Token
	err := s.change(func(c *change) error {
		t, there := c.tokens[id]
		if !there || (t.User != who.ID && !who.Role.Allows(RoleAdmin)) {
			return refuse(Missing, "there is no such token", "GET /api/tokens lists yours")
		}
		gone = t.Token
		return c.removeToken(t)
	})
	return gone, err
}
