package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/server/auth"
)

// TestExistenceIsNotRevealed compares what an attacker sees of a user that is
// not there, one that is disabled, one without a password and a wrong password:
// the same words, and the same number of hashes, which is what time shows.
func TestExistenceIsNotRevealed(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	ada := w.add("ada@example.com", auth.RoleAdmin)
	w.add("off@example.com", auth.RoleViewer)
	off, _ := w.User(ctx, "off@example.com")
	if _, err := w.ChangeUser(ctx, caller(ada), off.ID, auth.UserChange{Disabled: ptr(true)}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.CreateUser(ctx, auth.NewUser{Email: "new@example.com", Role: auth.RoleViewer}); err != nil {
		t.Fatal(err)
	}
	var first *auth.Refusal
	for i, c := range []struct{ what, email, password string }{
		{"a wrong password", "ada@example.com", newPassword},
		{"nobody", "nobody@example.com", newPassword},
		{"nobody with an empty password", "nobody@example.com", ""},
		{"an empty password", "ada@example.com", ""},
		{"no address at all", "", ""},
		{"a disabled user", "off@example.com", goodPassword},
		{"a disabled user's wrong password", "off@example.com", newPassword},
		{"no password yet", "new@example.com", goodPassword},
		{"no password yet, and none", "new@example.com", ""},
		{"a huge password", "ada@example.com", strings.Repeat("x", 1<<20)},
	} {
		before := w.Hashes()
		_, err := w.SignIn(ctx, from(fmt.Sprintf("192.0.2.%d", i)), c.email, c.password)
		var no *auth.Refusal
		if !errors.As(err, &no) || no.Kind != auth.Nobody {
			t.Fatalf("%s: %v", c.what, err)
		}
		if n := w.Hashes() - before; n != 1 {
			t.Errorf("%s: %d hashes", c.what, n)
		}
		if first == nil {
			first = no
		}
		if no.Detail != first.Detail || no.Hint != first.Hint || no.RetryAfter != first.RetryAfter {
			t.Errorf("%s is told by %q %q", c.what, no.Detail, no.Hint)
		}
	}
	before := w.Hashes()
	w.in("ada@example.com")
	if n := w.Hashes() - before; n != 1 {
		t.Errorf("a good password: %d hashes", n)
	}
}

// TestHashesAreMadeAnew at sign-in when the cost was another one, also for two
// who sign in at the same time.
func TestHashesAreMadeAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add("ada@example.com", auth.RoleAdmin)
	w.opt.Cost.Time = 2
	w.again()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := w.SignIn(context.Background(), from("192.0.2.1"), "ada@example.com", goodPassword); err != nil {
				t.Errorf("sign in: %v", err)
			}
		})
	}
	wg.Wait()
	before := w.Hashes()
	w.in("ada@example.com")
	if n := w.Hashes() - before; n != 1 {
		t.Errorf("the hash was not kept: %d hashes", n)
	}
}

// TestPasswordsAreComparedInOneForm: é is one character or two, by keyboard.
func TestPasswordsAreComparedInOneForm(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	if _, err := w.CreateUser(ctx, auth.NewUser{Email: "ada@example.com", Role: auth.RoleAdmin, Password: "caf\u00e9-lantern-orbit"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.SignIn(ctx, from("192.0.2.1"), "ada@example.com", "cafe\u0301-lantern-orbit"); err != nil {
		t.Error(err)
	}
}

// TestGuessesFromOneAddress end in 429 after ten, and cost no more work.
func TestGuessesFromOneAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, ctx := newWorld(t), t.Context()
		w.add("ada@example.com", auth.RoleAdmin)
		limited := 0
		before := w.Hashes()
		for i := range 1000 {
			_, err := w.SignIn(ctx, from("198.51.100.7"), fmt.Sprintf("user%d@example.com", i), newPassword)
			var no *auth.Refusal
			if errors.As(err, &no) && no.Kind == auth.TooMany {
				limited++
				if no.RetryAfter <= 0 || no.RetryAfter > 10*time.Second {
					t.Fatalf("come again after %v", no.RetryAfter)
				}
			}
		}
		if limited != 990 || w.Hashes()-before != 10 {
			t.Errorf("%d of 1,000 were limited, %d hashes", limited, w.Hashes()-before)
		}
		if _, err := w.SignIn(ctx, from("198.51.100.8"), "ada@example.com", goodPassword); err != nil {
			t.Errorf("the neighbour: %v", err)
		}
		time.Sleep(time.Minute)
		if _, err := w.SignIn(ctx, from("198.51.100.7"), "ada@example.com", goodPassword); err != nil {
			t.Errorf("a minute later: %v", err)
		}
		list, err := w.Audit(ctx, auth.AuditQuery{Limit: 1000})
		if err != nil || len(list) > 15 {
			t.Errorf("1,000 guesses made %d entries, %v", len(list), err)
		}
	})
}

// TestGuessesAtOneAccount from many addresses are few; who is signed in there
// gets in all the same.
func TestGuessesAtOneAccount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, ctx := newWorld(t), t.Context()
		w.add("ada@example.com", auth.RoleAdmin)
		w.in("ada@example.com") // from 192.0.2.1
		guesses := func(email string) (refused int) {
			for i := range 40 {
				_, err := w.SignIn(ctx, auth.Visit{Address: netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})}, email, newPassword)
				if kindOf(err) == auth.TooMany {
					refused++
				}
			}
			return refused
		}
		if known, unknown := guesses("ada@example.com"), guesses("eve@example.com"); known < 25 || known != unknown {
			t.Errorf("of 40 guesses %d were refused, %d at an account that is not there", known, unknown)
		}
		if _, err := w.SignIn(ctx, from("192.0.2.1"), "ada@example.com", goodPassword); err != nil {
			t.Errorf("the owner, where she is signed in: %v", err)
		}
		if _, err := w.SignIn(ctx, from("192.0.2.77"), "ada@example.com", goodPassword); kindOf(err) != auth.TooMany {
			t.Errorf("the owner from elsewhere: %v", err)
		}
	})
}

// TestGoodSignInsDoNotCount: a program may sign in as often as it likes.
func TestGoodSignInsDoNotCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add("ada@example.com", auth.RoleAdmin)
	for range 100 {
		w.in("ada@example.com")
	}
}

// TestAFloodOfSignInsIsTurnedAway: few wait for the one hash that is made at a
// time, and the rest is told to come again.
func TestAFloodOfSignInsIsTurnedAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.opt.Cost = auth.Cost{Memory: 1 << 10, Time: 4, Threads: 1}
	w.again()
	w.add("ada@example.com", auth.RoleAdmin)
	before := w.Hashes()
	var wg sync.WaitGroup
	var mu sync.Mutex
	kinds := map[auth.Kind]int{}
	start := make(chan struct{})
	for i := range 400 {
		wg.Go(func() {
			<-start
			_, err := w.SignIn(context.Background(), auth.Visit{Address: netip.AddrFrom4([4]byte{203, 0, byte(i / 250), byte(i % 250)})}, fmt.Sprintf("u%d@example.com", i), newPassword)
			mu.Lock()
			defer mu.Unlock()
			kinds[kindOf(err)]++
		})
	}
	close(start)
	wg.Wait()
	made := w.Hashes() - before
	if kinds[auth.Nobody]+kinds[auth.TooMany] != 400 || int64(kinds[auth.Nobody]) != made {
		t.Errorf("the answers were %v, with %d hashes", kinds, made)
	}
}

// TestAClientThatLeavesWaitsNoMore for its turn.
func TestAClientThatLeavesWaitsNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add("ada@example.com", auth.RoleAdmin)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range 100 { // the turn may be free: then it is a sign-in, else the context's error
		_, err := w.SignIn(ctx, from("192.0.2.1"), "ada@example.com", goodPassword)
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	w.in("ada@example.com") // and it was given back
}

func TestThrottle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		th := auth.NewThrottle(auth.Rate(2, time.Minute))
		take := func(key string, wait time.Duration, first bool) {
			t.Helper()
			if w, f := th.Take(key); w.Round(time.Second) != wait || f != first {
				t.Errorf("%s waits %v (first %v), want %v (%v)", key, w, f, wait, first)
			}
		}
		take("a", 0, false)
		take("a", 0, false)
		take("a", time.Minute, true)
		take("a", time.Minute, false)
		take("b", 0, false)
		time.Sleep(30 * time.Second)
		take("a", 30*time.Second, false)
		time.Sleep(30 * time.Second)
		take("a", 0, false)
		take("a", time.Minute, true)
		for i := range 100_000 {
			th.Take(fmt.Sprint(i))
		}
		if n := th.Known(); n > 5000 {
			t.Errorf("%d keys are remembered", n)
		}
	})
}

func TestClientAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t) // trusts 10.0.0.0/8
	for _, c := range []struct {
		peer      string
		forwarded []string
		want      string
	}{
		{"192.0.2.1:1000", nil, "192.0.2.1"},
		{"192.0.2.1:1000", []string{"198.51.100.1"}, "192.0.2.1"},
		{"10.0.0.1:1000", nil, "10.0.0.1"},
		{"10.0.0.1:1000", []string{"198.51.100.1"}, "198.51.100.1"},
		{"10.0.0.1:1000", []string{"1.2.3.4, 198.51.100.1"}, "198.51.100.1"},
		{"10.0.0.1:1000", []string{"1.2.3.4", "198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
		{"10.0.0.1:1000", []string{"127.0.0.1, 198.51.100.1"}, "198.51.100.1"},
		{"10.0.0.1:1000", []string{"198.51.100.1, garbage"}, "10.0.0.1"},
		{"10.0.0.1:1000", []string{"garbage, 198.51.100.1"}, "198.51.100.1"},
		{"10.0.0.1:1000", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"10.0.0.1:1000", []string{""}, "10.0.0.1"},
		{"10.0.0.1:1000", []string{"[2001:db8::1]:443"}, "2001:db8::1"},
		{"10.0.0.1:1000", []string{"198.51.100.1:9999"}, "198.51.100.1"},
		{"[::ffff:10.0.0.1]:1000", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		{"10.0.0.1:1000", []string{strings.Repeat("10.0.0.9,", 100_000) + "10.0.0.9"}, "10.0.0.9"},
		{"@", nil, "invalid IP"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = c.peer
		r.Header["X-Forwarded-For"] = c.forwarded
		if got := w.Visit(r).Address.String(); got != c.want {
			t.Errorf("%s for %.60q: %s, want %s", c.peer, c.forwarded, got, c.want)
		}
	}
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64"} {
		if got := auth.Block(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s counts as %s, want %s", address, got, want)
		}
	}
}

func TestNear(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []struct {
		what, peer, host, header string
		old, near                bool
	}{
		{"curl on the host", "127.0.0.1:1", "127.0.0.1:8700", "", false, true},
		{"by name", "[::1]:1", "localhost:8700", "", false, true},
		{"IPv6", "[::1]:1", "[::1]:8700", "", false, true},
		{"the socket", "@", "fairlead", "", false, true},
		{"from elsewhere", "192.0.2.1:1", "127.0.0.1:8700", "", false, false},
		{"a proxy", "127.0.0.1:1", "127.0.0.1:8700", "X-Forwarded-For", false, false},
		{"another proxy", "127.0.0.1:1", "127.0.0.1:8700", "Forwarded", false, false},
		{"yet another", "127.0.0.1:1", "127.0.0.1:8700", "Via", false, false},
		{"a header of its own", "127.0.0.1:1", "127.0.0.1:8700", "X-Forwarded-Ssl", false, false},
		{"a tunnel", "127.0.0.1:1", "127.0.0.1:8700", "CF-Connecting-IP", false, false},
		{"a load balancer", "127.0.0.1:1", "127.0.0.1:8700", "X-Amzn-Trace-Id", false, false},
		{"a proxy that passes the name on", "127.0.0.1:1", "fairlead.example.com", "", false, false},
		{"a proxy that speaks HTTP/1.0", "127.0.0.1:1", "127.0.0.1:8700", "", true, false},
	} {
		r := httptest.NewRequest(http.MethodPost, "/auth/bootstrap", nil)
		r.RemoteAddr, r.Host = c.peer, c.host
		if c.header != "" {
			r.Header.Set(c.header, "1.2.3.4")
		}
		if c.old {
			r.Proto, r.ProtoMinor = "HTTP/1.0", 0
		}
		if got := w.Visit(r).Near; got != c.near {
			t.Errorf("%s: near %v", c.what, got)
		}
	}
}

// TestOwnAccountIsChangedAtBoundedRate holds that nobody but an administrator
// washes the audit log away, or keeps the database busy, with what anybody may do
// to their own account.
func TestOwnAccountIsChangedAtBoundedRate(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	ada, eve := w.add("ada@example.com", auth.RoleAdmin), w.add("eve@example.com", auth.RoleViewer)
	bob := w.add("bob@example.com", auth.RoleViewer)
	tooMany := func(do func() error) (done int) {
		for range 1000 {
			err := do()
			var no *auth.Refusal
			if errors.As(err, &no) && no.Kind == auth.TooMany && no.RetryAfter > 0 {
				return done
			}
			if err != nil {
				t.Fatal(err)
			}
			done++
		}
		return done
	}
	makes := func(u auth.User) func() error {
		return func() error {
			made, _, err := w.CreateToken(ctx, caller(u), u.ID, auth.NewToken{Name: "x"})
			if err == nil {
				_, err = w.DeleteToken(ctx, caller(u), made.ID)
			}
			return err
		}
	}
	signsIn := func(u auth.User) func() error {
		return func() error { _, err := w.SignIn(ctx, from("192.0.2.1"), u.Email, goodPassword); return err }
	}
	if n := tooMany(makes(eve)); n < 100 || n > 300 {
		t.Errorf("eve made %d tokens", n)
	}
	if n := tooMany(signsIn(eve)); n > 10 {
		t.Errorf("eve signed in %d times more", n)
	}
	if n := tooMany(signsIn(bob)); n < 100 || n > 300 {
		t.Errorf("bob signed in %d times", n)
	}
	if n := tooMany(makes(ada)); n != 1000 {
		t.Errorf("ada, who is an administrator, was stopped after %d", n)
	}
}
