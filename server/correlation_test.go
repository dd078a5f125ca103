package server

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/reconciler"
)

// lockedBuffer is a log that is written while it is read.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// lines are the JSON objects that were logged.
func (l *lockedBuffer) lines(t *testing.T) (list []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%q is no JSON: %v", line, err)
		}
		list = append(list, entry)
	}
	return list
}

// TestARequestIsFoundAgain sends a request with an id that leads to an apply, and
// finds the id in the answer, the history, the events and the log.
func TestARequestIsFoundAgain(t *testing.T) {
	h := newHouse(t)
	h.reconcile()
	h.mu.Lock() // nothing tells the loop of it
	h.tag, h.n = "2", h.n+1
	h.mu.Unlock()
	status, header, body := h.rawWith(http.MethodPost, "/api/instances/acme/reconcile", `{"wait":true}`, map[string]string{CorrelationHeader: "x"})
	if status != http.StatusOK || header.Get(CorrelationHeader) != "x" {
		t.Fatalf("%d, %s is %q: %s", status, CorrelationHeader, header.Get(CorrelationHeader), body)
	}
	list, err := h.client.History(t.Context(), "acme", 1)
	if err != nil || len(list) != 1 || list[0].Correlation != "x" || list[0].Revision.Subject != "2" {
		t.Errorf("history = %+v, %v", list, err)
	}
	var events []reconciler.Event
	if err := h.client.Events(t.Context(), "acme", 1, false, func(e reconciler.Event) error { events = append(events, e); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(events) != 1 || events[0].Reason != "Applied" || events[0].Correlation != "x" {
		t.Errorf("events = %+v", events)
	}
	said := map[string]bool{}
	for _, line := range h.log.lines(t) {
		if line["correlation"] == "x" {
			said[line["msg"].(string)] = true
		}
	}
	for _, want := range []string{"Apply action", "Applied", "Request"} {
		if !said[want] {
			t.Errorf("no line %q carries the id: %v", want, said)
		}
	}
}

// TestASyncIsFoundAgain has the repository read: which pass sees the new commit
// is not known, and it carries the id all the same.
func TestASyncIsFoundAgain(t *testing.T) {
	h := newHouse(t)
	h.reconcile()
	h.onSync = func() { h.commit("3") }
	if status, _, body := h.rawWith(http.MethodPost, "/api/source/sync", "", map[string]string{CorrelationHeader: "sync:7"}); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	h.reconcile()
	list, err := h.client.History(t.Context(), "acme", 1)
	if err != nil || len(list) != 1 || list[0].Correlation != "sync:7" || list[0].Revision.Subject != "3" {
		t.Errorf("history = %+v, %v", list, err)
	}
}

// TestRequestIDs takes an id that is fit for a log, and makes one otherwise.
func TestRequestIDs(t *testing.T) {
	t.Parallel()
	a := NewAPI(Config{})
	for given, taken := range map[string]bool{
		"x": true, "4bf92f35-77b3:1.a_b": true, strings.Repeat("a", 64): true,
		"": false, strings.Repeat("a", 65): false, "a b": false, "a\nb": false, "-x": false, "ä": false, `a"b`: false,
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header[CorrelationHeader] = []string{given}
		inner := ""
		a.Observe(a.Observe(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { inner = reconciler.CorrelationOf(r.Context()) }))).ServeHTTP(w, r)
		got := w.Header().Get(CorrelationHeader)
		if got != inner || !requestID.MatchString(got) || (got == given) != taken {
			t.Errorf("%q became %q, and %q inside", given, got, inner)
		}
	}
}

// TestAccessLog logs what may change something and what is refused, not what a
// dashboard reads, and never a query string.
func TestAccessLog(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		log    AccessLog
		method string
		status int
		want   bool
	}{
		{"", http.MethodGet, 200, false}, {"", http.MethodPost, 200, true}, {"", http.MethodGet, 401, true}, {"", http.MethodGet, 429, true},
		{"", http.MethodGet, 404, false}, {"", http.MethodGet, 500, true}, {LogChanges, http.MethodDelete, 404, true},
		{LogAll, http.MethodGet, 200, true}, {LogNone, http.MethodPost, 500, false},
	} {
		out := &lockedBuffer{}
		log := logrus.New()
		log.SetOutput(out)
		log.SetFormatter(&logrus.JSONFormatter{})
		a := NewAPI(Config{Log: logrus.NewEntry(log), AccessLog: c.log})
		a.Observe(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			NoteOperation(r.Context(), "page", "")
			w.WriteHeader(c.status)
		})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(c.method, "/x?token=hunter2", nil))
		lines := out.lines(t)
		if (len(lines) == 1) != c.want {
			t.Errorf("%q, %s, %d: logged %v", c.log, c.method, c.status, lines)
		}
		for _, line := range lines {
			if line["operation"] != "page" || line["status"] != float64(c.status) || line["correlation"] == "" {
				t.Errorf("line = %v", line)
			}
		}
		if strings.Contains(out.b.String(), "hunter2") {
			t.Errorf("a query string is logged: %s", out.b.String())
		}
	}
}

// TestAPanicIsCounted cuts an answer off, as a handler does that cannot finish.
func TestAPanicIsCounted(t *testing.T) {
	t.Parallel()
	a := NewAPI(Config{})
	s := httptest.NewServer(a.Observe(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		NoteOperation(r.Context(), "half", "")
		_, _ = w.Write([]byte("ha"))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})))
	defer s.Close()
	resp, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err == nil { // it ends when the handler has
		t.Error("half of an answer looks like a whole one")
	}
	_ = resp.Body.Close()
	if n := gathered(t, a.traffic.requests, map[string]string{"operation": "half", "status": "200"}); n != 1 {
		t.Errorf("it is counted %v times", n)
	}
}
