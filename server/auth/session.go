package auth

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// SessionLife is how long somebody stays signed in. It does not grow with use:
// the token says when it ends, and what should last longer has a personal access
// token.
const SessionLife = 24 * time.Hour

const (
	issuer      = "fairlead"
	typeSession = "session"
	// maxSessions of one user; a further sign-in ends the oldest.
	maxSessions = 50
	maxJWT      = 4 << 10
	skew        = 5 * time.Second // of clocks: the token is our own
)

// claims are what a session's token says. What counts is the store: the role
// here is what it was at sign-in.
type claims struct {
	Email string `json:"email"`
	Role  Role   `json:"role"`
	Type  string `json:"typ"`
	jwt.RegisteredClaims
}

// Grant is what somebody gets who signed in.
type Grant struct {
	Token   string
	User    User
	Session Session
}

func newID() string { return hex.EncodeToString(random(12)) }

// begin makes a session. Its id is always a new one, whatever the client came
// with.
func (c *change) begin(u User, v Visit) (Session, error) {
	var own []*Session
	for _, x := range c.sessions {
		if x.User == u.ID {
			own = append(own, x)
		}
	}
	slices.SortFunc(own, func(x, y *Session) int { return y.Created.Compare(x.Created) })
	for i := maxSessions - 1; i < len(own); i++ {
		if err := c.endSession(own[i].ID); err != nil {
			return Session{}, err
		}
	}
	now := time.Now().UTC().Truncate(time.Second)
	x := Session{ID: newID(), User: u.ID, Created: now, Expires: now.Add(SessionLife), Seen: now, Address: v.address(), Agent: clip(v.Agent, maxAgent)}
	return x, c.putSession(x)
}

// endSessions ends those of a user, but for one.
func (c *change) endSessions(user, but string) error {
	for _, x := range c.sessions {
		if x.User == user && x.ID != but {
			if err := c.endSession(x.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) sign(u User, x Session) (string, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{Email: u.Email, Role: u.Role, Type: typeSession, RegisteredClaims: jwt.RegisteredClaims{
		Issuer: issuer, Subject: u.ID, ID: x.ID, IssuedAt: jwt.NewNumericDate(x.Created), ExpiresAt: jwt.NewNumericDate(x.Expires)}})
	signed, err := t.SignedString(s.key)
	if err != nil {
		return "", fmt.Errorf("sign session: %w", err)
	}
	return signed, nil
}

// readJWT checks a session's token by itself. Only the one algorithm is taken,
// and a header that says nothing but that: there is one key, so that neither
// kid, jku, x5u nor jwk has anything to choose (RFC 8725, 3.1 and 3.10).
func (s *Store) readJWT(token string) (claims, error) {
	if len(token) > maxJWT {
		return claims{}, errors.New("it is too long")
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer(issuer), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithLeeway(skew), jwt.WithStrictDecoding())
	var c claims
	_, err := parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		for name := range t.Header {
			if name != "alg" && name != "typ" {
				return nil, fmt.Errorf("its header says %s", name)
			}
		}
		if kind, _ := t.Header["typ"].(string); !strings.EqualFold(kind, "JWT") {
			return nil, errors.New("its header says that it is no JWT")
		}
		return s.key, nil
	})
	switch {
	case err != nil:
		return claims{}, err
	case c.Type != typeSession || c.ID == "" || c.Subject == "" || c.IssuedAt == nil:
		return claims{}, errors.New("it is not that of a session")
	}
	return c, nil
}

// Sessions returns those of a user that last, the newest first; of all users
// for an empty id.
func (s *Store) Sessions(_ context.Context, user string) ([]Session, error) {
	if err := s.load(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	list, now := []Session{}, time.Now()
	for _, x := range s.sessions {
		if (user == "" || x.User == user) && now.Before(x.Expires) {
			one := *x
			one.Seen = s.seen(one.ID, one.Seen).at
			list = append(list, one)
		}
	}
	slices.SortFunc(list, func(x, y Session) int {
		if c := y.Created.Compare(x.Created); c != 0 {
			return c
		}
		return strings.Compare(x.ID, y.ID)
	})
	return list, nil
}

// EndSession ends one. A caller who is no administrator ends only their own.
func (s *Store) EndSession(_ context.Context, who Caller, id string) (Session, error) {
	var ended Session
	err := s.change(func(c *change) error {
		x, there := c.sessions[id]
		if !there || (x.User != who.ID && !who.Role.Allows(RoleAdmin)) {
			return refuse(Missing, "there is no such session", "GET /api/sessions lists yours")
		}
		ended = *x
		return c.endSession(id)
	})
	return ended, err
}

// EndSessions ends all of a user, but for one id, which may be empty.
func (s *Store) EndSessions(_ context.Context, user, but string) error {
	return s.change(func(c *change) error {
		if _, err := c.user(user); err != nil {
			return err
		}
		return c.endSessions(user, but)
	})
}
