package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func environment(pairs map[string]string) func(string) string {
	return func(name string) string { return pairs[name] }
}

func mustConfig(t *testing.T, pairs map[string]string) config {
	t.Helper()
	cfg, err := readConfig(environment(pairs))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestEndpoints(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "greeting.txt"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{
		"APP_VERSION": "1.2.3", "APP_BUILD": "abc", "APP_CONFIG_DIR": dir, "APP_SLOW": "1ms",
		"GREETING": "hi", "APP_SECRET": "s3cret", "DB_PASSWORD": "s3cret", "HOME": "/root",
	}
	h := newHandler(t.Context(), mustConfig(t, env), time.Now())
	tests := []struct {
		url  string
		code int
		body string
	}{
		{"/", 200, "app 1.2.3 (build abc)"},
		{"/version", 200, "1.2.3\n"},
		{"/health", 200, `"status":"healthy","version":"1.2.3"`},
		{"/api/health", 200, `"version":"1.2.3"`},
		{"/slow", 200, "done"},
		{"/env?name=GREETING", 200, "hi\n"},
		{"/env?name=APP_VERSION", 200, "1.2.3\n"},
		{"/env?name=APP_SECRET", 403, "not shown"},
		{"/env?name=DB_PASSWORD", 403, "not shown"},
		{"/env?name=HOME", 403, "not shown"},
		{"/env", 403, "not shown"},
		{"/file?path=greeting.txt", 200, "hello"},
		{"/file?path=" + dir + "/greeting.txt", 200, "hello"},
		{"/file?path=none", 404, "no such file"},
		{"/file?path=link", 403, "cannot be read"},
		{"/file?path=../../../../etc/passwd", 403, "cannot be read"},
		{"/file?path=/etc/passwd", 403, "cannot be read"},
		{"/file?path=.", 403, "cannot be read"},
		{"/file", 403, "cannot be read"},
		{"/nothing", 404, "not found"},
	}
	for _, tt := range tests {
		t.Run(tt.url, func(t *testing.T) {
			answer := httptest.NewRecorder()
			h.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, tt.url, nil))
			if answer.Code != tt.code || !strings.Contains(answer.Body.String(), tt.body) {
				t.Errorf("%d %q, want %d and %q", answer.Code, answer.Body, tt.code, tt.body)
			}
			if strings.Contains(answer.Body.String(), "s3cret") || strings.Contains(answer.Body.String(), "root:") {
				t.Error("the answer leaks")
			}
		})
	}
}

func TestSickness(t *testing.T) {
	tests := []struct {
		name string
		env  map[string]string
		up   time.Duration
		code int
		want string
	}{
		{"healthy", nil, time.Hour, 200, "healthy"},
		{"sick", map[string]string{"APP_SICK": "true"}, 0, 503, "unhealthy"},
		{"not sick", map[string]string{"APP_SICK": "false"}, 0, 200, "healthy"},
		{"before falling sick", map[string]string{"APP_SICK_AFTER": "10s"}, 9 * time.Second, 200, "healthy"},
		{"after falling sick", map[string]string{"APP_SICK_AFTER": "10s"}, 10 * time.Second, 503, "unhealthy"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answer := httptest.NewRecorder()
			writeHealth(answer, mustConfig(t, tt.env), tt.up)
			var got healthReport
			if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if answer.Code != tt.code || got.Status != tt.want {
				t.Errorf("%d %q, want %d %q", answer.Code, got.Status, tt.code, tt.want)
			}
		})
	}
}

func TestCommandsExitStatus(t *testing.T) {
	tests := []struct {
		name string
		args []string
		env  map[string]string
		code int // 0 is success
	}{
		{"job", []string{"job"}, nil, 0},
		{"job with status", []string{"job", "7"}, nil, 7},
		{"job with time", []string{"job", "0", "1ms"}, nil, 0},
		{"job, bad status", []string{"job", "256"}, nil, 2},
		{"job, bad time", []string{"job", "0", "soon"}, nil, 2},
		{"job, too many", []string{"job", "0", "1s", "x"}, nil, 2},
		{"crash", nil, map[string]string{"APP_EXIT": "4"}, 4},
		{"crash with command", []string{"serve"}, map[string]string{"APP_EXIT": "4"}, 4},
		{"version", []string{"version"}, nil, 0},
		{"write without path", []string{"write"}, nil, 2},
		{"unknown", []string{"sing"}, nil, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := run(t.Context(), tt.args, environment(tt.env), io.Discard)
			if tt.code == 0 {
				if err != nil {
					t.Errorf("error %v", err)
				}
				return
			}
			var exit exitError
			if !errors.As(err, &exit) || exit.code != tt.code {
				t.Errorf("error %v, want status %d", err, tt.code)
			}
		})
	}
}

func TestBadEnvironmentIsNamed(t *testing.T) {
	for name, value := range map[string]string{"PORT": "x", "APP_SICK": "perhaps", "APP_START_DELAY": "3"} {
		err := run(t.Context(), nil, environment(map[string]string{name: value}), io.Discard)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s=%s: error %v", name, value, err)
		}
	}
}

func TestWriteReplacesWhole(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "state")
	env := environment(map[string]string{"APP_VERSION": "9"})
	for _, args := range [][]string{{"write", name, "first"}, {"write", name}} {
		if err := run(t.Context(), args, env, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != "9\n" {
		t.Errorf("file holds %q (%v)", got, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
	if err := run(t.Context(), []string{"write", filepath.Join(dir, "no", "dir")}, env, io.Discard); err == nil {
		t.Error("writing into a missing directory says nothing")
	}
}

func TestSlowStartStopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		var out bytes.Buffer
		err := run(ctx, nil, environment(map[string]string{"APP_START_DELAY": "1h"}), &out)
		if err != nil || time.Since(began) != 3*time.Second || !strings.Contains(out.String(), "stop before ready") {
			t.Errorf("error %v after %v\n%s", err, time.Since(began), &out)
		}
	})
}

func TestJobStopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		var exit exitError
		err := run(ctx, []string{"job", "0", "1h"}, environment(nil), io.Discard)
		if !errors.As(err, &exit) || exit.code != 143 {
			t.Errorf("error %v", err)
		}
	})
}

// TestServeDrains asks for /slow, stops the server meanwhile, and still wants the whole answer.
func TestServeDrains(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	cfg := mustConfig(t, map[string]string{"APP_SLOW": "300ms"})
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- serveOn(ctx, ln, cfg) }()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	reader := bufio.NewReader(conn)
	ask(t, conn, reader, "/version") // the connection is now accepted, so a stop cannot come before it
	if _, err := io.WriteString(conn, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, stop)
	if resp, err := http.ReadResponse(reader, nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("slow answer while stopping: %v %v", resp, err)
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func ask(t *testing.T, conn io.Writer, reader *bufio.Reader, path string) {
	t.Helper()
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
}

func TestHealthcheck(t *testing.T) {
	for name, tt := range map[string]struct {
		env  map[string]string
		want string // "" is healthy
	}{
		"healthy": {nil, ""},
		"sick":    {map[string]string{"APP_SICK": "1"}, "503"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(newHandler(t.Context(), mustConfig(t, tt.env), time.Now()))
			defer server.Close()
			_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
			err := run(t.Context(), []string{"healthcheck"}, environment(map[string]string{"PORT": port}), io.Discard)
			if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestHealthcheckWithoutServerFails(t *testing.T) {
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if err := healthcheck(t.Context(), port); err == nil {
		t.Errorf("healthy with nothing on port %s", strconv.Itoa(port))
	}
}

func TestPortTakenIsAnError(t *testing.T) {
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	port := strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
	err = run(t.Context(), nil, environment(map[string]string{"PORT": port}), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "listen on port "+port) {
		t.Errorf("error %v", err)
	}
}

func TestCrashWhileServing(t *testing.T) {
	var exit exitError
	env := environment(map[string]string{"PORT": "0", "APP_EXIT_AFTER": "1ms"})
	if err := run(t.Context(), nil, env, io.Discard); !errors.As(err, &exit) || exit.code != 1 {
		t.Errorf("error %v", err)
	}
}
