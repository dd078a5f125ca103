package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

const maxRequest = 64 << 10 // of a JSON body

// api is the part of the data application's interface that a smoke test speaks. Users and tokens live in memory only:
// each start is a first start, unless the environment names an administrator.
type api struct {
	cfg     config
	started time.Time
	ctx     context.Context // ends when the server stops

	mu      sync.Mutex
	admin   *credentials
	tokens  map[string]bool
	syncing time.Time // until when a sync runs
}

type credentials struct {
	Email    string `json:"email"`
	Password string `json:"password"`
}

func newAPI(ctx context.Context, cfg config, started time.Time) *api {
	a := &api{cfg: cfg, started: started, ctx: ctx, tokens: map[string]bool{}}
	if cfg.adminEmail != "" && cfg.adminPassword != "" {
		a.admin = &credentials{cfg.adminEmail, cfg.adminPassword}
	}
	return a
}

func (a *api) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/health", a.health)
	mux.HandleFunc("GET /readyz", a.ready)
	mux.HandleFunc("POST /auth/bootstrap", a.bootstrap)
	mux.HandleFunc("POST /auth/token", a.token)
	mux.HandleFunc("POST /api/query", a.query)
	mux.HandleFunc("POST /api/sync/trigger", a.trigger)
	mux.HandleFunc("GET /api/sync/status", a.syncStatus)
}

// health always answers 200: what it thinks of itself is in the body.
func (a *api) health(w http.ResponseWriter, _ *http.Request) {
	status := "healthy"
	if a.cfg.isSick(time.Since(a.started)) {
		status = "unhealthy"
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"status": status, "version": a.cfg.version, "build": a.cfg.build, "channel": a.cfg.channel, "schema_version": a.cfg.schema,
		"image_tag": a.cfg.channel + "-" + a.cfg.version, "commit_sha": a.cfg.build, "deployed_at": a.started.UTC().Format(time.RFC3339),
		"timestamp": time.Now().UTC().Format(time.RFC3339), "warnings": []string{}, "services": map[string]any{},
	})
}

// ready is no longer true once the server stops.
func (a *api) ready(w http.ResponseWriter, _ *http.Request) {
	code, status := http.StatusOK, "ready"
	if a.cfg.isSick(time.Since(a.started)) || a.ctx.Err() != nil {
		code, status = http.StatusServiceUnavailable, "not_ready"
	}
	writeJSON(w, code, map[string]string{"status": status})
}

// bootstrap makes the first administrator, once.
func (a *api) bootstrap(w http.ResponseWriter, r *http.Request) {
	var c credentials
	if !readJSON(w, r, &c) {
		return
	}
	if !strings.Contains(c.Email, "@") || c.Password == "" {
		problem(w, http.StatusUnprocessableEntity, "email and password are needed")
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.admin != nil {
		problem(w, http.StatusForbidden, "an administrator exists")
		return
	}
	a.admin = &c
	a.grant(w, c.Email)
}

// token logs in; it does not say which of the two was wrong.
func (a *api) token(w http.ResponseWriter, r *http.Request) {
	var c credentials
	if !readJSON(w, r, &c) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.admin == nil || !same(a.admin.Email, c.Email) || !same(a.admin.Password, c.Password) {
		problem(w, http.StatusUnauthorized, "email or password is wrong")
		return
	}
	a.grant(w, c.Email)
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// grant wants the lock to be held.
func (a *api) grant(w http.ResponseWriter, email string) {
	token := rand.Text()
	a.tokens[token] = true
	writeJSON(w, http.StatusOK, map[string]string{"access_token": token, "token_type": "bearer", "user_id": "1", "email": email, "role": "admin"})
}

// allowed answers 401 when the request carries no token of this process.
func (a *api) allowed(w http.ResponseWriter, r *http.Request) bool {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	a.mu.Lock()
	known := a.tokens[token]
	a.mu.Unlock()
	if !known {
		problem(w, http.StatusUnauthorized, "a bearer token is needed")
	}
	return known
}

var selectNumber = regexp.MustCompile(`(?i)^\s*SELECT\s+(-?[0-9]{1,15})(\s+AS\s+([a-z_][a-z0-9_]*))?\s*$`)

// query knows one question: SELECT and a whole number.
func (a *api) query(w http.ResponseWriter, r *http.Request) {
	var q struct {
		SQL string `json:"sql"`
	}
	if !a.allowed(w, r) || !readJSON(w, r, &q) {
		return
	}
	m := selectNumber.FindStringSubmatch(q.SQL)
	if m == nil {
		problem(w, http.StatusBadRequest, "only SELECT and a whole number is understood, as in SELECT 1 AS n")
		return
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil { // the pattern allows no such number
		problem(w, http.StatusBadRequest, "the number is too large")
		return
	}
	column, rows := cmp.Or(m[3], m[1]), [][]int64{{n}}
	if a.cfg.queryEmpty {
		rows = [][]int64{}
	}
	writeJSON(w, http.StatusOK, map[string]any{"columns": []string{column}, "rows": rows, "row_count": len(rows), "truncated": false})
}

// trigger starts a sync that only takes time; while one runs there is no other.
func (a *api) trigger(w http.ResponseWriter, r *http.Request) {
	if !a.allowed(w, r) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.busy() {
		problem(w, http.StatusConflict, "a sync runs already")
		return
	}
	a.syncing = time.Now().Add(a.cfg.syncTime)
	writeJSON(w, http.StatusOK, map[string]any{"status": "triggered", "tables": "all", "job_id": rand.Text()})
}

func (a *api) syncStatus(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string]bool{"locked": a.busy()})
}

// busy wants the lock to be held.
func (a *api) busy() bool { return a.cfg.busy || time.Now().Before(a.syncing) }

func readJSON(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(v); err != nil {
		problem(w, http.StatusUnprocessableEntity, fmt.Sprintf("the body is not the JSON that is wanted: %v", err))
		return false
	}
	return true
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // the client is gone when this fails
}

func problem(w http.ResponseWriter, code int, detail string) {
	writeJSON(w, code, map[string]string{"detail": detail})
}
