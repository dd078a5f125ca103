package auth_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/server/auth"
)

var near = auth.Visit{Near: true}

// TestBootstrapRace: of 50 who come at once exactly one becomes administrator.
func TestBootstrapRace(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	var wg sync.WaitGroup
	var mu sync.Mutex
	kinds, start := map[auth.Kind]int{}, make(chan struct{})
	for i := range 50 {
		wg.Go(func() {
			<-start
			_, err := w.Bootstrap(ctx, near, auth.NewUser{Email: fmt.Sprintf("admin%d@example.com", i), Password: goodPassword}, "")
			mu.Lock()
			defer mu.Unlock()
			kinds[kindOf(err)]++
		})
	}
	close(start)
	wg.Wait()
	list, err := w.Users(ctx)
	if kinds[-1] != 1 || kinds[auth.Denied] != 49 || err != nil || len(list) != 1 || w.Hashes() != 1 {
		t.Errorf("the answers were %v; users %v, %v; %d hashes", kinds, list, err, w.Hashes())
	}
}

func TestBootstrapClosesForGood(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	if open, err := w.SetupOpen(); err != nil || !open {
		t.Fatalf("open %v, %v", open, err)
	}
	if code, err := w.SetupCode(); err != nil || len(code) != 24 || w.code.String() != code {
		t.Fatalf("code %q, %v; in the file %q", code, err, w.code.String())
	}
	g, err := w.Bootstrap(ctx, near, auth.NewUser{Email: "Ada@example.com", Name: "Ada", Password: goodPassword}, "")
	if err != nil || g.User.Role != auth.RoleAdmin || g.User.Email != "ada@example.com" {
		t.Fatalf("made %+v, %v", g.User, err)
	}
	if c, err := w.who(g.Token); err != nil || c.Role != auth.RoleAdmin {
		t.Errorf("the token of the setup: %+v, %v", c, err)
	}
	if code, err := w.SetupCode(); err != nil || code != "" || w.code.String() != "" {
		t.Errorf("afterwards the code is %q, %v; in the file %q", code, err, w.code.String())
	}
	// It stays closed, whatever becomes of the administrator.
	w.add("grace@example.com", auth.RoleAdmin)
	if _, err := w.DeleteUser(ctx, g.User.ID); err != nil {
		t.Fatal(err)
	}
	w.again()
	if open, err := w.SetupOpen(); err != nil || open {
		t.Errorf("open again: %v, %v", open, err)
	}
	_, err = w.Bootstrap(ctx, near, auth.NewUser{Email: "eve@example.com", Password: goodPassword}, "")
	wantKind(t, "a second bootstrap", err, auth.Denied)
}

func TestBootstrapRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what string
		user auth.NewUser
		want auth.Kind
	}{
		{"no password", auth.NewUser{Email: "ada@example.com"}, auth.Invalid},
		{"a weak password", auth.NewUser{Email: "ada@example.com", Password: "Password2026"}, auth.Invalid},
		{"no address", auth.NewUser{Password: goodPassword}, auth.Invalid},
	} {
		w := newWorld(t)
		_, err := w.Bootstrap(context.Background(), near, c.user, "")
		wantKind(t, c.what, err, c.want)
		if open, _ := w.SetupOpen(); !open {
			t.Errorf("%s closed the setup", c.what)
		}
		if list, _ := w.Users(context.Background()); len(list) != 0 {
			t.Errorf("%s left %v", c.what, list)
		}
	}
}

// TestTheHostClosesTheSetup: an administrator made on the host ends it, too, and
// one who cannot sign in does not.
func TestTheHostClosesTheSetup(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	if _, err := w.SetupCode(); err != nil {
		t.Fatal(err)
	}
	u, err := w.CreateUser(ctx, auth.NewUser{Email: "ada@example.com", Role: auth.RoleAdmin})
	if err != nil {
		t.Fatal(err)
	}
	w.add("viewer@example.com", auth.RoleViewer)
	if open, _ := w.SetupOpen(); !open {
		t.Error("an administrator without a password closed the setup")
	}
	if _, err := w.ChangeUser(ctx, auth.Caller{Via: auth.ViaSocket, Role: auth.RoleAdmin}, u.ID, auth.UserChange{Password: ptr(goodPassword)}); err != nil {
		t.Fatal(err)
	}
	if open, _ := w.SetupOpen(); open || w.code.String() != "" {
		t.Errorf("with an administrator who can sign in: open %v, code %q", open, w.code.String())
	}
}

func TestSetupCode(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	code, err := w.SetupCode()
	if err != nil {
		t.Fatal(err)
	}
	admin := auth.NewUser{Email: "ada@example.com", Password: goodPassword}
	for i, wrong := range []string{"", "AAAA-AAAA-AAAA-AAAA-AAAA", code[:len(code)-1], code + "A", strings.Repeat(code, 1000)} {
		_, err := w.Bootstrap(ctx, auth.Visit{Address: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})}, admin, wrong)
		wantKind(t, fmt.Sprintf("code %.40q", wrong), err, auth.Denied)
	}
	if w.Hashes() != 0 {
		t.Errorf("wrong codes cost %d hashes", w.Hashes())
	}
	limited := 0
	for range 1000 {
		if _, err := w.Bootstrap(ctx, from("198.51.100.7"), admin, "AAAA-AAAA-AAAA-AAAA-AAAA"); kindOf(err) == auth.TooMany {
			limited++
		}
	}
	if limited < 990 {
		t.Errorf("of 1,000 wrong codes %d were limited", limited)
	}
	w.again()
	if same, err := w.SetupCode(); err != nil || same != code {
		t.Errorf("after a restart the code is %q, %v, not %q", same, err, code)
	}
	if _, err := w.Bootstrap(ctx, from("192.0.2.99"), admin, " "+strings.ToLower(strings.ReplaceAll(code, "-", " "))+"\n"); err != nil {
		t.Errorf("the right code, as people type it: %v", err)
	}
}
