package auth_test

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/server/auth"
)

func TestTokens(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	ada := w.add("ada@example.com", auth.RoleAdmin)
	grace := w.add("grace@example.com", auth.RoleAnalyst)
	made, secret, err := w.CreateToken(ctx, caller(grace), grace.ID, auth.NewToken{Name: " nightly export ", Scopes: []string{"read", "query", "read"}})
	if err != nil {
		t.Fatal(err)
	}
	if made.Name != "nightly export" || len(made.Scopes) != 2 || !strings.HasPrefix(secret, made.Prefix) || len(made.Prefix) != 10 || len(secret) != 53 ||
		made.Expires.Sub(made.Created) != 90*24*time.Hour {
		t.Errorf("made %+v with a secret of %d characters", made, len(secret))
	}
	w.again()
	c, err := w.who(secret)
	if err != nil || c.ID != grace.ID || c.Role != auth.RoleAnalyst || c.Via != auth.ViaToken || c.Session != made.ID || !c.Permits("query") || c.Permits("write") {
		t.Errorf("asked with it: %+v, %v", c, err)
	}
	_, _, err = w.CreateToken(ctx, c, grace.ID, auth.NewToken{Name: "another"})
	wantKind(t, "a token makes a token", err, auth.Denied)
	_, _, err = w.CreateToken(ctx, caller(ada), grace.ID, auth.NewToken{Name: "another"})
	wantKind(t, "an administrator makes a token of somebody else", err, auth.Denied)
	if _, _, err = w.CreateToken(ctx, auth.Caller{Via: auth.ViaSocket, Role: auth.RoleAdmin}, grace.ID, auth.NewToken{Name: "by the host"}); err != nil {
		t.Errorf("the host makes one: %v", err)
	}
	if _, err := w.DeleteToken(ctx, caller(w.add("eve@example.com", auth.RoleAnalyst)), made.ID); kindOf(err) != auth.Missing {
		t.Errorf("somebody else deletes it: %v", err)
	}
	if gone, err := w.DeleteToken(ctx, caller(grace), made.ID); err != nil || gone.ID != made.ID {
		t.Errorf("deleted %+v, %v", gone, err)
	}
	for _, restart := range []bool{false, true} {
		if restart {
			w.again()
		}
		if _, err := w.who(secret); kindOf(err) != auth.Nobody {
			t.Errorf("a deleted token (restarted %v): %v", restart, err)
		}
	}
}

func TestTokensThatCannotBeMade(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	ada, grace := w.add("ada@example.com", auth.RoleAdmin), w.add("grace@example.com", auth.RoleViewer)
	for _, c := range []struct {
		what string
		who  auth.User
		want auth.NewToken
		kind auth.Kind
	}{
		{"no name", grace, auth.NewToken{}, auth.Invalid},
		{"a name of two lines", grace, auth.NewToken{Name: "a\nb"}, auth.Invalid},
		{"a scope that is none", grace, auth.NewToken{Name: "x", Scopes: []string{"root"}}, auth.Invalid},
		{"too long", grace, auth.NewToken{Name: "x", Days: 3651}, auth.Invalid},
		{"in the past", grace, auth.NewToken{Name: "x", Days: -1}, auth.Invalid},
		{"forever", grace, auth.NewToken{Name: "x", Forever: true}, auth.Denied},
		{"forever, for an administrator", ada, auth.NewToken{Name: "x", Forever: true}, -1},
		{"as long as can be", grace, auth.NewToken{Name: "x", Days: 3650}, -1},
	} {
		_, _, err := w.CreateToken(ctx, caller(c.who), c.who.ID, c.want)
		wantKind(t, c.what, err, c.kind)
	}
	var err error
	for range 101 {
		_, _, err = w.CreateToken(ctx, caller(grace), grace.ID, auth.NewToken{Name: "x"})
	}
	wantKind(t, "too many", err, auth.Conflict)
}

func TestTokensEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, ctx := newWorld(t), t.Context()
		ada, grace := w.add("ada@example.com", auth.RoleAdmin), w.add("grace@example.com", auth.RoleViewer)
		made, secret, err := w.CreateToken(ctx, caller(grace), grace.ID, auth.NewToken{Name: "x", Days: 1})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(made.Expires) - time.Second)
		if _, err := w.who(secret); err != nil {
			t.Errorf("a second before the end: %v", err)
		}
		used := time.Now().UTC().Truncate(time.Second)
		if err := w.Tidy(); err != nil {
			t.Fatal(err)
		}
		w.again()
		if list, err := w.Tokens(ctx, grace.ID); err != nil || len(list) != 1 || !list[0].Seen.Equal(used) || list[0].SeenFrom != "192.0.2.1" {
			t.Errorf("used: %+v, %v", list, err)
		}
		if _, err := w.ChangeUser(ctx, caller(ada), grace.ID, auth.UserChange{Disabled: ptr(true)}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.who(secret); kindOf(err) != auth.Nobody {
			t.Errorf("of a disabled user: %v", err)
		}
		if _, err := w.ChangeUser(ctx, caller(ada), grace.ID, auth.UserChange{Disabled: ptr(false), Role: ptr(auth.RoleAnalyst)}); err != nil {
			t.Fatal(err)
		}
		if c, err := w.who(secret); err != nil || c.Role != auth.RoleAnalyst {
			t.Errorf("of the same user with another role: %+v, %v", c, err)
		}
		time.Sleep(2 * time.Second)
		if _, err := w.who(secret); kindOf(err) != auth.Nobody {
			t.Errorf("a second after the end: %v", err)
		}
	})
}

// TestSecretsAreNotOnDisk: neither passwords nor tokens are in the database, nor
// the setup code (law 12).
func TestSecretsAreNotOnDisk(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	code, err := w.SetupCode()
	if err != nil {
		t.Fatal(err)
	}
	g, err := w.Bootstrap(ctx, from("192.0.2.1"), auth.NewUser{Email: "ada@example.com", Password: goodPassword}, code)
	if err != nil {
		t.Fatal(err)
	}
	_, secret, err := w.CreateToken(ctx, caller(g.User), g.User.ID, auth.NewToken{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	// People do type their password for their name.
	_, _ = w.SignIn(ctx, from("192.0.2.1"), newPassword, "")
	w.again()
	content, err := os.ReadFile(w.path)
	if err != nil {
		t.Fatal(err)
	}
	for what, s := range map[string]string{"password": goodPassword, "token": secret[10:40], "session": g.Token, "key": string(w.opt.Key), "code": code, "password for a name": newPassword} {
		if bytes.Contains(content, []byte(s)) {
			t.Errorf("the %s is in the database", what)
		}
	}
	if !bytes.Contains(content, []byte("ada@example.com")) {
		t.Error("it was not looked where users are")
	}
}

func TestSecretForm(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		s := auth.NewSecret()
		if !auth.WellFormed(s) || seen[s] {
			t.Fatalf("%s is not a good one", s)
		}
		seen[s] = true
		bad := []byte(s)
		bad[20] ^= 1
		if auth.WellFormed(string(bad)) || auth.WellFormed(s+"0") || auth.WellFormed(s[:52]) || auth.WellFormed(strings.ToUpper(s)) {
			t.Fatalf("something like %s is one, too", s)
		}
	}
}

func FuzzWellFormed(f *testing.F) {
	f.Add("flp_")
	f.Add(auth.NewSecret())
	f.Add(strings.Repeat("flp_", 20))
	f.Fuzz(func(t *testing.T, s string) {
		if auth.WellFormed(s) && (len(s) != 53 || !strings.HasPrefix(s, "flp_")) {
			t.Errorf("%q is one", s)
		}
	})
}

func FuzzReadJWT(f *testing.F) {
	s := newWorldF(f)
	good, err := s.Sign(auth.User{ID: "u", Email: "ada@example.com", Role: auth.RoleAdmin}, auth.Session{ID: "s", Created: time.Now(), Expires: time.Now().Add(time.Hour)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	for _, seed := range []string{"", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.x", strings.Repeat(".", 5000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if s.ReadJWT(token) == nil && token != good {
			t.Errorf("%q is taken", token)
		}
	})
}
