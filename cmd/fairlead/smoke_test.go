package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/examples/ports"
)

// smokeApp speaks the seven steps. Its switches make it fail one of them.
type smokeApp struct {
	unhealthy, empty, noVersion, stuck bool
	hangs                              bool // from the second request on

	mu    sync.Mutex
	seen  int
	admin string // as given
	login []string
}

func (a *smokeApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<16))
	if a.seen++; a.hangs && a.seen > 1 {
		a.mu.Unlock()
		<-r.Context().Done()
		a.mu.Lock()
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /api/health":
		a.health(w)
	case "POST /auth/bootstrap":
		if a.admin != "" {
			http.Error(w, `{"detail": "an administrator exists"}`, http.StatusForbidden)
			return
		}
		a.admin = string(body)
		fmt.Fprint(w, `{"access_token": "first-token"}`)
	case "POST /auth/token":
		a.login = append(a.login, string(body))
		if a.admin != string(body) {
			http.Error(w, `{"detail": "no"}`, http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"access_token": "good-token"}`)
	case "POST /api/query":
		rows := "[[1]]"
		if a.empty {
			rows = "[]"
		}
		a.guarded(w, r, `{"rows": `+rows+`}`)
	case "POST /api/sync/trigger":
		a.guarded(w, r, `{"status": "triggered"}`)
	default:
		http.NotFound(w, r)
	}
}

func (a *smokeApp) health(w http.ResponseWriter) {
	status, version := "healthy", `, "version": "2026.11.1", "channel": "stable", "schema_version": 3`
	if a.unhealthy {
		status = "unhealthy"
	}
	if a.noVersion {
		version = ""
	}
	fmt.Fprintf(w, `{"status": %q%s}`, status, version)
}

func (a *smokeApp) guarded(w http.ResponseWriter, r *http.Request, answer string) {
	if r.Header.Get("Authorization") != "Bearer good-token" {
		http.Error(w, `{"detail": "a token is needed"}`, http.StatusUnauthorized)
		return
	}
	if a.stuck {
		a.mu.Unlock()
		<-r.Context().Done()
		a.mu.Lock()
		return
	}
	fmt.Fprint(w, answer)
}

func startSmokeApp(t *testing.T, a *smokeApp) string {
	t.Helper()
	s := httptest.NewServer(a)
	t.Cleanup(s.Close)
	return s.URL
}

var smokeLogin = []string{"FAIRLEAD_SMOKE_EMAIL=smoke@example.com", "FAIRLEAD_SMOKE_PASSWORD=hunter2-secret"}

var (
	smokeTook = regexp.MustCompile(`(  | in )[0-9.]+m?s\b`)
	smokePort = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`)
)

// TestSmokeGolden shows what a person sees: all passed, one failed, one that
// could not be tested, a wrong file.
func TestSmokeGolden(t *testing.T) {
	s := &transcript{world: newWorld(t)}
	s.env = append(s.env, smokeLogin...)
	step := func(code int, a *smokeApp, args ...string) {
		s.step(code, append([]string{"smoke", "--url", startSmokeApp(t, a), "--wait", "1ms"}, args...)...)
	}
	step(0, &smokeApp{})
	step(6, &smokeApp{empty: true})
	s.env = s.env[:len(s.env)-1]
	step(1, &smokeApp{})
	s.env = append(s.env, smokeLogin[1])
	s.write("steps.yaml", "- {name: ready, get: /readyz, expect: {status: 200}}\n")
	s.write("wrong.yaml", "- {name: a, get: /, expects: {status: 200}}\n- {name: a, post: /, bearer: token}\n")
	step(6, &smokeApp{}, "--file", "steps.yaml")
	step(1, &smokeApp{}, "--file", "wrong.yaml")
	text := smokePort.ReplaceAllString(smokeTook.ReplaceAllString(s.text.String(), "${1}12ms"), "127.0.0.1:8000")
	if strings.Contains(text, "hunter2") || strings.Contains(text, "good-token") {
		t.Errorf("a secret is shown:\n%s", text)
	}
	golden(t, "smoke.txt", s.steady(text))
}

func TestSmokeExitCodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	login := append([]string{}, smokeLogin...)
	password := w.write("password", "hunter2-secret\n")
	token := w.write("token", "good-token\n")
	w.write("acme/instance.yaml", "apiVersion: fairlead/v1\nname: acme\nhealth: {service: app, port: 8000}\nsmoke:\n  - {name: health, get: /api/health, headers: {X-Key: \"${secret:KEY}\"}}\n")
	w.write("bare/instance.yaml", "apiVersion: fairlead/v1\nname: bare\n")
	gone := "http://" + ports.Address(t)
	tests := []struct {
		name string
		app  *smokeApp
		env  []string
		args []string
		code int
		says string
	}{
		{"passed", &smokeApp{}, login, nil, 0, "7 passed"},
		{"an administrator exists", &smokeApp{admin: `{"email":"smoke@example.com","password":"hunter2-secret"}`}, login, nil, 0, "7 passed"},
		{"somebody else is administrator", &smokeApp{admin: "ada"}, login, nil, 6, "expected  status 200"},
		{"credentials by flags", &smokeApp{}, nil, []string{"--email", "smoke@example.com", "--password-file", password}, 0, "7 passed"},
		{"token by flag", &smokeApp{admin: "ada"}, nil, []string{"--token-file", token}, 0, "5 passed, 2 skipped"},
		{"no credentials", &smokeApp{}, nil, nil, 1, "set FAIRLEAD_SMOKE_EMAIL and FAIRLEAD_SMOKE_PASSWORD"},
		{"unhealthy", &smokeApp{unhealthy: true}, login, nil, 6, `status: not "unhealthy"`},
		{"no version", &smokeApp{noVersion: true}, login, nil, 6, "version: not there"},
		{"too slow", &smokeApp{stuck: true}, login, []string{"--timeout", "5s"}, 7, "time for all steps is over"},
		{"too slow, and said at which step", &smokeApp{stuck: true}, login, []string{"--timeout", "5s"}, 7, `the time ran out at step "query": --timeout 5s`},
		{"too slow without credentials", &smokeApp{hangs: true}, nil, []string{"--timeout", "5s"}, 7, `the time ran out at step "version"`},
		{"nobody there", nil, login, []string{"--retries", "0"}, 1, "connection refused"},
		{"of an instance", &smokeApp{}, []string{"KEY=abc"}, []string{"--instance", "acme"}, 0, "1 passed"},
		{"of an instance, without its secret", &smokeApp{}, nil, []string{"--instance", "acme"}, 1, "the secret KEY is not set"},
		{"an instance without steps", &smokeApp{}, nil, []string{"--instance", "bare"}, 1, "holds no step"},
		{"no such file", &smokeApp{}, nil, []string{"--file", "none.yaml"}, 1, "none.yaml: no such file"},
		{"file and instance", &smokeApp{}, nil, []string{"--file", "a", "--instance", "b"}, 1, "give one"},
		{"file and token", &smokeApp{}, nil, []string{"--file", "a", "--token-file", "b"}, 1, "built-in sequence only"},
		{"token and e-mail", &smokeApp{}, nil, []string{"--email", "a", "--token-file", "b"}, 1, "give one"},
		{"retries", &smokeApp{}, nil, []string{"--retries", "21"}, 1, "not between 0 and 20"},
		{"timeout", &smokeApp{}, nil, []string{"--timeout", "0s"}, 1, "is no time"},
		{"token of two lines", &smokeApp{}, nil, []string{"--token-file", w.write("two", "a\nb\n")}, 1, "does not hold one line"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := &world{t: t, dir: w.dir, data: w.data, repo: w.repo, env: append(append([]string{}, w.env...), tt.env...)}
			url := gone
			if tt.app != nil {
				url = startSmokeApp(t, tt.app)
			}
			r := w.must(tt.code, append([]string{"smoke", "--url", url, "--wait", "1ms"}, tt.args...)...)
			if out := r.stdout + r.stderr; !strings.Contains(out, tt.says) || strings.Contains(out, "hunter2") || strings.Contains(out, "good-token") {
				t.Errorf("want %q in:\n%s", tt.says, out)
			}
			if tt.code == 7 && strings.Contains(r.stdout, "set FAIRLEAD_SMOKE_EMAIL") {
				t.Errorf("time is what it lacked, not a login:\n%s", r.stdout)
			}
		})
	}
}

func TestSmokeURL(t *testing.T) {
	w := newWorld(t)
	for url, says := range map[string]string{"": "--url is needed", "localhost:8000": "is not an http or https URL", "http://me:hunter2@h": "has a user"} {
		if r := w.must(1, "smoke", "--url", url); !strings.Contains(r.stderr, says) || strings.Contains(r.stderr, "hunter2") {
			t.Errorf("%q: %s", url, r.stderr)
		}
	}
}

func TestSmokeJSON(t *testing.T) {
	w := newWorld(t)
	w.env = append(w.env, smokeLogin...)
	r := w.must(6, "smoke", "--url", startSmokeApp(t, &smokeApp{empty: true}), "-o", "json")
	var got smoked
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatalf("%v\n%s", err, r.stdout)
	}
	if got.Status != "failed" || len(got.Steps) != 7 || got.Steps[4].Status != "failed" || got.Steps[4].Expected != "rows: a list of at least 1" ||
		got.Steps[4].Found != "rows: []" || got.Steps[4].Took > time.Minute || got.Steps[5].Status != "skipped" {
		t.Errorf("%+v", got)
	}
}

func TestSmokeTLS(t *testing.T) {
	w := newWorld(t)
	w.env = append(w.env, smokeLogin...)
	s := httptest.NewUnstartedServer(&smokeApp{})
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake that is refused
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(w.dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := w.must(1, "smoke", "--url", s.URL); !strings.Contains(r.stdout, "certificate") {
		t.Errorf("an unknown signer:\n%s", r.stdout)
	}
	w.must(0, "smoke", "--url", s.URL, "--wait", "1ms", "--ca", ca)
	w.must(0, "smoke", "--url", s.URL, "--wait", "1ms", "--insecure")
	if r := w.must(1, "smoke", "--url", s.URL, "--ca", w.write("empty.pem", "x")); !strings.Contains(r.stderr, "no certificate in PEM") {
		t.Errorf("%s", r.stderr)
	}
}
