package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/fairlead/fairlead/reconciler"
)

// The bounds of a request.
const (
	maxBody     = 64 << 10
	callTimeout = 2 * time.Minute  // of an answer that is not a stream
	lineTimeout = 30 * time.Second // of one line of a stream
	maxLimit    = 500              // entries of history or events
)

const ndjson = "application/x-ndjson"

// Handler serves the API over HTTP.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	get(mux, "/api/version", func(r *http.Request) (any, error) { return a.Version(r.Context()) })
	get(mux, "/api/source", func(r *http.Request) (any, error) { return a.Source(r.Context()) })
	get(mux, "/api/instances", func(r *http.Request) (any, error) { return a.Overview(r.Context()) })
	get(mux, "/api/instances/{name}", func(r *http.Request) (any, error) { return a.Status(r.Context(), r.PathValue("name")) })
	get(mux, "/api/instances/{name}/plan", func(r *http.Request) (any, error) {
		return a.Plan(r.Context(), r.PathValue("name"), r.URL.Query().Get("ref"))
	})
	get(mux, "/api/instances/{name}/generations", func(r *http.Request) (any, error) {
		return a.Generations(r.Context(), r.PathValue("name"))
	})
	get(mux, "/api/instances/{name}/history", a.getHistory)
	get(mux, "/api/instances/{name}/why", a.getWhy)
	mux.HandleFunc("GET /api/events", a.getEvents)
	mux.HandleFunc("GET /api/instances/{name}/events", a.getEvents)
	mux.HandleFunc("GET /api/instances/{name}/logs", a.getLogs)
	post(mux, "/api/source/sync", func(r *http.Request, _ *struct{}) (any, error) { return a.Sync(r.Context()) })
	post(mux, "/api/instances/{name}/rollback", func(r *http.Request, req *RollbackRequest) (any, error) {
		req.By = operator(r)
		return a.Rollback(r.Context(), r.PathValue("name"), *req)
	})
	post(mux, "/api/instances/{name}/suspend", func(r *http.Request, req *SuspendRequest) (any, error) {
		req.By = operator(r)
		return a.Suspend(r.Context(), r.PathValue("name"), *req)
	})
	post(mux, "/api/instances/{name}/resume", func(r *http.Request, _ *struct{}) (any, error) {
		return a.Resume(r.Context(), r.PathValue("name"), operator(r))
	})
	mux.HandleFunc("POST /api/instances/{name}/reconcile", a.postReconcile)
	a.serveCertificates(mux)
	a.serveData(mux)
	if metrics, err := a.metricsHandler(); err == nil {
		mux.Handle("GET /metrics", metrics)
	} else { // a collector that tells the same as another one
		get(mux, "/metrics", func(*http.Request) (any, error) { return nil, err })
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answerError(w, &Error{Status: http.StatusNotFound, Detail: "no such call: " + r.Method + " " + r.URL.Path,
			Hint: "docs/cli.md lists the calls"})
	})
	return mux
}

func (a *API) serveCertificates(mux *http.ServeMux) {
	const all, one = "/api/instances/{name}/certificates", "/api/instances/{name}/certificates/{certificate}"
	names := func(r *http.Request) (string, string) { return r.PathValue("name"), r.PathValue("certificate") }
	get(mux, all, func(r *http.Request) (any, error) { return a.Certificates(r.Context(), r.PathValue("name")) })
	get(mux, one, func(r *http.Request) (any, error) {
		instance, name := names(r)
		return a.Certificate(r.Context(), instance, name)
	})
	get(mux, one+"/request", func(r *http.Request) (any, error) {
		instance, name := names(r)
		return a.CertificateRequest(r.Context(), instance, name)
	})
	post(mux, one+"/renew", func(r *http.Request, req *RenewRequest) (any, error) {
		instance, name := names(r)
		return a.RenewCertificate(r.Context(), instance, name, req.Force)
	})
	post(mux, one+"/rollback", func(r *http.Request, req *CertificateRollback) (any, error) {
		instance, name := names(r)
		return a.RollbackCertificate(r.Context(), instance, name, req.Generation)
	})
	post(mux, "/api/instances/{name}/certificate-test", func(r *http.Request, req *CertificateTest) (any, error) {
		return a.TestCertificate(r.Context(), r.PathValue("name"), *req)
	})
}

// get serves a call that only reads.
func get(mux *http.ServeMux, path string, call func(*http.Request) (any, error)) {
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
		defer cancel()
		deadline(w, callTimeout)
		answer(w, r, call)(ctx)
	})
}

// post serves a call with a JSON body, which may be absent.
func post[T any](mux *http.ServeMux, path string, call func(*http.Request, *T) (any, error)) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
		defer cancel()
		deadline(w, callTimeout)
		answer(w, r, func(r *http.Request) (any, error) {
			req := new(T)
			if err := readBody(w, r, req); err != nil {
				return nil, err
			}
			return call(r, req)
		})(ctx)
	})
}

func answer(w http.ResponseWriter, r *http.Request, call func(*http.Request) (any, error)) func(context.Context) {
	return func(ctx context.Context) {
		v, err := call(r.WithContext(ctx))
		if err != nil {
			answerError(w, err)
			return
		}
		answerJSON(w, http.StatusOK, v)
	}
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"detail":"the answer cannot be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client may be gone
}

func answerError(w http.ResponseWriter, err error) {
	e := AsError(err)
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	answerJSON(w, e.Status, e)
}

// deadline bounds how long the rest of an answer may take to write.
func deadline(w http.ResponseWriter, d time.Duration) {
	// The only error is that the connection cannot have one.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d + 10*time.Second))
}

func readBody(w http.ResponseWriter, r *http.Request, into any) error {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if errors.Is(err, io.EOF) {
		return nil
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &Error{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("the body is larger than %d KiB", maxBody>>10)}
	}
	if err != nil {
		return &Error{Status: http.StatusBadRequest, Detail: "read body: " + err.Error(), Hint: "send one JSON object with the documented keys"}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return &Error{Status: http.StatusBadRequest, Detail: "read body: there is more after the JSON object", Hint: "send one JSON object"}
	}
	return nil
}

// number reads a query parameter between low and maxLimit.
func number(r *http.Request, key string, otherwise, low int) (int, error) {
	s := r.URL.Query().Get(key)
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < low {
		return 0, &Error{Status: http.StatusBadRequest, Detail: fmt.Sprintf("%s: %q is not a number from %d on", key, s, low)}
	}
	return min(n, maxLimit), nil
}

func flag(r *http.Request, key string) bool {
	on, _ := strconv.ParseBool(r.URL.Query().Get(key))
	return on
}

func (a *API) getHistory(r *http.Request) (any, error) {
	limit, err := number(r, "limit", 20, 1)
	if err != nil {
		return nil, err
	}
	return a.History(r.Context(), r.PathValue("name"), limit)
}

func (a *API) getWhy(r *http.Request) (any, error) {
	object := r.URL.Query().Get("name")
	if object == "" {
		return nil, &Error{Status: http.StatusBadRequest, Detail: "no name given", Hint: "add ?name= with a service or container"}
	}
	return a.Why(r.Context(), r.PathValue("name"), object)
}

func (a *API) getEvents(w http.ResponseWriter, r *http.Request) {
	limit, err := number(r, "limit", 50, 0)
	if err != nil {
		answerError(w, err)
		return
	}
	name := r.PathValue("name")
	if flag(r, "follow") {
		s := &stream{w: w}
		s.end(a.Events(r.Context(), name, limit, true, func(e reconciler.Event) error { return s.send(e) }))
		return
	}
	deadline(w, callTimeout)
	list := []reconciler.Event{}
	err = a.Events(r.Context(), name, limit, false, func(e reconciler.Event) error {
		list = append(list, e)
		return nil
	})
	if err != nil {
		answerError(w, err)
		return
	}
	answerJSON(w, http.StatusOK, list)
}

func (a *API) getLogs(w http.ResponseWriter, r *http.Request) {
	tail, err := number(r, "tail", 100, -1)
	if err != nil {
		answerError(w, err)
		return
	}
	s := &stream{w: w}
	q := LogQuery{Instance: r.PathValue("name"), Service: r.URL.Query().Get("service"), Tail: tail, Follow: flag(r, "follow")}
	s.end(a.Logs(r.Context(), q, func(l LogLine) error { return s.send(l) }))
}

// postReconcile answers with one object, or with a stream of updates where the
// client accepts one.
func (a *API) postReconcile(w http.ResponseWriter, r *http.Request) {
	req := ReconcileRequest{Wait: true}
	if err := readBody(w, r, &req); err != nil {
		answerError(w, err)
		return
	}
	req.By = operator(r)
	name := r.PathValue("name")
	if r.Header.Get("Accept") != ndjson {
		result, err := a.Reconcile(r.Context(), name, req, nil)
		deadline(w, lineTimeout)
		if err != nil {
			answerError(w, err)
			return
		}
		answerJSON(w, http.StatusOK, result)
		return
	}
	s := &stream{w: w}
	result, err := a.Reconcile(r.Context(), name, req, func(u Update) { _ = s.send(u) }) // a client that is gone ends the context
	if err == nil {
		err = s.send(Update{Result: &result})
	}
	s.end(err)
}

// stream writes JSON values, a line each. An error before the first line is an
// ordinary answer, after it a line {"error": …}.
type stream struct {
	w     http.ResponseWriter
	begun bool
}

func (s *stream) send(v any) error {
	if !s.begun {
		s.w.Header().Set("Content-Type", ndjson)
		s.begun = true
	}
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	deadline(s.w, lineTimeout)
	if _, err := s.w.Write(append(line, '\n')); err != nil {
		return err
	}
	return http.NewResponseController(s.w).Flush()
}

func (s *stream) end(err error) {
	switch {
	case err == nil && !s.begun:
		s.w.Header().Set("Content-Type", ndjson)
		s.w.WriteHeader(http.StatusOK)
	case err == nil:
	case !s.begun:
		answerError(s.w, err)
	default:
		_ = s.send(map[string]*Error{"error": AsError(err)})
	}
}
