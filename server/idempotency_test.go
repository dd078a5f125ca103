package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/server/auth"
)

// desk counts the requests that reach it through what keys do.
type desk struct {
	handler http.Handler
	mu      sync.Mutex
	count   int
	answer  func(w http.ResponseWriter, n int)
}

func newDesk(notes Notes, op operation) *desk {
	d := &desk{answer: func(w http.ResponseWriter, n int) { answerJSON(w, http.StatusOK, map[string]int{"n": n}) }}
	a := NewAPI(Config{Fleet: nobodyHere{}, Notes: notes})
	op.method, op.path = http.MethodPost, "/api/things"
	d.handler = a.repeatable(op, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		d.mu.Lock()
		d.count++
		n, answer := d.count, d.answer
		d.mu.Unlock()
		answer(w, n)
	}))
	return d
}

func (d *desk) ask(who auth.Caller, key, body string) (*httptest.ResponseRecorder, string) {
	r := httptest.NewRequest(http.MethodPost, "/api/things?x=1", heldBody{bytes.NewReader([]byte(body))})
	r = r.WithContext(auth.With(r.Context(), who))
	if key != "" {
		r.Header.Set(idempotencyHeader, key)
	}
	rec := httptest.NewRecorder()
	d.handler.ServeHTTP(rec, r)
	return rec, fmt.Sprintf("%d %s", rec.Code, strings.TrimSpace(rec.Body.String()))
}

var (
	ada = auth.Caller{ID: "1", Name: "Ada", Role: auth.RoleAdmin, Via: auth.ViaSession}
	bob = auth.Caller{ID: "2", Name: "Bob", Role: auth.RoleAdmin, Via: auth.ViaSession}
)

func TestSameKeySameAnswer(t *testing.T) {
	notes := newPocket()
	d := newDesk(notes, operation{})
	steps := []struct {
		who       auth.Caller
		key, body string
		want      string
		replayed  bool
	}{
		{ada, "k", "{}", `200 {"n":1}`, false},
		{ada, "k", "{}", `200 {"n":1}`, true},
		{ada, "k", `{"other":1}`, `422 {"detail":"this Idempotency-Key was used for another body"`, false},
		{ada, "l", "{}", `200 {"n":2}`, false},
		{bob, "k", "{}", `200 {"n":3}`, false},
		{ada, "", "{}", `200 {"n":4}`, false},
		{ada, "with space", "{}", `400 {"detail":"Idempotency-Key is not`, false},
		{ada, strings.Repeat("k", 129), "{}", `400 `, false},
		{ada, "k", "{}", `200 {"n":1}`, true},
	}
	for i, step := range steps {
		rec, got := d.ask(step.who, step.key, step.body)
		if !strings.HasPrefix(got, step.want) || (rec.Header().Get(replayedHeader) == "true") != step.replayed {
			t.Errorf("step %d: %s %v, want %s", i, got, rec.Header(), step.want)
		}
	}
	again := newDesk(notes, operation{})
	if rec, got := again.ask(ada, "k", "{}"); got != `200 {"n":1}` || rec.Header().Get("Content-Type") != "application/json" || again.count != 0 {
		t.Errorf("after a restart: %s", got)
	}
}

func TestKeyOfWhatFailedIsFree(t *testing.T) {
	for name, fail := range map[string]func(http.ResponseWriter, int){
		"an error":   func(w http.ResponseWriter, _ int) { answerError(w, errors.New("no disk")) },
		"a refusal":  func(w http.ResponseWriter, _ int) { answerError(w, &Error{Status: 409, Detail: "busy"}) },
		"no answer":  func(http.ResponseWriter, int) { panic(http.ErrAbortHandler) },
		"cut in two": func(w http.ResponseWriter, _ int) { _, _ = io.WriteString(w, "half"); panic(http.ErrAbortHandler) },
	} {
		notes := newPocket()
		d := newDesk(notes, operation{})
		well := d.answer
		d.answer = fail
		func() {
			defer func() { _ = recover() }()
			d.ask(ada, "k", "{}")
		}()
		d.answer = well
		if _, got := d.ask(ada, "k", "{}"); got != `200 {"n":2}` {
			t.Errorf("%s: %s", name, got)
		}
		if _, got := newDesk(notes, operation{}).ask(ada, "k", "{}"); got != `200 {"n":2}` {
			t.Errorf("%s, after a restart: %s", name, got)
		}
	}
}

func TestKeyUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		notes := newPocket()
		d := newDesk(notes, operation{})
		free := make(chan struct{})
		d.answer = func(w http.ResponseWriter, n int) { <-free; answerJSON(w, http.StatusOK, n) }
		over := make(chan string)
		go func() { _, got := d.ask(ada, "k", "{}"); over <- got }()
		synctest.Wait()
		if rec, got := d.ask(ada, "k", "{}"); rec.Code != http.StatusConflict || rec.Header().Get("Retry-After") == "" {
			t.Errorf("got %s", got)
		}
		if _, got := newDesk(notes, operation{}).ask(ada, "k", "{}"); !strings.HasPrefix(got, "409") || !strings.Contains(got, "when the daemon ended") {
			t.Errorf("after a crash: %s", got)
		}
		close(free)
		if got := <-over; got != "200 1" {
			t.Errorf("got %s", got)
		}
	})
}

func TestKeysAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		notes := newPocket()
		d := newDesk(notes, operation{})
		for i := range 3 * keptAnswers {
			d.ask(ada, fmt.Sprint("k", i), "{}")
		}
		if len(notes.notes) != keptAnswers {
			t.Errorf("%d are kept", len(notes.notes))
		}
		for i, want := range map[int]string{0: "769", 3*keptAnswers - 1: "768"} {
			if _, got := d.ask(ada, fmt.Sprint("k", i), "{}"); got != `200 {"n":`+want+`}` {
				t.Errorf("key %d: %s", i, got)
			}
		}
		time.Sleep(keepAnswers) // the bubble's time
		if _, got := d.ask(ada, fmt.Sprint("k", 3*keptAnswers-1), "{}"); got != `200 {"n":770}` {
			t.Errorf("a day later: %s", got)
		}
		d.answer = func(w http.ResponseWriter, _ int) { answerJSON(w, http.StatusOK, strings.Repeat("x", maxReplayed)) }
		d.ask(ada, "long", "{}")
		if _, got := d.ask(ada, "long", "{}"); !strings.HasPrefix(got, "409") || !strings.Contains(got, "too long to keep") {
			t.Errorf("got %.100s", got)
		}
	})
}

// What holds a secret is remembered, but never written down.
func TestSecretAnswersAreNotKept(t *testing.T) {
	for name, op := range map[string]operation{"secret": {secret: true}, "for anybody": {role: public}} {
		notes := newPocket()
		d := newDesk(notes, op)
		for range 2 {
			if _, got := d.ask(ada, "k", "{}"); got != `200 {"n":1}` {
				t.Errorf("%s: %s", name, got)
			}
		}
		if len(notes.notes) != 0 {
			t.Errorf("%s: %v", name, notes.notes)
		}
	}
}

func TestKeysOverTheAPI(t *testing.T) {
	v := newTown(t)
	keyed := func(r *http.Request) { r.Header.Set(idempotencyHeader, "one") }
	for i := range 2 {
		status, header, body := v.ask("POST", "/api/instances/acme/suspend", "admin", `{"reason":"x"}`, keyed)
		if status != 200 || (header.Get(replayedHeader) == "true") != (i == 1) {
			t.Errorf("%d: %d %v %s", i, status, header, body)
		}
	}
	if status, _, body := v.ask("POST", "/api/instances/acme/reconcile", "admin", `{}`, keyed); status != 400 || !strings.Contains(body, "takes no Idempotency-Key") {
		t.Errorf("got %d %s", status, body)
	}
	if status, _, _ := v.ask("POST", "/api/instances/acme/suspend", "viewer", `{"reason":"x"}`, keyed); status != 403 {
		t.Errorf("somebody else's answer is given away: %d", status)
	}
}
