package auth

import (
	"context"
	"crypto/sha256"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

type visitKey struct{}

// WithVisit notes where a request comes from.
func WithVisit(ctx context.Context, v Visit) context.Context {
	return context.WithValue(ctx, visitKey{}, v)
}

// VisitFrom returns where a request comes from; that of this host itself when
// nothing was noted, which is so on the socket and in commands.
func VisitFrom(ctx context.Context) Visit {
	if v, noted := ctx.Value(visitKey{}).(Visit); noted {
		return v
	}
	return Visit{Near: true}
}

// Visit reads where a request comes from.
func (s *Store) Visit(r *http.Request) Visit { return s.proxies.VisitOf(r) }

// Authenticate finds out who makes a request: by Authorization: Bearer with a
// session's token or a personal access token, else by the cookie. Known is false
// when the request says nothing about it. The error is a *Refusal unless the
// store cannot be read.
func (s *Store) Authenticate(r *http.Request) (who Caller, known bool, err error) {
	if err := s.load(); err != nil {
		return Caller{}, false, err
	}
	if values := r.Header.Values("Authorization"); len(values) > 0 {
		bearer, said, err := bearerOf(values)
		if err != nil || said {
			if err == nil {
				who, err = s.byBearer(bearer, s.Visit(r))
			}
			return who, true, err
		}
	}
	cookie, said := s.cookieOf(r)
	if !said {
		return Caller{}, false, nil
	}
	who, err = s.byJWT(cookie, s.Visit(r))
	return who, true, err
}

// bearerOf reads the header. Another scheme is none of ours: a proxy may ask
// for a password of its own.
func bearerOf(values []string) (token string, said bool, err error) {
	for _, v := range values {
		scheme, rest, _ := strings.Cut(strings.TrimSpace(v), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			continue
		}
		if said {
			return "", true, refuse(Nobody, "there are two Authorization headers", "send one")
		}
		token, said = strings.TrimSpace(rest), true
	}
	return token, said, nil
}

func (s *Store) byBearer(token string, v Visit) (Caller, error) {
	if strings.HasPrefix(token, tokenPrefix) {
		return s.byToken(token, v)
	}
	return s.byJWT(token, v)
}

// notSigned is the answer to a session that does not count, for whatever
// reason.
func notSigned() *Refusal {
	return refuse(Nobody, "the session is not valid, or it has ended", "sign in again: POST /auth/token")
}

func (s *Store) byJWT(token string, v Visit) (Caller, error) {
	c, err := s.readJWT(token)
	if err != nil {
		return Caller{}, notSigned()
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	x, there := s.sessions[c.ID]
	if !there || x.User != c.Subject || !time.Now().Before(x.Expires) {
		return Caller{}, notSigned()
	}
	a, there := s.users[x.User]
	if !there || a.Disabled {
		return Caller{}, notSigned()
	}
	s.glimpse(a.ID, x.ID, v.Address)
	return Caller{ID: a.ID, Email: a.Email, Name: a.Label(), Role: a.Role, Via: ViaSession, Session: x.ID}, nil
}

func (s *Store) byToken(secret string, v Visit) (Caller, error) {
	no := refuse(Nobody, "the token is not valid, or it has ended", "make another one: POST /api/tokens, or fairlead user token add on the host")
	if !wellFormed(secret) {
		no.Hint = "it is not whole: it has " + tokenPrefix + " and 49 characters; take it as it was shown"
		return Caller{}, no
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, there := s.tokens[s.secrets[sha256.Sum256([]byte(secret))]]
	if !there || (!t.Expires.IsZero() && !time.Now().Before(t.Expires)) {
		return Caller{}, no
	}
	a, there := s.users[t.User]
	if !there || a.Disabled {
		return Caller{}, no
	}
	s.glimpse(a.ID, t.ID, v.Address)
	return Caller{ID: a.ID, Email: a.Email, Name: a.Label(), Role: a.Role, Via: ViaToken, Session: t.ID, Scopes: t.Scopes}, nil
}

// Valid reports whether a caller may still be believed, with the same role.
func (s *Store) Valid(c Caller) bool {
	if s.load() != nil {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	a, there := s.users[c.ID]
	if !there || a.Disabled || a.Role != c.Role {
		return false
	}
	now := time.Now()
	if x, there := s.sessions[c.Session]; there && c.Via == ViaSession {
		return x.User == c.ID && now.Before(x.Expires)
	}
	t, there := s.tokens[c.Session]
	return there && c.Via == ViaToken && t.User == c.ID && (t.Expires.IsZero() || now.Before(t.Expires))
}

// Names of the cookie. A browser takes the first one only over TLS, for this
// host and for no other name of the domain, so that no neighbour sets it.
const (
	SecureCookie = "__Host-fairlead_session"
	PlainCookie  = "fairlead_session"
)

func cookieName(secure bool) string {
	if secure {
		return SecureCookie
	}
	return PlainCookie
}

// cookieOf reads the session's cookie. Two of one name are none: one of them
// was put there by somebody else.
func (s *Store) cookieOf(r *http.Request) (value string, said bool) {
	found := r.CookiesNamed(cookieName(s.proxies.Secure(r)))
	if len(found) != 1 || found[0].Value == "" {
		return "", false
	}
	return found[0].Value, true
}

// SetCookie has a browser keep a session.
func SetCookie(w http.ResponseWriter, v Visit, token string, ends time.Time) {
	http.SetCookie(w, &http.Cookie{Name: cookieName(v.Secure), Value: token, Path: "/", Expires: ends, MaxAge: max(1, int(time.Until(ends).Seconds())),
		Secure: v.Secure, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

// ClearCookie has a browser forget the session.
func ClearCookie(w http.ResponseWriter, v Visit) { w.Header().Add("Set-Cookie", ClearedCookie(v)) }

// ClearedCookie is the header with which a browser forgets the session.
func ClearedCookie(v Visit) string {
	c := &http.Cookie{Name: cookieName(v.Secure), Path: "/", MaxAge: -1, Secure: v.Secure, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	return c.String()
}

// glimpse is when and from where somebody was seen last.
type glimpse struct {
	at    time.Time
	from  string
	dirty bool // not on disk yet
}

// glimpse notes that a user came with a session or a token. It is kept in
// memory; Run writes it down.
func (s *Store) glimpse(user, by string, from netip.Addr) {
	now := time.Now().UTC().Truncate(time.Second)
	s.glimpsed.Lock()
	defer s.glimpsed.Unlock()
	for _, id := range []string{user, by} {
		if g := s.glimpses[id]; now.Sub(g.at) >= time.Second || g.from != addressText(from) {
			s.glimpses[id] = glimpse{now, addressText(from), true}
		}
	}
}

func addressText(a netip.Addr) string { return Visit{Address: a}.address() }

// seen is the later one of what is stored and what is remembered.
func (s *Store) seen(id string, stored time.Time) glimpse {
	s.glimpsed.Lock()
	defer s.glimpsed.Unlock()
	if g := s.glimpses[id]; g.at.After(stored) {
		return g
	}
	return glimpse{at: stored}
}
