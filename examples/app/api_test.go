package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// speak makes one request and returns the status and the JSON object of the answer.
func speak(t *testing.T, h http.Handler, method, path, token, body string) (int, map[string]any) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, req)
	var got map[string]any
	if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
		t.Fatalf("%s %s: %d %q: %v", method, path, answer.Code, answer.Body, err)
	}
	return answer.Code, got
}

const ada = `{"email": "ada@example.com", "password": "long enough"}`

// TestSevenSteps speaks what a smoke test does, in its order.
func TestSevenSteps(t *testing.T) {
	h := newHandler(t.Context(), mustConfig(t, map[string]string{"APP_VERSION": "2026.11.1", "APP_CHANNEL": "stable", "APP_SYNC_TIME": "1h"}), time.Now())
	code, health := speak(t, h, "GET", "/api/health", "", "")
	if code != 200 || health["status"] != "healthy" || health["version"] != "2026.11.1" || health["channel"] != "stable" || health["schema_version"] != 1.0 {
		t.Fatalf("health %d %v", code, health)
	}
	if code, _ := speak(t, h, "POST", "/auth/token", "", ada); code != 401 {
		t.Errorf("login before there is anybody: %d", code)
	}
	if code, _ := speak(t, h, "POST", "/auth/bootstrap", "", `{"email": "ada@example.com"}`); code != 422 {
		t.Errorf("an administrator without password: %d", code)
	}
	code, first := speak(t, h, "POST", "/auth/bootstrap", "", ada)
	if code != 200 || first["access_token"] == "" || first["role"] != "admin" {
		t.Fatalf("bootstrap %d %v", code, first)
	}
	if code, _ := speak(t, h, "POST", "/auth/bootstrap", "", ada); code != 403 {
		t.Errorf("second bootstrap: %d", code)
	}
	if code, _ := speak(t, h, "POST", "/auth/token", "", `{"email": "ada@example.com", "password": "wrong"}`); code != 401 {
		t.Errorf("wrong password: %d", code)
	}
	_, login := speak(t, h, "POST", "/auth/token", "", ada)
	token, _ := login["access_token"].(string)
	if code, _ := speak(t, h, "POST", "/api/query", "forged", `{"sql": "SELECT 1"}`); code != 401 {
		t.Errorf("query with a forged token: %d", code)
	}
	code, rows := speak(t, h, "POST", "/api/query", token, `{"sql": "SELECT 007 AS n"}`)
	if code != 200 || fmt.Sprint(rows["rows"], rows["columns"], rows["row_count"]) != "[[7]] [n] 1" {
		t.Errorf("query %d %v", code, rows)
	}
	if code, _ := speak(t, h, "POST", "/api/query", token, `{"sql": "DROP TABLE users"}`); code != 400 {
		t.Errorf("something else than a SELECT: %d", code)
	}
	if code, _ := speak(t, h, "POST", "/api/query", token, `{"sql":`); code != 422 {
		t.Errorf("half a body: %d", code)
	}
	for _, want := range []int{200, 409} {
		if code, got := speak(t, h, "POST", "/api/sync/trigger", token, ""); code != want {
			t.Errorf("sync %d %v, want %d", code, got, want)
		}
	}
	if _, got := speak(t, h, "GET", "/api/sync/status", "", ""); got["locked"] != true {
		t.Errorf("while a sync runs: %v", got)
	}
}

func TestSwitches(t *testing.T) {
	seeded := map[string]string{"APP_ADMIN_EMAIL": "ada@example.com", "APP_ADMIN_PASSWORD": "long enough"}
	h := newHandler(t.Context(), mustConfig(t, map[string]string{"APP_ADMIN_EMAIL": "ada@example.com", "APP_ADMIN_PASSWORD": "long enough",
		"APP_QUERY_EMPTY": "true", "APP_BUSY": "true"}), time.Now())
	if code, _ := speak(t, h, "POST", "/auth/bootstrap", "", ada); code != 403 {
		t.Errorf("bootstrap beside a seeded administrator: %d", code)
	}
	_, login := speak(t, h, "POST", "/auth/token", "", ada)
	_, rows := speak(t, h, "POST", "/api/query", login["access_token"].(string), `{"sql": "SELECT 1"}`)
	if fmt.Sprint(rows["rows"], rows["row_count"]) != "[] 0" {
		t.Errorf("rows of a build that has none: %v", rows)
	}
	if _, got := speak(t, h, "GET", "/api/health", "", ""); got["status"] != "healthy" {
		t.Errorf("it is healthy all the same: %v", got)
	}
	if _, got := speak(t, h, "GET", "/api/sync/status", "", ""); got["locked"] != true {
		t.Errorf("busy: %v", got)
	}
	seeded["APP_SICK"] = "true"
	h = newHandler(t.Context(), mustConfig(t, seeded), time.Now())
	if code, got := speak(t, h, "GET", "/api/health", "", ""); code != 200 || got["status"] != "unhealthy" {
		t.Errorf("sick: %d %v", code, got)
	}
	if code, got := speak(t, h, "GET", "/readyz", "", ""); code != 503 || got["status"] != "not_ready" {
		t.Errorf("sick: %d %v", code, got)
	}
}

func TestReadyEndsWithTheServer(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	h := newHandler(ctx, mustConfig(t, nil), time.Now())
	if code, _ := speak(t, h, "GET", "/readyz", "", ""); code != 200 {
		t.Errorf("ready: %d", code)
	}
	stop()
	if code, _ := speak(t, h, "GET", "/readyz", "", ""); code != 503 {
		t.Errorf("ready while stopping: %d", code)
	}
}

func TestLargeBodies(t *testing.T) {
	server := httptest.NewServer(newHandler(t.Context(), mustConfig(t, nil), time.Now()))
	defer server.Close()
	const size = 5 << 20
	resp, err := http.Get(server.URL + fmt.Sprintf("/bytes?n=%d", size))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if resp.Body.Close(); err != nil || len(body) != size || body[256] != 0 || body[511] != 255 {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
	sum := sha256.Sum256(body)
	resp, err = http.Post(server.URL+"/echo", "application/octet-stream", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got struct {
		Bytes  int64
		SHA256 string
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || got.Bytes != size || got.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestParametersAreBounded(t *testing.T) {
	h := newHandler(t.Context(), mustConfig(t, nil), time.Now())
	for _, path := range []string{"/slow?ms=-1", "/slow?ms=300001", "/slow?ms=x", "/bytes?n=1073741825", "/sse?count=-1", "/sse?ms=x"} {
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
		if answer.Code != 400 {
			t.Errorf("%s: %d", path, answer.Code)
		}
	}
}

func TestServerSentEvents(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	server := httptest.NewServer(newHandler(ctx, mustConfig(t, nil), time.Now()))
	defer server.Close()
	resp, err := http.Get(server.URL + "/sse?count=3&ms=1")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if resp.Body.Close(); err != nil || strings.Count(string(body), "data: ") != 3 {
		t.Fatalf("%q, %v", body, err)
	}
	if resp, err = http.Get(server.URL + "/sse?ms=3600000"); err != nil { // without end
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || line != "id: 0\n" {
		t.Errorf("the first event is held back: %q, %v", line, err)
	}
	stop()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Errorf("the stream does not end with the server: %v", err)
	}
}

// socket opens a WebSocket.
func socket(t *testing.T, url string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	fmt.Fprint(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" { // RFC 6455 section 1.3
		t.Fatalf("upgrade: %+v, %v", resp, err)
	}
	return conn, r
}

// masked is a frame as a client sends it.
func masked(head byte, payload string) []byte {
	var frame []byte
	switch n := len(payload); {
	case n > 0xffff:
		frame = []byte{head, 0x80 | 127, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
	case n > 125:
		frame = []byte{head, 0x80 | 126, byte(n >> 8), byte(n)}
	default:
		frame = []byte{head, 0x80 | byte(n)}
	}
	mask := []byte{1, 2, 3, 4}
	frame = append(frame, mask...)
	for i := range len(payload) {
		frame = append(frame, payload[i]^mask[i%4])
	}
	return frame
}

func TestWebSocketEcho(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	server := httptest.NewServer(newHandler(ctx, mustConfig(t, nil), time.Now()))
	defer server.Close()
	tests := []struct {
		name string
		send [][]byte
		want []byte // the first bytes of the answer
	}{
		{"text", [][]byte{masked(0x81, "hello")}, []byte("\x81\x05hello")},
		{"medium", [][]byte{masked(0x82, strings.Repeat("m", 300))}, append([]byte{0x82, 126, 1, 44}, strings.Repeat("m", 300)...)},
		{"large", [][]byte{masked(0x82, strings.Repeat("x", 70000))}, append([]byte{0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70}, strings.Repeat("x", 70000)...)},
		{"in parts, with a ping between", [][]byte{masked(0x01, "hel"), masked(0x89, "?"), masked(0x80, "lo")}, []byte("\x8a\x01?\x81\x05hello")},
		{"close", [][]byte{masked(0x88, "\x03\xe8")}, []byte("\x88\x02\x03\xe8")},
		{"not masked", [][]byte{{0x81, 1, 'x'}}, []byte("\x88\x02\x03\xea")},
		{"unknown opcode", [][]byte{masked(0x83, "x")}, []byte("\x88\x02\x03\xea")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn, r := socket(t, server.URL)
			for _, frame := range tt.send {
				if _, err := conn.Write(frame); err != nil {
					t.Fatal(err)
				}
			}
			got := make([]byte, len(tt.want))
			if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, tt.want) {
				t.Errorf("got %.40q (%v), want %.40q", got, err, tt.want)
			}
		})
	}
	t.Run("the server stops", func(t *testing.T) {
		_, r := socket(t, server.URL)
		stop()
		if got, err := io.ReadAll(r); err != nil || string(got) != "\x88\x02\x03\xe9" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// asApp makes the test binary be the program: record locks are of a process.
const asApp = "APP_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asApp) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestSingleWriter(t *testing.T) {
	for _, kind := range []string{"fcntl", "flock"} {
		t.Run(kind, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "state.db")
			start := func() (*exec.Cmd, *bufio.Reader) {
				cmd := exec.CommandContext(t.Context(), os.Args[0])
				cmd.Env = []string{asApp + "=1", "PORT=0", "APP_LOCK=" + file, "APP_LOCK_KIND=" + kind, "APP_STOP_DELAY=300ms"}
				cmd.Stderr = nil
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				return cmd, bufio.NewReader(out)
			}
			until := func(r *bufio.Reader, what string) error {
				for {
					line, err := r.ReadString('\n')
					if err != nil || strings.Contains(line, what) {
						return err
					}
				}
			}
			first, out := start()
			if err := until(out, "ready"); err != nil {
				t.Fatal(err)
			}
			refused := func(when string) {
				t.Helper()
				second, out := start()
				_, _ = io.Copy(io.Discard, out)
				var exit *exec.ExitError
				if err := second.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
					t.Errorf("a second writer %s: %v", when, err)
				}
			}
			refused("beside the first")
			if err := first.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			if err := until(out, "stop version"); err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, out)
			if err := first.Wait(); err != nil {
				t.Errorf("the first ended with %v", err)
			}
			next, out := start()
			if err := until(out, "ready"); err != nil {
				t.Errorf("the next writer: %v", err)
			}
			if err := next.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = next.Wait()
			last, out := start() // the kernel let go of the lock
			if err := until(out, "ready"); err != nil {
				t.Errorf("after a kill: %v", err)
			}
			_ = last.Process.Kill()
			_ = last.Wait()
		})
	}
}

func TestSlowStopHoldsTheLock(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.db")
	held, err := takeLock(file, "flock") // flock is of the open file, so one process can show it
	if err != nil {
		t.Fatal(err)
	}
	err = run(t.Context(), nil, environment(map[string]string{"PORT": "0", "APP_LOCK": file, "APP_LOCK_KIND": "flock"}), io.Discard)
	var exit exitError
	if !errors.As(err, &exit) || exit.code != 1 || !strings.Contains(exit.reason, file) {
		t.Errorf("error %v", err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done, log := make(chan error, 1), make(lines, 16)
	go func() {
		done <- run(ctx, nil, environment(map[string]string{"PORT": "0", "APP_LOCK": file, "APP_LOCK_KIND": "flock", "APP_STOP_DELAY": "2s"}), log)
	}()
	log.until("ready")
	stop()
	log.until("stop version")
	if again, err := takeLock(file, "flock"); err == nil {
		_ = again.Close()
		t.Error("the lock is free before the process ends")
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if again, err := takeLock(file, "flock"); err != nil {
		t.Errorf("the lock after the end: %v", err)
	} else if err := again.Close(); err != nil {
		t.Error(err)
	}
	if _, err := takeLock(file, "wishful"); err == nil || !strings.Contains(err.Error(), "APP_LOCK_KIND") {
		t.Errorf("error %v", err)
	}
}

// lines is a log that can be waited for.
type lines chan string

func (l lines) Write(p []byte) (int, error) { l <- string(p); return len(p), nil }

func (l lines) until(what string) {
	for line := range l {
		if strings.Contains(line, what) {
			return
		}
	}
}
