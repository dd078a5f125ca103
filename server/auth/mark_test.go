package auth_test

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"

	"github.com/fairlead/fairlead/server/auth"
)

// mark is a mark in memory.
type mark struct {
	made atomic.Bool
	err  error
}

func (m *mark) Made() (bool, error) { return m.made.Load(), m.err }

func (m *mark) Make() error { m.made.Store(true); return m.err }

// TestLostDatabaseKeepsTheSetupClosed: when everything that the database knew of
// people is gone, nobody who comes becomes the administrator, neither from the
// host itself nor with a code. The command line on the host is the way back.
func TestLostDatabaseKeepsTheSetupClosed(t *testing.T) {
	t.Parallel()
	w, ctx, m := newWorld(t), context.Background(), &mark{}
	w.opt.Mark = m
	w.again()
	if open, err := w.SetupOpen(); err != nil || !open || m.made.Load() {
		t.Fatalf("open %v, %v; marked %v", open, err, m.made.Load())
	}
	code, err := w.SetupCode()
	if err != nil {
		t.Fatal(err)
	}
	w.add("grace@example.com", auth.RoleViewer)
	if m.made.Load() {
		t.Error("a viewer closes the setup")
	}
	if _, err := w.Bootstrap(ctx, near, auth.NewUser{Email: "ada@example.com", Password: goodPassword}, ""); err != nil || !m.made.Load() {
		t.Fatalf("%v; marked %v", err, m.made.Load())
	}
	lose(t, w)
	if open, err := w.SetupOpen(); err != nil || open {
		t.Errorf("open again: %v, %v", open, err)
	}
	for _, given := range []string{"", code} {
		_, err = w.Bootstrap(ctx, near, auth.NewUser{Email: "eve@example.com", Password: goodPassword}, given)
		wantKind(t, "a bootstrap after the loss", err, auth.Denied)
	}
	if code, err := w.SetupCode(); err != nil || code != "" {
		t.Errorf("there is a code again: %q, %v", code, err)
	}
	w.add("ada@example.com", auth.RoleAdmin)
	w.again()
	if open, err := w.SetupOpen(); err != nil || open {
		t.Errorf("afterwards: open %v, %v", open, err)
	}
}

// lose takes the database away.
func lose(t *testing.T, w *world) {
	t.Helper()
	if err := errors.Join(w.db.Close(), os.Remove(w.path)); err != nil {
		t.Fatal(err)
	}
	w.open()
}

// TestMarkOfOldInstallations: who was set up before there were marks gets one at
// the next start.
func TestMarkOfOldInstallations(t *testing.T) {
	t.Parallel()
	w, m := newWorld(t), &mark{}
	w.add("ada@example.com", auth.RoleAdmin)
	w.opt.Mark = m
	w.again()
	if _, err := w.SetupCode(); err != nil || !m.made.Load() {
		t.Errorf("marked %v, %v", m.made.Load(), err)
	}
}

// TestMarkThatCannotBeReadLetsNobodyIn: whether there was an administrator is not
// guessed.
func TestMarkThatCannotBeReadLetsNobodyIn(t *testing.T) {
	t.Parallel()
	w, broken := newWorld(t), errors.New("input/output error")
	w.opt.Mark = &mark{err: broken}
	w.again()
	if _, err := w.SetupOpen(); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := w.Bootstrap(context.Background(), near, auth.NewUser{Email: "eve@example.com", Password: goodPassword}, ""); !errors.Is(err, broken) {
		t.Errorf("a bootstrap: %v", err)
	}
}

// TestChangedIsToldOfWhatCounts: users and tokens, not that somebody came.
func TestChangedIsToldOfWhatCounts(t *testing.T) {
	t.Parallel()
	w, ctx, n := newWorld(t), context.Background(), 0
	w.opt.Changed = func() { n++ }
	w.again()
	step := func(what string, want int, err error) {
		t.Helper()
		if err != nil || n != want {
			t.Errorf("%s: told %d times, not %d; %v", what, n, want, err)
		}
		n = 0
	}
	g, err := w.Bootstrap(ctx, near, auth.NewUser{Email: "ada@example.com", Password: goodPassword}, "")
	step("the first administrator", 1, err)
	_, err = w.who(g.Token)
	step("a request", 0, errors.Join(err, w.Tidy()))
	user := w.add("grace@example.com", auth.RoleViewer)
	step("a user", 1, nil)
	token, _, err := w.CreateToken(ctx, caller(user), user.ID, auth.NewToken{Name: "ci"})
	step("a token", 1, err)
	_, err = w.DeleteToken(ctx, caller(user), token.ID)
	step("a token that is revoked", 1, err)
	_, err = w.DeleteUser(ctx, user.ID)
	step("a user who goes", 1, err)
}
