package auth_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fairlead/fairlead/server/auth"
)

// good are the claims of a session that counts.
func good(g auth.Grant) jwt.MapClaims {
	return jwt.MapClaims{"iss": "fairlead", "sub": g.User.ID, "jti": g.Session.ID, "typ": "session", "email": g.User.Email, "role": g.User.Role,
		"iat": g.Session.Created.Unix(), "exp": g.Session.Expires.Unix()}
}

func with(c jwt.MapClaims, name string, value any) jwt.MapClaims {
	if value == nil {
		delete(c, name)
	} else {
		c[name] = value
	}
	return c
}

// signed makes a token; header is beside alg and typ.
func signed(t *testing.T, method jwt.SigningMethod, key any, c jwt.Claims, header map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	for k, v := range header {
		token.Header[k] = v
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// segment writes a part of a token by hand.
func segment(v any) string {
	b, _ := json.Marshal(v)
	return base64.RawURLEncoding.EncodeToString(b)
}

// TestForgedSessionsAreRefused is the fixed list of attacks on the token.
func TestForgedSessionsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add("ada@example.com", auth.RoleAdmin)
	g := w.in("ada@example.com")
	key := w.opt.Key
	other := []byte(strings.Repeat("x", 32))
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, _ := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	hs := jwt.SigningMethodHS256
	parts := strings.Split(g.Token, ".")
	flipped := []byte(parts[2])
	flipped[4] ^= 1
	now := time.Now()
	attacks := map[string]string{
		"none":                       signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good(g), nil),
		"None with our signature":    segment(map[string]string{"alg": "None", "typ": "JWT"}) + "." + parts[1] + "." + parts[2],
		"none without signature":     segment(map[string]string{"alg": "none", "typ": "JWT"}) + "." + parts[1] + ".",
		"no algorithm":               segment(map[string]string{"typ": "JWT"}) + "." + parts[1] + "." + parts[2],
		"RS256 of another key":       signed(t, jwt.SigningMethodRS256, rsaKey, good(g), nil),
		"RS256 with HMAC of its key": signed(t, hs, publicPEM, good(g), nil),
		"HS384 with our key":         signed(t, jwt.SigningMethodHS384, key, good(g), nil),
		"HS512 with our key":         signed(t, jwt.SigningMethodHS512, key, good(g), nil),
		"another key":                signed(t, hs, other, good(g), nil),
		"an empty key":               signed(t, hs, []byte{}, good(g), nil),
		"kid to a file":              signed(t, hs, key, good(g), map[string]any{"kid": "../../dev/null"}),
		"kid of SQL":                 signed(t, hs, key, good(g), map[string]any{"kid": "' UNION SELECT 'x"}),
		"a key of its own":           signed(t, hs, key, good(g), map[string]any{"jwk": map[string]string{"kty": "oct", "k": "eA"}}),
		"a key by URL":               signed(t, hs, key, good(g), map[string]any{"jku": "http://127.0.0.1/keys"}),
		"a certificate by URL":       signed(t, hs, key, good(g), map[string]any{"x5u": "http://127.0.0.1/x"}),
		"critical extension":         signed(t, hs, key, good(g), map[string]any{"crit": []string{"exp"}}),
		"another type in the header": signed(t, hs, key, good(g), map[string]any{"typ": "at+jwt"}),
		"expired":                    signed(t, hs, key, with(good(g), "exp", now.Add(-time.Minute).Unix()), nil),
		"without an end":             signed(t, hs, key, with(good(g), "exp", nil), nil),
		"not valid yet":              signed(t, hs, key, with(good(g), "nbf", now.Add(time.Hour).Unix()), nil),
		"made in the future":         signed(t, hs, key, with(good(g), "iat", now.Add(time.Hour).Unix()), nil),
		"without a beginning":        signed(t, hs, key, with(good(g), "iat", nil), nil),
		"another issuer":             signed(t, hs, key, with(good(g), "iss", "keboola"), nil),
		"without an issuer":          signed(t, hs, key, with(good(g), "iss", nil), nil),
		"another kind":               signed(t, hs, key, with(good(g), "typ", "pat"), nil),
		"without a kind":             signed(t, hs, key, with(good(g), "typ", nil), nil),
		"another user":               signed(t, hs, key, with(good(g), "sub", "somebody"), nil),
		"without a user":             signed(t, hs, key, with(good(g), "sub", nil), nil),
		"a session that is none":     signed(t, hs, key, with(good(g), "jti", "0123456789"), nil),
		"without a session":          signed(t, hs, key, with(good(g), "jti", nil), nil),
		"an array of users":          signed(t, hs, key, with(good(g), "sub", []string{g.User.ID}), nil),
		"another signature":          parts[0] + "." + parts[1] + "." + string(flipped),
		"another payload":            parts[0] + "." + segment(with(good(g), "role", "admin")) + "." + parts[2],
		"no signature":               parts[0] + "." + parts[1] + ".",
		"two parts":                  parts[0] + "." + parts[1],
		"four parts":                 g.Token + ".x",
		"padded":                     g.Token + "=",
		"in standard base64":         strings.NewReplacer("-", "+", "_", "/").Replace(g.Token) + "==",
		"a newline within":           parts[0] + ".\n" + parts[1] + "." + parts[2],
		"huge":                       g.Token + strings.Repeat("A", 1<<20),
		"empty":                      "",
		"dots":                       "..",
		"null":                       "null",
	}
	for name, token := range attacks {
		if token == g.Token {
			t.Errorf("%s: the attack is the token itself", name)
		}
		if c, err := w.who(token); kindOf(err) != auth.Nobody {
			t.Errorf("%s: taken for %+v, %v", name, c, err)
		}
	}
	if _, err := w.who(g.Token); err != nil {
		t.Errorf("the real one: %v", err)
	}
}

// TestRoleComesFromTheStore: what the token says of the role counts for nothing.
func TestRoleComesFromTheStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add("ada@example.com", auth.RoleAdmin)
	w.add("grace@example.com", auth.RoleViewer)
	g := w.in("grace@example.com")
	c, err := w.who(signed(t, jwt.SigningMethodHS256, w.opt.Key, with(good(g), "role", "admin"), nil))
	if err != nil || c.Role != auth.RoleViewer {
		t.Errorf("a token that says admin is one of %+v, %v", c, err)
	}
}

func TestTokenReplayAfterRevoke(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	ada := w.add("ada@example.com", auth.RoleAdmin)
	grace := w.add("grace@example.com", auth.RoleViewer)
	one, two := w.in("ada@example.com"), w.in("ada@example.com")
	if one.Session.ID == two.Session.ID || one.Token == two.Token {
		t.Fatal("two sign-ins are one session")
	}
	_, err := w.EndSession(ctx, caller(grace), one.Session.ID)
	wantKind(t, "a viewer ends somebody else's session", err, auth.Missing)
	if _, err := w.EndSession(ctx, caller(ada), one.Session.ID); err != nil {
		t.Fatal(err)
	}
	for _, restart := range []bool{false, true} {
		if restart {
			w.again()
		}
		if _, err := w.who(one.Token); kindOf(err) != auth.Nobody {
			t.Errorf("an ended session (restarted %v): %v", restart, err)
		}
		if _, err := w.who(two.Token); err != nil {
			t.Errorf("the other one (restarted %v): %v", restart, err)
		}
	}
	if err := w.EndSessions(ctx, ada.ID, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := w.who(two.Token); kindOf(err) != auth.Nobody {
		t.Errorf("after all were ended: %v", err)
	}
}

// TestSessionsEnd by time, to the second, and are forgotten.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, ctx := newWorld(t), t.Context()
		ada := w.add("ada@example.com", auth.RoleAdmin)
		g := w.in("ada@example.com")
		time.Sleep(auth.SessionLife - time.Second)
		if _, err := w.who(g.Token); err != nil {
			t.Errorf("a second before the end: %v", err)
		}
		time.Sleep(2 * time.Second)
		if _, err := w.who(g.Token); kindOf(err) != auth.Nobody {
			t.Errorf("a second after the end: %v", err)
		}
		if err := w.Tidy(); err != nil {
			t.Fatal(err)
		}
		w.again()
		if list, err := w.Sessions(ctx, ada.ID); err != nil || len(list) != 0 {
			t.Errorf("left over: %v, %v", list, err)
		}
	})
}

// TestManySessions: the oldest goes when there are too many of one user.
func TestManySessions(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	ada := w.add("ada@example.com", auth.RoleAdmin)
	w.in("ada@example.com")
	var last auth.Grant
	for range 50 {
		last = w.in("ada@example.com")
	}
	list, err := w.Sessions(ctx, ada.ID)
	if err != nil || len(list) != 50 {
		t.Errorf("%d sessions, %v", len(list), err)
	}
	if _, err := w.who(last.Token); err != nil {
		t.Errorf("the last one: %v", err)
	}
}

// TestSeenIsWrittenSeldom: asking touches no disk, and what was seen is there
// after the next tidying.
func TestSeenIsWrittenSeldom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, ctx := newWorld(t), t.Context()
		w.add("ada@example.com", auth.RoleAdmin)
		g := w.in("ada@example.com")
		before := w.db.Stats().TxStats
		time.Sleep(10 * time.Minute)
		for range 1000 {
			if _, err := w.who(g.Token); err != nil {
				t.Fatal(err)
			}
		}
		after := w.db.Stats().TxStats
		if n := after.GetWrite() - before.GetWrite(); n != 0 {
			t.Errorf("1,000 requests wrote %d pages", n)
		}
		want := time.Now().UTC().Truncate(time.Second)
		if err := w.Tidy(); err != nil {
			t.Fatal(err)
		}
		w.again()
		if u, err := w.User(ctx, "ada@example.com"); err != nil || !u.Seen.Equal(want) {
			t.Errorf("seen %v, %v, want %v", u.Seen, err, want)
		}
		list, err := w.Sessions(ctx, g.User.ID)
		if err != nil || len(list) != 1 || !list[0].Seen.Equal(want) {
			t.Errorf("session seen: %+v, %v", list, err)
		}
		written := w.db.Stats().TxStats
		if err := w.Tidy(); err != nil {
			t.Fatal(err)
		}
		idle := w.db.Stats().TxStats
		if n := idle.GetWrite() - written.GetWrite(); n != 0 {
			t.Errorf("at rest %d pages are written", n)
		}
	})
}

func TestCookies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add("ada@example.com", auth.RoleAdmin)
	g := w.in("ada@example.com")
	for _, c := range []struct {
		what   string
		secure bool
		name   string
	}{
		{"plain", false, auth.PlainCookie},
		{"TLS", true, auth.SecureCookie},
	} {
		rec := httptest.NewRecorder()
		auth.SetCookie(rec, auth.Visit{Secure: c.secure}, g.Token, g.Session.Expires)
		set := rec.Result().Cookies()
		if len(set) != 1 || set[0].Name != c.name || !set[0].HttpOnly || set[0].Secure != c.secure || set[0].SameSite != http.SameSiteLaxMode || set[0].Path != "/" || set[0].Domain != "" {
			t.Errorf("%s: cookie %+v", c.what, set)
		}
		for _, asks := range []bool{false, true} { // plainly, and through a proxy that is trusted and speaks TLS
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			if asks {
				r.RemoteAddr = "10.0.0.1:1000"
				r.Header.Set("X-Forwarded-Proto", "https")
			}
			r.AddCookie(set[0])
			_, known, err := w.Authenticate(r)
			if err != nil || known != (asks == c.secure) {
				t.Errorf("%s cookie, TLS %v: known %v, %v", c.what, asks, known, err)
			}
		}
		rec = httptest.NewRecorder()
		auth.ClearCookie(rec, auth.Visit{Secure: c.secure})
		if set := rec.Result().Cookies(); len(set) != 1 || set[0].Name != c.name || set[0].MaxAge >= 0 {
			t.Errorf("%s: cleared by %+v", c.what, set)
		}
	}
}

// TestWhatARequestSays is about headers and cookies that fit badly together.
func TestWhatARequestSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add("ada@example.com", auth.RoleAdmin)
	g := w.in("ada@example.com")
	cookie := auth.PlainCookie + "=" + g.Token
	for _, c := range []struct {
		what          string
		authorization []string
		cookie        string
		known, ok     bool
	}{
		{"nothing", nil, "", false, true},
		{"a token", []string{"Bearer " + g.Token}, "", true, true},
		{"a token in small letters", []string{"bearer " + g.Token}, "", true, true},
		{"a cookie", nil, cookie, true, true},
		{"a proxy's own password and a cookie", []string{"Basic dTpw"}, cookie, true, true},
		{"a proxy's own password", []string{"Basic dTpw"}, "", false, true},
		{"a wrong token and a good cookie", []string{"Bearer x"}, cookie, true, false},
		{"two tokens", []string{"Bearer " + g.Token, "Bearer " + g.Token}, "", true, false},
		{"no token", []string{"Bearer"}, "", true, false},
		{"two cookies", nil, cookie + "; " + auth.PlainCookie + "=x", false, true},
		{"an empty cookie", nil, auth.PlainCookie + "=", false, true},
		{"another cookie", nil, "session=" + g.Token, false, true},
		{"a cookie that is over", nil, auth.PlainCookie + "=x.y.z", true, false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Authorization"] = c.authorization
		if c.cookie != "" {
			r.Header.Set("Cookie", c.cookie)
		}
		who, known, err := w.Authenticate(r)
		if known != c.known || (err == nil) != c.ok || (known && c.ok && who.Email != "ada@example.com") {
			t.Errorf("%s: %+v, known %v, %v", c.what, who, known, err)
		}
	}
}

func FuzzAuthenticate(f *testing.F) {
	for _, seed := range []string{"Bearer x", "Bearer eyJhbGciOiJub25lIn0.e30.", "Basic dTpw", "bearer  ", "Bearer flp_000", "", "Bearer a.b.c\x00"} {
		f.Add(seed, "fairlead_session=x")
	}
	w := newWorldF(f)
	f.Fuzz(func(t *testing.T, authorization, cookie string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Authorization"], r.Header["Cookie"] = []string{authorization}, []string{cookie}
		if who, known, err := w.Authenticate(r); err == nil && known {
			t.Errorf("%q and %q are %+v", authorization, cookie, who)
		} else if err != nil && kindOf(err) != auth.Nobody {
			t.Errorf("%q and %q: %v", authorization, cookie, err)
		}
	})
}
