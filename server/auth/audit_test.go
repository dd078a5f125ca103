package auth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/server/auth"
)

func TestAuditLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.opt.Keep = 20
	w.again()
	ctx := auth.With(auth.WithVisit(context.Background(), from("192.0.2.1")), auth.Caller{ID: "u1", Email: "ada@example.com", Name: "Ada", Via: auth.ViaSession, Session: "s1"})
	for i := range 30 {
		e := auth.Entry{Operation: "rollBack", Target: fmt.Sprint(i), Outcome: auth.OutcomeDone}
		if i%2 == 0 {
			e.User, e.Email = "u2", "grace@example.com"
		} else {
			e = e.By(ctx)
		}
		if err := w.Record(e); err != nil {
			t.Fatal(err)
		}
	}
	w.again()
	list, err := w.Audit(ctx, auth.AuditQuery{Limit: 100})
	if err != nil || len(list) != 20 || list[0].Target != "29" || list[19].Target != "10" {
		t.Fatalf("%d entries from %+v, %v", len(list), list[0], err)
	}
	if e := list[0]; e.User != "u1" || e.Who != "Ada" || e.Address != "192.0.2.1" || e.Via != auth.ViaSession || e.Session != "s1" || e.At.IsZero() || e.Seq != 30 {
		t.Errorf("the newest is %+v", e)
	}
	page, err := w.Audit(ctx, auth.AuditQuery{Limit: 3, Before: list[2].Seq})
	if err != nil || len(page) != 3 || page[0].Seq != list[3].Seq {
		t.Errorf("read on: %+v, %v", page, err)
	}
	if rest, err := w.Audit(ctx, auth.AuditQuery{Before: 11}); err != nil || len(rest) != 0 {
		t.Errorf("before the oldest: %+v, %v", rest, err)
	}
	for _, user := range []string{"u1", "ADA@example.com"} {
		if one, err := w.Audit(ctx, auth.AuditQuery{User: user}); err != nil || len(one) != 10 {
			t.Errorf("of %s: %d, %v", user, len(one), err)
		}
	}
	var out bytes.Buffer
	if err := w.ExportAudit(ctx, &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var first auth.Entry
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil || len(lines) != 20 || first.Target != "10" {
		t.Errorf("%d lines from %s, %v", len(lines), lines[0], err)
	}
}

// TestEntriesAreBounded: what a client sends is one line and short.
func TestEntriesAreBounded(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	if err := w.Record(auth.Entry{Operation: "x", Target: strings.Repeat("ž\n\u202e", 100_000), Outcome: auth.OutcomeDone, Detail: "a\x00\xffb"}); err != nil {
		t.Fatal(err)
	}
	list, err := w.Audit(ctx, auth.AuditQuery{})
	if err != nil || len(list) != 1 || len(list[0].Target) > 200 || strings.ContainsAny(list[0].Target, "\n\u202e") || list[0].Detail != "a  b" {
		t.Errorf("kept %+v, %v", list, err)
	}
}

// TestRefusalsDoNotWashTheLogAway: who is refused over and over fills few entries.
func TestRefusalsDoNotWashTheLogAway(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	for range 1000 {
		if err := w.Record(auth.Entry{User: "u1", Operation: "suspend", Outcome: auth.OutcomeRefused}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Record(auth.Entry{User: "u2", Operation: "suspend", Outcome: auth.OutcomeRefused}); err != nil {
		t.Fatal(err)
	}
	if list, err := w.Audit(ctx, auth.AuditQuery{Limit: 1000}); err != nil || len(list) > 70 || list[0].User != "u2" {
		t.Errorf("1,000 refusals are %d entries, %v", len(list), err)
	}
}

// TestSignInsAreInTheLog with who and where from, and without what was typed.
func TestSignInsAreInTheLog(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	ada := w.add("ada@example.com", auth.RoleAdmin)
	w.in("ada@example.com")
	_, _ = w.SignIn(ctx, from("192.0.2.2"), "ada@example.com", newPassword)
	_, _ = w.SignIn(ctx, from("192.0.2.3"), goodPassword, "ada@example.com") // the wrong way round
	list, err := w.Audit(ctx, auth.AuditQuery{})
	if err != nil || len(list) != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	if e := list[2]; e.User != ada.ID || e.Outcome != auth.OutcomeDone || e.Operation != "signIn" || e.Address != "192.0.2.1" || e.Session == "" {
		t.Errorf("a sign-in: %+v", e)
	}
	if e := list[1]; e.User != "" || e.Target != "ada@example.com" || e.Outcome != auth.OutcomeRefused || e.Address != "192.0.2.2" || e.Detail != "the password is wrong" {
		t.Errorf("a wrong password: %+v", e)
	}
	if e := list[0]; e.Target != "" || e.Detail != "there is no such user" {
		t.Errorf("nobody: %+v", e)
	}
}

// TestHalfOfAChangeIsNone: each state that the database was in between many
// changes, which is what a power cut leaves, opens and has every change whole.
func TestHalfOfAChangeIsNone(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	w.add("ada@example.com", auth.RoleAdmin)
	done := make(chan error, 1)
	go func() {
		defer close(done)
		for i := range 40 {
			u, err := w.CreateUser(ctx, auth.NewUser{Email: fmt.Sprintf("u%d@example.com", i), Role: auth.RoleViewer, Password: goodPassword})
			if err == nil {
				_, err = w.SignIn(ctx, from("192.0.2.1"), u.Email, goodPassword)
			}
			if err == nil {
				_, err = w.DeleteUser(ctx, u.ID)
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	copies := 0
	for running := true; running; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		default:
		}
		copies++
		lookAtCopy(t, w)
	}
	if copies < 3 {
		t.Errorf("only %d copies were looked at", copies)
	}
}

// lookAtCopy opens what a power cut would leave.
func lookAtCopy(t *testing.T, w *world) {
	t.Helper()
	after := &world{t: t, path: w.path + ".copy", opt: w.opt}
	if err := w.db.View(func(tx *bolt.Tx) error { return tx.CopyFile(after.path, 0o600) }); err != nil {
		t.Fatal(err)
	}
	after.open()
	defer after.db.Close()
	users, err := after.Users(context.Background())
	if err != nil {
		t.Fatalf("read users: %v", err)
	}
	known := map[string]bool{}
	for _, u := range users {
		known[u.ID] = true
	}
	sessions, err := after.Sessions(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range sessions {
		if !known[x.User] {
			t.Errorf("session %s is of nobody", x.ID)
		}
	}
	if open, err := after.SetupOpen(); err != nil || open {
		t.Errorf("the setup is open: %v, %v", open, err)
	}
}
