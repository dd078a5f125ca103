package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

func TestCalls(t *testing.T) {
	h := newHouse(t)
	tests := []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/healthz", "", 200, "ok"},
		{"GET", "/api/version", "", 200, `"version":"v1"`},
		{"GET", "/api/source", "", 200, `"repo":"/srv/repo"`},
		{"POST", "/api/source/sync", "", 200, `"revision"`},
		{"GET", "/api/source", "", 200, `"uncommitted":["tag"]`},
		{"GET", "/api/instances", "", 200, `"instances":[{"name":"acme"`},
		{"GET", "/api/instances/acme", "", 200, `"phase":"Idle"`},
		{"GET", "/api/instances/acme", "", 200, `"uncommitted":["tag"]`},
		{"GET", "/api/instances/acme/plan", "", 200, `"instance":"acme"`},
		{"GET", "/api/instances/acme/plan?ref=2", "", 200, `"verb":"replace"`},
		{"GET", "/api/instances/acme/plan?ref=gone", "", 422, `no such ref`},
		{"GET", "/api/instances/acme/plan?ref=invalid", "", 422, `"problems":[{"file":"compose.yaml","line":3`},
		{"GET", "/api/instances/acme/history?limit=1", "", 200, `"outcome":"Applied"`},
		{"GET", "/api/instances/acme/history?limit=0", "", 422, `query.limit: expected number \u003e= 1`},
		{"GET", "/api/instances/acme/history?limit=x", "", 422, `query.limit: invalid integer`},
		{"GET", "/api/instances/acme/generations", "", 200, `"number":1`},
		{"GET", "/api/instances/acme/why?name=web", "", 200, `"object":"acme-web-1"`},
		{"GET", "/api/instances/acme/why", "", 422, `query.name: required query parameter is missing`},
		{"GET", "/api/instances/acme/why?name=x", "", 404, `fairlead status acme`},
		{"GET", "/api/instances/acme/events", "", 200, `"reason":"Applied"`},
		{"GET", "/api/events?limit=1", "", 200, `"instance":"acme"`},
		{"GET", "/api/instances/acme/logs?service=web&tail=3", "", 200, `{"line":"acme web 3"}` + "\n" + `{"line":"second line"}` + "\n" + `{"line":"third"}`},
		{"GET", "/api/instances/acme/logs?service=nobody", "", 404, `no such service`},
		{"POST", "/api/instances/acme/reconcile", "", 200, `"phase":"Idle"`},
		{"POST", "/api/instances/acme/reconcile", `{"wait":false}`, 200, `"status"`},
		{"POST", "/api/instances/acme/reconcile", `{"wiat":true}`, 422, `body.wiat: unexpected property`},
		{"POST", "/api/instances/acme/reconcile", `{} {}`, 400, `after top-level value`},
		{"POST", "/api/instances/acme/reconcile", `[`, 400, `body: unexpected end`},
		{"POST", "/api/instances/acme/suspend", `{"reason":" "}`, 422, `a reason is needed`},
		{"POST", "/api/instances/acme/suspend", `{"reason":"x","until":"2020-01-01T00:00:00Z"}`, 422, `in the past`},
		{"POST", "/api/instances/acme/suspend", `{"reason":"` + strings.Repeat("x", maxBody) + `"}`, 413, `larger than 64 KiB`},
		{"POST", "/api/instances/acme/rollback", `{"generation":7}`, 404, `no such generation`},
		{"GET", "/api/instances/nope", "", 404, `"hint":"there are: acme"`},
		{"POST", "/api/instances/nope/reconcile", "", 404, `no such instance`},
		{"GET", "/api/instances/nope/logs", "", 404, `no such instance`},
		{"GET", "/api/instances/nope/events?follow=1", "", 404, `no such instance`},
		{"GET", "/api/nothing", "", 404, `no such call`},
		{"DELETE", "/api/instances/acme", "", 405, `it takes GET, HEAD, OPTIONS`},
	}
	for _, tt := range tests {
		status, header, body := h.raw(tt.method, tt.path, tt.body)
		if status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s %s: %d %s\nwant %d %s", tt.method, tt.path, status, body, tt.status, tt.want)
		}
		if status >= 400 && (header.Get("Content-Type") != "application/json" || !strings.Contains(body, `"detail":"`) || !strings.Contains(body, `"hint":"`)) {
			t.Errorf("%s %s: an error that is not one of the API: %s", tt.method, tt.path, body)
		}
	}
}

func TestReconcileTellsPlanAndResult(t *testing.T) {
	h := newHouse(t)
	h.commit("2")
	var kinds []string
	r, err := h.client.Reconcile(t.Context(), "acme", ReconcileRequest{Wait: true}, func(u Update) {
		switch {
		case u.Plan != nil:
			kinds = append(kinds, fmt.Sprintf("plan %d %s", u.Plan.From, u.Plan.Actions[0].Verb))
		case u.Event != nil:
			kinds = append(kinds, "event "+u.Event.Reason)
		}
	})
	if err != nil || r.Status.Generation != 2 {
		t.Fatalf("generation %d, %v", r.Status.Generation, err)
	}
	// The loop may have been faster than the call; then there is nothing to tell.
	if text := strings.Join(kinds, ", "); r.Record != nil && !strings.Contains(text, "plan 1 replace") {
		t.Errorf("got %s", text)
	}
}

func TestReconcileOfASickRelease(t *testing.T) {
	h := newHouse(t)
	h.commit("sick")
	for range 2 {
		if r := h.reconcile(); r.Status.Generation != 1 || len(r.Status.Quarantined) != 1 {
			t.Errorf("got %+v", r.Status)
		}
	}
}

func TestCallerGoesAway(t *testing.T) {
	h := newHouse(t)
	h.commit("slow")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	gone := make(chan error, 1)
	go func() {
		_, err := h.client.Reconcile(ctx, "acme", ReconcileRequest{Wait: true}, nil)
		gone <- err
	}()
	for end := time.Now().Add(limit); ; {
		if s, err := h.client.Status(t.Context(), "acme"); err == nil && s.Phase == reconciler.PhaseApplying {
			break
		} else if time.Now().After(end) {
			t.Fatalf("never under way: %s, %v", s.Phase, err)
		}
	}
	cancel()
	if <-gone == nil {
		t.Error("no error though the outcome is not known")
	}
	if s, err := h.client.Status(t.Context(), "acme"); err != nil || s.Phase != reconciler.PhaseApplying {
		t.Errorf("the daemon does not go on: %s, %v", s.Phase, err)
	}
	h.commit("3") // a newer one wins
	if r := h.reconcile(); r.Status.Applied.Subject != "3" {
		t.Errorf("got %+v", r.Status.Applied)
	}
}

func TestOperatorIsKnownByTheSocket(t *testing.T) {
	h := newHouse(t)
	me := UserName(os.Getuid())
	s, err := h.client.Suspend(t.Context(), "acme", SuspendRequest{Reason: "stocktaking", By: "somebody else"})
	if err != nil || s.Suspended == nil || s.Suspended.By != me || s.Phase != reconciler.PhaseSuspended {
		t.Fatalf("got %+v, %v; want by %s", s.Suspended, err, me)
	}
	if s, err = h.client.Resume(t.Context(), "acme", ""); err != nil || s.Phase != reconciler.PhaseIdle {
		t.Errorf("got %s, %v", s.Phase, err)
	}
	sudo := NewClient(h.socket, "ada")
	defer sudo.Close()
	want := me
	if os.Getuid() == 0 {
		want = "ada"
	}
	if s, err = sudo.Suspend(t.Context(), "acme", SuspendRequest{Reason: "x"}); err != nil || s.Suspended.By != want {
		t.Errorf("got %+v, %v; want by %s", s.Suspended, err, want)
	}
	forged := NewClient(h.socket, "ada\tand others")
	defer forged.Close()
	if s, err = forged.Suspend(t.Context(), "acme", SuspendRequest{Reason: "x"}); err != nil || s.Suspended.By != me {
		t.Errorf("a name that is none was believed: %+v, %v", s.Suspended, err)
	}
}

func TestRollback(t *testing.T) {
	h := newHouse(t)
	h.commit("2")
	h.reconcile()
	back, err := h.client.Rollback(t.Context(), "acme", RollbackRequest{})
	if err != nil || back.Generation.Number != 1 {
		t.Fatalf("got %+v, %v", back, err)
	}
	if r := h.reconcile(); r.Status.Phase != reconciler.PhaseHeld || r.Status.Containers[0].Image != "app:1" {
		t.Errorf("got %s %+v", r.Status.Phase, r.Status.Containers)
	}
	back, err = h.client.Rollback(t.Context(), "acme", RollbackRequest{Generation: 1, Commit: true})
	if err != nil || back.Commit != "restored" || !strings.HasPrefix(h.restored, "instances/acme 000") {
		t.Errorf("got %+v, %v, %s", back, err, h.restored)
	}
	if r := h.reconcile(); r.Status.Hold != nil || r.Status.Sync != reconciler.Synced {
		t.Errorf("got %+v", r.Status)
	}
}

func TestFollowEvents(t *testing.T) {
	h := newHouse(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var reasons []string
	seen := map[int]bool{}
	err := h.client.Events(ctx, "", 10, true, func(e reconciler.Event) error {
		if seen[e.Seq] {
			t.Errorf("event %d came twice", e.Seq)
		}
		seen[e.Seq] = true
		reasons = append(reasons, e.Reason)
		if len(reasons) == 1 { // the past is told, now the present
			_, err := h.client.Suspend(ctx, "acme", SuspendRequest{Reason: "x"})
			return err
		}
		if e.Reason == "Suspended" {
			cancel()
		}
		return nil
	})
	if got := strings.Join(reasons, " "); err != nil || !strings.HasPrefix(got, "Applied Suspended") {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestFollowLogsEndsWithTheCaller(t *testing.T) {
	h := newHouse(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	n := 0
	err := h.client.Logs(ctx, LogQuery{Instance: "acme", Service: "web", Tail: 1, Follow: true}, func(LogLine) error {
		if n++; n == 2 {
			cancel()
		}
		return nil
	})
	if n != 2 || (err != nil && !errors.Is(err, context.Canceled)) {
		t.Errorf("%d lines, %v", n, err)
	}
}

func TestUnreachableEngine(t *testing.T) {
	h := newHouse(t)
	h.engine.SetDown(fmt.Errorf("dial: %w", reconciler.ErrUnreachable))
	status, _, body := h.raw("GET", "/api/instances/acme/plan", "")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "check that the container engine runs") {
		t.Errorf("got %d %s", status, body)
	}
	h.engine.SetDown(nil)
}

func TestProblemsOfTheRepositoryAreTold(t *testing.T) {
	h := newHouse(t)
	h.bad = desired.Problems{{File: "x/instance.yaml", Line: 2, Field: "name", Text: "is not a name"}}
	s, err := h.client.Sync(t.Context())
	if err != nil || len(s.Problems) != 1 || !strings.Contains(s.Problem, "x/instance.yaml:2: name") {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestSocketIsForItsUserOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, []byte("left over"), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	info, err := os.Stat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestClientWithoutADaemon(t *testing.T) {
	c := NewClient(filepath.Join(t.TempDir(), "s"), "")
	defer c.Close()
	if err := c.Alive(t.Context()); !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), "http://") {
		t.Errorf("got %v", err)
	}
}

func TestErrorsSurviveTheWay(t *testing.T) {
	h := newHouse(t)
	_, err := h.client.Plan(t.Context(), "acme", "invalid")
	var e *Error
	if !errors.As(err, &e) || e.Status != 422 || len(e.Problems) != 1 || e.Problems[0].Hint != "mend it" {
		t.Errorf("got %#v", err)
	}
}

func FuzzLineWriter(f *testing.F) {
	f.Add([]byte("a\nb"), 1)
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		var got bytes.Buffer
		w := &lineWriter{emit: func(l LogLine) error {
			if strings.Contains(l.Line, "\n") {
				t.Errorf("%q is more than a line", l.Line)
			}
			got.WriteString(l.Line + "\n")
			return nil
		}}
		size = max(1, min(size, 1000))
		for rest := text; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			if _, err := w.Write(rest[:min(size, len(rest))]); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.rest(); err != nil {
			t.Fatal(err)
		}
		want := string(text)
		if want != "" && !strings.HasSuffix(want, "\n") {
			want += "\n"
		}
		if got.String() != want {
			t.Errorf("got %q, want %q", got.String(), want)
		}
	})
}

func TestBodyIsOneObject(t *testing.T) {
	var e Error
	h := newHouse(t)
	_, _, body := h.raw("POST", "/api/instances/acme/rollback", `{"generation":"x"}`)
	if err := json.Unmarshal([]byte(body), &e); err != nil || e.Hint == "" {
		t.Errorf("got %s, %v", body, err)
	}
}
