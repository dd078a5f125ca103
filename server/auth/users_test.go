package auth_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/server/auth"
)

func TestUsersAreKept(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	made, err := w.CreateUser(ctx, auth.NewUser{Email: " Ada@Example.com ", Name: "Ada", Role: auth.RoleAdmin, Password: goodPassword})
	if err != nil || made.Email != "ada@example.com" || !made.SignsIn {
		t.Fatalf("made %+v, %v", made, err)
	}
	w.add("grace@example.com", auth.RoleViewer)
	w.again()
	list, err := w.Users(ctx)
	if err != nil || len(list) != 2 || list[0] != made {
		t.Fatalf("after a restart: %+v, %v", list, err)
	}
	for _, who := range []string{made.ID, "ADA@example.com"} {
		if u, err := w.User(ctx, who); err != nil || u != made {
			t.Errorf("user %s: %+v, %v", who, u, err)
		}
	}
	w.in("ADA@EXAMPLE.COM")
}

func TestUsersThatCannotBeMade(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	w.add("ada@example.com", auth.RoleAdmin)
	for _, c := range []struct {
		user auth.NewUser
		want auth.Kind
		text string
	}{
		{auth.NewUser{Email: "ADA@example.com", Role: auth.RoleViewer, Password: goodPassword}, auth.Conflict, "already"},
		{auth.NewUser{Email: "nobody", Role: auth.RoleViewer, Password: goodPassword}, auth.Invalid, "email"},
		{auth.NewUser{Email: "a@example.com", Role: "root", Password: goodPassword}, auth.Invalid, "role"},
		{auth.NewUser{Email: "a@example.com", Role: auth.RoleViewer, Password: "short"}, auth.Invalid, "password"},
		{auth.NewUser{Email: "a@example.com", Name: "A\nB", Role: auth.RoleViewer}, auth.Invalid, "name"},
		{auth.NewUser{Email: "a@example.com", Name: "A <a@x>", Role: auth.RoleViewer}, auth.Invalid, "name"},
	} {
		_, err := w.CreateUser(ctx, c.user)
		if kindOf(err) != c.want || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%+v: %v, want %q", c.user, err, c.text)
		}
	}
	if _, err := w.User(ctx, "b@example.com"); kindOf(err) != auth.Missing {
		t.Errorf("a user that is not there: %v", err)
	}
	if list, _ := w.Users(ctx); len(list) != 1 {
		t.Errorf("there are %d users", len(list))
	}
}

func TestTheLastAdministratorStays(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	ada := w.add("ada@example.com", auth.RoleAdmin)
	// Somebody who cannot sign in is no administrator to count on.
	idle, err := w.CreateUser(ctx, auth.NewUser{Email: "idle@example.com", Role: auth.RoleAdmin})
	if err != nil {
		t.Fatal(err)
	}
	attempts := map[string]func() error{
		"demote": func() error {
			_, err := w.ChangeUser(ctx, caller(ada), ada.ID, auth.UserChange{Role: ptr(auth.RoleViewer)})
			return err
		},
		"disable": func() error {
			_, err := w.ChangeUser(ctx, caller(ada), ada.ID, auth.UserChange{Disabled: ptr(true)})
			return err
		},
		"delete": func() error { _, err := w.DeleteUser(ctx, ada.ID); return err },
	}
	for what, attempt := range attempts {
		wantKind(t, what+" the last one", attempt(), auth.Conflict)
	}
	if _, err := w.ChangeUser(ctx, caller(ada), idle.ID, auth.UserChange{Password: ptr(newPassword)}); err != nil {
		t.Fatal(err)
	}
	if err := attempts["demote"](); err != nil {
		t.Errorf("demote one of two: %v", err)
	}
	wantKind(t, "delete the other one", func() error { _, err := w.DeleteUser(ctx, idle.ID); return err }(), auth.Conflict)
}

// TestTwoAdministratorsDoNotRemoveEachOther: of two who do it at once, one stays.
func TestTwoAdministratorsDoNotRemoveEachOther(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	users := []auth.User{w.add("ada@example.com", auth.RoleAdmin), w.add("grace@example.com", auth.RoleAdmin)}
	var wg sync.WaitGroup
	for _, u := range users {
		wg.Go(func() { _, _ = w.DeleteUser(ctx, u.ID) })
	}
	wg.Wait()
	if list, _ := w.Users(ctx); len(list) != 1 {
		t.Errorf("%d administrators are left", len(list))
	}
}

func TestWhatEndsSessions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what   string
		change auth.UserChange
		ends   bool
	}{
		{"another name", auth.UserChange{Name: ptr("Grace")}, false},
		{"the same role", auth.UserChange{Role: ptr(auth.RoleViewer)}, false},
		{"another role", auth.UserChange{Role: ptr(auth.RoleAnalyst)}, true},
		{"a new password", auth.UserChange{Password: ptr(newPassword)}, true},
		{"disabled", auth.UserChange{Disabled: ptr(true)}, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			w, ctx := newWorld(t), context.Background()
			ada := w.add("ada@example.com", auth.RoleAdmin)
			grace := w.add("grace@example.com", auth.RoleViewer)
			g := w.in("grace@example.com")
			if _, err := w.ChangeUser(ctx, caller(ada), grace.ID, c.change); err != nil {
				t.Fatal(err)
			}
			w.again()
			if _, err := w.who(g.Token); (err != nil) != c.ends {
				t.Errorf("the session after %s: %v", c.what, err)
			}
		})
	}
}

func TestADeletedUserLeavesNothing(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	w.add("ada@example.com", auth.RoleAdmin)
	grace := w.add("grace@example.com", auth.RoleViewer)
	g := w.in("grace@example.com")
	_, secret, err := w.CreateToken(ctx, caller(grace), grace.ID, auth.NewToken{Name: "ci"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.DeleteUser(ctx, grace.ID); err != nil {
		t.Fatal(err)
	}
	again := w.add("grace@example.com", auth.RoleViewer)
	for _, bearer := range []string{g.Token, secret} {
		if _, err := w.who(bearer); kindOf(err) != auth.Nobody {
			t.Errorf("what a deleted user had: %v", err)
		}
	}
	sessions, _ := w.Sessions(ctx, "")
	tokens, _ := w.Tokens(ctx, "")
	if len(sessions)+len(tokens) != 0 || again.ID == grace.ID {
		t.Errorf("left over: %v %v", sessions, tokens)
	}
}

func TestOwnPasswordChange(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	w.add("ada@example.com", auth.RoleAdmin)
	here, there := w.in("ada@example.com"), w.in("ada@example.com")
	who, err := w.who(here.Token)
	if err != nil {
		t.Fatal(err)
	}
	v := from("192.0.2.1")
	wantKind(t, "with a wrong password", w.ChangePassword(ctx, v, who, "not "+goodPassword, newPassword), auth.Denied)
	wantKind(t, "to a weak one", w.ChangePassword(ctx, v, who, goodPassword, "hunter2"), auth.Invalid)
	token := who
	token.Via = auth.ViaToken
	wantKind(t, "with a token", w.ChangePassword(ctx, v, token, goodPassword, newPassword), auth.Denied)
	if err := w.ChangePassword(ctx, v, who, goodPassword, newPassword); err != nil {
		t.Fatal(err)
	}
	if _, err := w.who(here.Token); err != nil {
		t.Errorf("the session that asked: %v", err)
	}
	if _, err := w.who(there.Token); kindOf(err) != auth.Nobody {
		t.Errorf("the other session: %v", err)
	}
	if _, err := w.SignIn(ctx, v, "ada@example.com", goodPassword); kindOf(err) != auth.Nobody {
		t.Errorf("with the old password: %v", err)
	}
	if _, err := w.SignIn(ctx, v, "ada@example.com", newPassword); err != nil {
		t.Errorf("with the new password: %v", err)
	}
}

// TestAnUnwrittenChangeIsNotBelieved: memory learns only what is on disk.
func TestAnUnwrittenChangeIsNotBelieved(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	w.add("ada@example.com", auth.RoleAdmin)
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.CreateUser(ctx, auth.NewUser{Email: "b@example.com", Role: auth.RoleViewer}); err == nil || errors.As(err, new(*auth.Refusal)) {
		t.Errorf("made with the database closed: %v", err)
	}
	if list, err := w.Users(ctx); err != nil || len(list) != 1 {
		t.Errorf("known: %v, %v", list, err)
	}
	w.open()
	if list, err := w.Users(ctx); err != nil || len(list) != 1 {
		t.Errorf("on disk: %v, %v", list, err)
	}
}
