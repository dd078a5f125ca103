package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// inside runs a part in this process until the test ends, and returns where it listens.
func inside(t *testing.T, args ...string) string {
	t.Helper()
	in, hold := io.Pipe()
	out, say := io.Pipe()
	var errs bytes.Buffer
	done := make(chan int, 1)
	go func() { done <- runChild(args, in, say, &errs) }()
	t.Cleanup(func() {
		_ = hold.Close()
		if code := <-done; code != 0 {
			t.Errorf("%v: %s", args, errs.String())
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func TestProxiesAreAskedEachWay(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	pair, err := makePair(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	backend := inside(t, childBackend)
	for _, part := range []string{childBare, childPolite, childFront} {
		addr := inside(t, part, "-backend", backend, "-chain", pair.chain, "-key", pair.key)
		for _, kind := range []string{keepAlive, overHTTP2, anew} {
			var v volley
			var out bytes.Buffer
			for last := 300 * time.Millisecond; v.Requests == 0 && last < 10*time.Second; last *= 3 { // a busy machine answers none in so little time
				out.Reset()
				err := shoot(t.Context(), []string{"-addr", addr, "-kind", kind, "-clients", "4", "-warm", "10ms", "-for", last.String()}, &out)
				word, text, _ := strings.Cut(out.String(), "\n")
				if err != nil || word != "go" || json.Unmarshal([]byte(text), &v) != nil || v.Failed > 0 || v.Seconds < last.Seconds() {
					t.Fatalf("%s over %s: %v, %q", part, kind, err, out.String())
				}
			}
			if v.Requests == 0 || v.P50 <= 0 || v.P99 < v.P50 {
				t.Errorf("%s over %s: %q", part, kind, out.String())
			}
		}
	}
}

func TestWrongAnswersAreFailures(t *testing.T) {
	pair, err := makePair(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	gone, err := freeAddress() // nothing listens there: the proxy answers 502
	if err != nil {
		t.Fatal(err)
	}
	addr := inside(t, childBare, "-backend", gone, "-chain", pair.chain, "-key", pair.key)
	for _, kind := range []string{keepAlive, overHTTP2, anew} {
		list, err := shooters(kind, addr, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := list[0].ask(); err == nil || !strings.Contains(err.Error(), "502") {
			t.Errorf("over %s: %v", kind, err)
		}
		list[0].close()
	}
}

func TestPartsThatAreNone(t *testing.T) {
	for _, args := range [][]string{nil, {"x"}, {childBackend, "more"}, {childBare}, {childFront, "-backend", "nowhere"}, {childLoad, "-kind", "x"}} {
		if code := runChild(args, strings.NewReader(""), io.Discard, io.Discard); code != 1 {
			t.Errorf("%v ends with %d", args, code)
		}
	}
}

func TestPeerThatCannotBeBuilt(t *testing.T) {
	var log bytes.Buffer
	b := &bench{log: &log}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("GOPROXY", "off")
	other := peer{"nothing", "example.com/nothing/cmd/nothing", "v1.0.0", "FAIRLEAD_TEST_PEER"}
	if _, err := other.find(t.Context(), b); err == nil || !strings.HasPrefix(err.Error(), "build nothing: ") {
		t.Errorf("it is built: %v", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Join(cache, "fairlead")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	there := filepath.Join(cache, "fairlead", "nothing-v1.0.0")
	if err := os.WriteFile(there, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := other.find(t.Context(), b); err != nil || got != there {
		t.Errorf("found %s, %v", got, err)
	}
	t.Setenv(other.env, "/elsewhere")
	if got, err := other.find(t.Context(), b); err != nil || got != "/elsewhere" {
		t.Errorf("found %s, %v", got, err)
	}
}

func TestSpreadOfRounds(t *testing.T) {
	f := figure{ours: series{1, 2, 3, 4, 50}, theirs: series{1, 1, 1, 1, 1}}
	if low, high := f.spread(); low != 2 || high != 4 {
		t.Errorf("between %v and %v", low, high)
	}
	if low, high := (figure{}).spread(); low != 0 || high != 0 {
		t.Errorf("of nothing: %v, %v", low, high)
	}
}

func TestVolleySums(t *testing.T) {
	var one, two shooter
	for i := range 100 {
		one.took = append(one.took, 1e6*1)
		if i < 2 {
			two.took = append(two.took, 1e6*50)
		}
	}
	two.failed, two.failure = 3, context.Canceled
	v := sum([]*shooter{&one, &two}, 2e9)
	if v.Requests != 102 || v.Failed != 3 || v.Seconds != 2 || v.P50 != 1 || v.P99 != 50 || v.Why == "" {
		t.Errorf("%+v", v)
	}
	if v := sum([]*shooter{{}}, 1e9); v != (volley{Seconds: 1}) {
		t.Errorf("of nothing: %+v", v)
	}
}
