package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestQuantiles(t *testing.T) {
	hundred := make(series, 100)
	for i := range hundred {
		hundred[len(hundred)-1-i] = float64(i + 1)
	}
	for want, s := range map[string]series{"–": nil, "7 / 7 / 7 / 7": {7}, "50 / 90 / 99 / 100": hundred} {
		if got := s.quantiles(); got != want {
			t.Errorf("%v: %s, want %s", s, got, want)
		}
	}
}

func TestSoakRunsOnlyByName(t *testing.T) {
	for _, s := range sections() {
		if s.named != (s.name == "soak") {
			t.Errorf("%s: named is %t", s.name, s.named)
		}
	}
	if opt, err := parse([]string{"-only", "soak", "-n", "20"}, io.Discard); err != nil || opt.switches != 20 {
		t.Errorf("%+v, %v", opt, err)
	}
	if _, err := parse([]string{"-n", "0"}, io.Discard); err == nil {
		t.Error("no switches are a soak")
	}
}

func TestNewImageIsSeen(t *testing.T) {
	c := &soaked{}
	want := "app v2 "
	c.want.Store(&want)
	for body, seen := range map[string]bool{"app v1 x": false, "": false} {
		if err := c.look(200, nil, []byte(body)); err != nil || c.seen.Load() != seen {
			t.Errorf("%q: %t, %v", body, c.seen.Load(), err)
		}
	}
	if _ = c.look(200, nil, []byte("app v2 x")); !c.seen.Load() {
		t.Error("the new image is not seen")
	}
}

func TestMetricsAreRead(t *testing.T) {
	dir, err := os.MkdirTemp("", "fl") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "fairlead.sock"))
	if err != nil {
		t.Fatal(err)
	}
	text := "# HELP x\ngo_goroutines 58\nlabelled{a=\"b c\"} 1\nfairlead_front_open_connections 0\n"
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if text == "" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = io.WriteString(w, text)
	})}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	d := &daemon{data: dir}
	got, err := d.metrics(t.Context())
	if err != nil || len(got) != 2 || got["go_goroutines"] != 58 {
		t.Errorf("%v, %v", got, err)
	}
	text = ""
	if _, err := d.metrics(t.Context()); err == nil || !strings.Contains(err.Error(), "500") {
		t.Errorf("an error page is read: %v", err)
	}
}
