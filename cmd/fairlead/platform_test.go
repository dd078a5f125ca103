package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
)

// TestPlatformOfTheEngine: an engine on another machine says what it runs on.
func TestPlatformOfTheEngine(t *testing.T) {
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		if strings.HasSuffix(r.URL.Path, "/version") {
			_, _ = io.WriteString(w, `{"Version":"20.10.24","ApiVersion":"1.41","Os":"linux","Arch":"arm64","KernelVersion":"6.1"}`)
		}
	}))
	t.Cleanup(far.Close)
	log := logrus.New()
	log.SetOutput(io.Discard)
	e, err := newDocker(engineOptions{host: "tcp://" + far.Listener.Addr().String(), owner: t.TempDir(), log: logrus.NewEntry(log)})
	if err != nil {
		t.Fatal(err)
	}
	ask := platformOf(e)
	if ask == nil {
		t.Fatal("it is not asked")
	}
	if got, err := ask(t.Context()); err != nil || got != "linux/arm64" {
		t.Errorf("%q, %v", got, err)
	}
	far.Close()
	if _, err := ask(t.Context()); err == nil {
		t.Error("an engine that is away has a platform")
	}
	if mem, err := newMemoryEngine(engineOptions{}); err != nil || platformOf(mem) != nil {
		t.Errorf("one that does not tell is asked: %v", err)
	}
}
