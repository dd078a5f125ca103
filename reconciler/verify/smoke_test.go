package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/examples/ports"
	"github.com/fairlead/fairlead/reconciler"
)

func parse(t *testing.T, text string) []desired.SmokeStep {
	t.Helper()
	steps, err := desired.ParseSmoke("smoke.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func secrets(name string) (string, bool) {
	v, there := map[string]string{"PASSWORD": `pa"ss word`, "SHORT": "xq"}[name]
	return v, there
}

// TestEverythingIsSent looks at each part of a request as it arrives.
func TestEverythingIsSent(t *testing.T) {
	type seen struct{ line, auth, kind, extra, body string }
	var got []seen
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, seen{r.Method + " " + r.RequestURI, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), r.Header.Get("X-Extra"), string(body)})
		fmt.Fprint(w, `{"access_token": "tok-12345", "items": [{"id": 7}], "on": true}`)
	})
	report := New(Options{Secret: secrets}).Run(t.Context(), base+"/", Steps(parse(t, `
- {name: login, post: /auth/token, body: {email: a@b, password: "${secret:PASSWORD}", n: [1, 2.5, null]}, save: {token: access_token, id: items.0.id, flag: on}}
- {name: get, get: "/x/${id}?f=${flag}", bearer: token, headers: {X-Extra: "v-${id}"}}
- {name: raw, put: /raw, body: "SELECT ${id}", headers: {Content-Type: text/sql}}
- {name: patch, patch: /p, body: "text"}
- {name: delete, delete: /d}
`)), nil, nil)
	if report.Status() != Passed {
		t.Fatalf("%+v", report)
	}
	want := []seen{
		{"POST /auth/token", "", "application/json", "", `{"email":"a@b","n":[1,2.5,null],"password":"pa\"ss word"}`},
		{"GET /x/7?f=true", "Bearer tok-12345", "", "v-7", ""},
		{"PUT /raw", "", "text/sql", "", "SELECT 7"},
		{"PATCH /p", "", "text/plain; charset=utf-8", "", "text"},
		{"DELETE /d", "", "", "", ""},
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("step %d sent %+v, want %+v", i, got[i], want[i])
		}
	}
}

// TestWrongAnswers: an answer that is not as expected fails at the first try.
func TestWrongAnswers(t *testing.T) {
	tests := []struct {
		name, step      string
		status          int
		body            string
		expected, found string // found is a part
	}{
		{"status", "{name: s, get: /}", 404, "no such page", "a status of 2xx", "404 Not Found: no such page"},
		{"wanted status", "{name: s, get: /, expect: {status: 201}}", 200, "", "status 201", "200 OK"},
		{"several", "{name: s, get: /, expect: {statusIn: [200, 403]}}", 401, "", "status 200 or 403", "401"},
		{"redirect", "{name: s, get: /}", 302, "", "a status of 2xx", "302 Found to /elsewhere (redirects are not followed)"},
		{"internal error", "{name: s, get: /}", 500, `{"detail": "broken"}`, "a status of 2xx", `500 Internal Server Error: {"detail":"broken"}`},
		{"not JSON", "{name: s, get: /, expect: {json: {a: 1}}}", 200, "<html>\n<b>hi", "an answer in JSON", "the answer is not JSON: 200 OK: <html> <b>hi"},
		{"two values", "{name: s, get: /, expect: {json: {a: 1}}}", 200, "{} {}", "an answer in JSON", "something follows"},
		{"too long", "{name: s, get: /, expect: {json: {a: 1}}}", 200, `{"a": 1, "b": "` + strings.Repeat("x", maxBody) + `"}`, "an answer in JSON", "longer than 1024 KiB"},
		{"field", "{name: s, get: /, expect: {json: {rows: {minItems: 1}}}}", 200, `{"rows": []}`, "rows: a list of at least 1", "rows: []"},
		{"fields", "{name: s, get: /, expect: {json: {b: 1, a: {exists: true}}}}", 200, `{"b": 2}`, "a: there; b: 1", "a: not there; b: 2"},
		{"save", "{name: s, get: /, save: {token: access_token}}", 200, `{}`, "access_token: a value to keep as token", "access_token: not there"},
		{"save of nothing", "{name: s, get: /, save: {token: t}}", 200, `{"t": ""}`, "t: a value to keep as token", `t: ""`},
		{"save of a list", "{name: s, get: /, save: {x: l}}", 200, `{"l": [1]}`, "l: a value to keep as x", "l: [1]"},
		{"sick by its own word", "{name: s, get: /, expect: {json: {status: {not: unhealthy}}}, retries: 0}", 503, `{"status": "unhealthy"}`, "a status of 2xx", `503 Service Unavailable: {"status":"unhealthy"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var asked atomic.Int32
			base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			})
			steps := append(Steps(parse(t, "- "+tt.step)), Step{SmokeStep: desired.SmokeStep{Name: "next", Get: "/"}})
			report := New(Options{}).Run(t.Context(), base, steps, nil, nil)
			got := report.Steps[0]
			if got.Status != Failed || got.Expected != tt.expected || !strings.Contains(got.Found, tt.found) || got.Tries != 1 || asked.Load() != 1 {
				t.Errorf("asked %d times: %+v", asked.Load(), got)
			}
			if report.Status() != Failed || report.Steps[1].Status != Skipped || report.Steps[1].Message != `step "s" before it did not pass` {
				t.Errorf("%+v", report.Steps[1])
			}
			if len(got.Found) > 2*maxExcerpt {
				t.Errorf("the excerpt has %d bytes", len(got.Found))
			}
		})
	}
}

// breakConn ends a connection in a way that no answer does.
func breakConn(t *testing.T, w http.ResponseWriter, how string) {
	if how == "503" || how == "502" || how == "504" {
		code := map[string]int{"502": 502, "503": 503, "504": 504}[how]
		w.WriteHeader(code)
		fmt.Fprint(w, "gateway")
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	switch how {
	case "reset":
		_ = conn.(*net.TCPConn).SetLinger(0)
	case "half":
		_, _ = rw.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
		_ = rw.Flush()
	case "garbage":
		_, _ = rw.WriteString("SSH-2.0-OpenSSH_9.2\r\n\r\n")
		_ = rw.Flush()
	case "silence":
		_, _ = io.Copy(io.Discard, conn) // until the client gives up
	}
	_ = conn.Close()
}

var faults = []string{"eof", "reset", "half", "garbage", "silence", "502", "503", "504"}

// TestFaultsAreTriedAgain: the second try gets an answer.
func TestFaultsAreTriedAgain(t *testing.T) {
	for _, how := range faults {
		steps := []string{"get: /", "post: /, retries: 1"}
		if how == "eof" {
			steps = append(steps, "put: /", "delete: /", "patch: /, retries: 1")
		}
		for _, step := range steps {
			t.Run(how+" "+step, func(t *testing.T) {
				t.Parallel()
				var asked atomic.Int32
				base := serve(t, func(w http.ResponseWriter, r *http.Request) {
					if asked.Add(1) == 1 {
						breakConn(t, w, how)
					}
				})
				report := New(Options{Timeout: 3 * time.Second}).Run(t.Context(), base, Steps(parse(t, "- {name: s, "+step+"}")), nil, nil)
				if got := report.Steps[0]; got.Status != Passed || got.Tries != 2 {
					t.Errorf("%+v", got)
				}
			})
		}
	}
}

// TestFaultsThatStay are told apart from answers that are wrong.
func TestFaultsThatStay(t *testing.T) {
	for _, how := range faults {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				breakConn(t, w, how)
			})
			p := New(Options{Timeout: 2 * time.Second, Retries: 1})
			report := p.Run(t.Context(), base, Steps(parse(t, "- {name: s, get: /, expect: {json: {a: 1}}}")), nil, nil)
			if got := report.Steps[0]; got.Status != CannotTest || got.Tries != 2 || asked.Load() != 2 || !strings.Contains(got.Message, "the last of 2 tries") {
				t.Errorf("asked %d times: %+v", asked.Load(), got)
			}
		})
	}
}

// TestPostIsMadeOnce when it may have been received and the step says nothing.
func TestPostIsMadeOnce(t *testing.T) {
	for _, how := range faults {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				breakConn(t, w, how)
			})
			report := New(Options{Timeout: 2 * time.Second}).Run(t.Context(), base, Steps(parse(t, "- {name: s, post: /}")), nil, nil)
			if got := report.Steps[0]; got.Status != CannotTest || got.Tries != 1 || asked.Load() != 1 || !strings.Contains(got.Message, "the POST may have been received") {
				t.Errorf("asked %d times: %+v", asked.Load(), got)
			}
		})
	}
}

// later is an address at which nothing listens until begin is called.
func later(t *testing.T, h http.Handler) (base string, begin func()) {
	t.Helper()
	address := ports.Address(t)
	return "http://" + address, func() {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		s := &httptest.Server{Listener: ln, Config: &http.Server{Handler: h}}
		s.Start()
		t.Cleanup(s.Close)
	}
}

// TestPostThatWasNotSentIsTriedAgain: a refused connection carried nothing.
func TestPostThatWasNotSentIsTriedAgain(t *testing.T) {
	var asked atomic.Int32
	base, begin := later(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	p := New(Options{Retries: 20})
	time.AfterFunc(400*time.Millisecond, begin)
	report := p.Run(t.Context(), base, Steps(parse(t, "- {name: s, post: /}")), nil, nil)
	if got := report.Steps[0]; got.Status != Passed || got.Tries < 2 {
		t.Errorf("%+v", got)
	}
}

func TestCannotTest(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"v": "a\nb"}`) })
	tests := []struct{ name, base, steps, message string }{
		{"unknown secret", base, "- {name: s, post: /, body: {p: '${secret:NONE}'}}", "body: the secret NONE is not set"},
		{"unknown variable", base, "- {name: s, get: '/${id}'}", `path: no step before has saved "id"`},
		{"no variable", base, "- {name: s, get: /, headers: {X-A: '${a b}'}}", "header X-A: ${a b} is not a variable"},
		{"line break in a header", base, "- {name: a, get: /, save: {v: v}}\n- {name: s, get: /, headers: {X-A: '${v}'}}", "header X-A: the value holds a control character"},
		{"line break in a token", base, "- {name: a, get: /, save: {v: v}}\n- {name: s, get: /, bearer: v}", "bearer: the value holds a control character"},
		{"no URL", "127.0.0.1:8000", "- {name: s, get: /}", "is not an http or https URL"},
		{"other scheme", "ftp://h", "- {name: s, get: /}", "is not an http or https URL"},
		{"with a query", base + "?x=1", "- {name: s, get: /}", "a base of paths cannot have"},
		{"with a user", "http://me:hunter2@h", "- {name: s, get: /}", "a base of paths cannot have"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			report := New(Options{}).Run(t.Context(), tt.base, Steps(parse(t, tt.steps)), nil, nil)
			got := report.Steps[len(report.Steps)-1]
			if got.Status != CannotTest || !strings.Contains(got.Message, tt.message) || report.Status() != CannotTest {
				t.Errorf("%+v", got)
			}
			if strings.Contains(got.Message, "hunter2") {
				t.Errorf("shown: %s", got.Message)
			}
		})
	}
}

// TestNothingSecretIsTold: not a secret, not what a step saved, not what looks
// like a token, in none of the ways that an answer can repeat it.
func TestNothingSecretIsTold(t *testing.T) {
	bodies := []string{
		`{"status": "no", "echo": "pa\"ss word", "session": "sess-98765", "access_token": "tok-12345", "deep": {"api_key": "key-55555", "list": ["xq", "sess-98765"]}}`,
		`echo pa"ss word and sess-98765 and pa%22ss%20word {"access_token": "tok-12345", "api_key":"key-55555 xq`,
	}
	for i, body := range bodies {
		for _, status := range []int{200, 401} {
			t.Run(fmt.Sprint(i, " ", status), func(t *testing.T) {
				base := serve(t, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/first" {
						fmt.Fprint(w, `{"session": "sess-98765"}`)
						return
					}
					w.WriteHeader(status)
					fmt.Fprint(w, body)
				})
				report := New(Options{Secret: secrets}).Run(t.Context(), base, Steps(parse(t, `
- {name: first, get: /first, save: {s: session}}
- {name: s, post: "/x?q=${secret:PASSWORD}", body: {a: "${secret:PASSWORD}", b: "${secret:SHORT}"}, save: {t: access_token},
   expect: {json: {status: "yes", echo: {not: 'pa"ss word'}, access_token: other, deep: {exists: false}}}}
`)), nil, nil)
				if report.Status() != Failed {
					t.Fatalf("%+v", report)
				}
				text, err := json.Marshal(report)
				for _, secret := range []string{"ss word", "ss%20word", "sess-98765", "tok-12345", "key-55555", "xq"} {
					if err != nil || strings.Contains(string(text)+report.Steps[1].Reason(), secret) {
						t.Errorf("%s is shown: %s %v", secret, text, err)
					}
				}
			})
		}
	}
}

// TestFilledInSecretsAreNotTold: the reconciler's steps hold the values.
func TestFilledInSecretsAreNotTold(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "%s %s %s", r.Header.Get("Authorization"), r.Header.Get("X-Api-Key"), body)
	})
	err := New(Options{}).Smoke(t.Context(), base, parse(t, `
- {name: s, post: /, headers: {Authorization: "Basic dXNlcjpw", X-Api-Key: key-55555}, body: {user: {email: a@b, password: hunter2}, list: [{secret: "pin 1234"}]}}`))
	var sick *reconciler.NotReady
	if !errors.As(err, &sick) || !strings.Contains(sick.Reason, "a@b") {
		t.Fatalf("error %v", err)
	}
	for _, secret := range []string{"dXNlcjpw", "key-55555", "hunter2", "1234"} {
		if strings.Contains(sick.Reason, secret) {
			t.Errorf("%s is shown: %s", secret, sick.Reason)
		}
	}
}

func TestSmokeError(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"rows": []}`) })
	p := New(Options{})
	err := p.Smoke(t.Context(), base, parse(t, "- {name: query, post: /api/query, expect: {json: {rows: {minItems: 1}}}}"))
	var sick *reconciler.NotReady
	const want = `step "query": POST /api/query: expected rows: a list of at least 1, found rows: []`
	if !errors.As(err, &sick) || sick.Phase != "smoke" || sick.Reason != want || sick.Container != base {
		t.Errorf("error %v", err)
	}
	if err := p.Smoke(t.Context(), base, parse(t, "- {name: query, get: /}")); err != nil {
		t.Errorf("error %v", err)
	}
	if err := p.Smoke(t.Context(), base, nil); err != nil {
		t.Errorf("no step: %v", err)
	}
}

func TestSmokeEndsWithItsContext(t *testing.T) {
	base := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	p := New(Options{})
	for _, steps := range []string{"- {name: s, get: /}", "- {name: s, get: /, wait: 10m}"} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		err := p.Smoke(ctx, base, parse(t, steps))
		cancel()
		var sick *reconciler.NotReady
		if !errors.As(err, &sick) || !strings.Contains(sick.Reason, "time for all steps is over") {
			t.Errorf("error %v", err)
		}
		newer := errors.New("a newer revision takes over")
		ctx, supersede := context.WithCancelCause(t.Context())
		time.AfterFunc(100*time.Millisecond, func() { supersede(newer) })
		if err := p.Smoke(ctx, base, parse(t, steps)); !errors.Is(err, newer) || errors.As(err, &sick) {
			t.Errorf("error %v", err)
		}
	}
}

func TestResultsAreToldAsTheyCome(t *testing.T) {
	base := serve(t, func(http.ResponseWriter, *http.Request) {})
	var told []Result
	report := New(Options{}).Run(t.Context(), base, []Step{{SmokeStep: desired.SmokeStep{Name: "a", Get: "/"}},
		{SmokeStep: desired.SmokeStep{Name: "b", Post: "/b"}, Skip: "not needed"}, {SmokeStep: desired.SmokeStep{Name: "c", Get: "/"}}}, nil,
		func(r Result) { told = append(told, r) })
	if report.Status() != Passed || len(told) != 3 || told[1].Status != Skipped || told[1].Message != "not needed" || told[1].Request != "POST /b" || told[2].Status != Passed {
		t.Errorf("%+v, told %+v", report, told)
	}
}

func TestNoProxyNoCookieNoRedirect(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	var cookies atomic.Int32
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cookie") != "" || r.URL.Path == "/away" {
			cookies.Add(1)
		}
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
		if r.URL.Path == "/to" {
			http.Redirect(w, r, "/away", http.StatusSeeOther)
		}
	})
	steps := parse(t, "- {name: a, get: /}\n- {name: b, get: /}\n- {name: c, get: /to, expect: {status: 303}}")
	if report := New(Options{}).Run(t.Context(), base, Steps(steps), nil, nil); report.Status() != Passed || cookies.Load() != 0 {
		t.Errorf("%+v, %d", report, cookies.Load())
	}
}
