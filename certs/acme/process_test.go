//go:build pebble

package acme

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestTwoProcessesOneOrder starts two managers on one directory at once.
func TestTwoProcessesOneOrder(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	conf := s.conf()
	conf.Env = []string{"PEBBLE_VA_ALWAYS_VALID=1"}
	ca := newAuthority(t, conf)
	dir := t.TempDir()
	roots := write(t, t.TempDir(), "roots.pem", ca.roots)
	var outs [2]string
	var wait sync.WaitGroup
	for i := range outs {
		wait.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProcess$", "-test.v")
			cmd.Env = append(os.Environ(), "ACME_DIR="+dir, "ACME_URL="+ca.url, "ACME_ROOTS="+roots)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("process %d: %v\n%s", i, err, out)
			}
			_, after, _ := strings.Cut(string(out), "serial=")
			outs[i], _, _ = strings.Cut(after, "\n")
		})
	}
	wait.Wait()
	if outs[0] == "" || outs[0] != outs[1] {
		t.Errorf("the processes have the certificates %q and %q", outs[0], outs[1])
	}
	if n := ca.log.count("Added order"); n != 1 {
		t.Errorf("%d orders, want 1", n)
	}
}

// TestKilledWhileOrdering kills a process in the middle of an order: the next
// one waits as after a failure, gets past its lock, and obtains a certificate.
func TestKilledWhileOrdering(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	conf := s.conf()
	conf.Env = []string{"PEBBLE_VA_NOSLEEP=0", "PEBBLE_VA_SLEEPTIME=3", "PEBBLE_VA_ALWAYS_VALID=1"}
	ca := newAuthority(t, conf)
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProcess$")
	cmd.Env = append(os.Environ(), "ACME_DIR="+dir, "ACME_URL="+ca.url, "ACME_ROOTS="+write(t, t.TempDir(), "roots.pem", ca.roots))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "an order is under way", func() bool { return ca.log.count("Added order") > 0 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	var st state
	if err := newStore(dir).load(statesDir, "data", &st); err != nil || st.Tries[ca.url] == nil || st.Tries[ca.url].Error != "interrupted" || len(st.Orders) != 1 {
		t.Fatalf("%v: what is remembered is %+v", err, st)
	}
	k := keep(t, s, Options{Dir: dir})
	k.ensure(Request{Domains: []string{siteHost}, Issuers: []Issuer{ca.issuer()}})
	k.await(1)
}

// TestProcess is a process of TestTwoProcessesOneOrder.
func TestProcess(t *testing.T) {
	dir := os.Getenv("ACME_DIR")
	if dir == "" {
		return // run as a test of its own it has nothing to do
	}
	roots, err := os.ReadFile(os.Getenv("ACME_ROOTS"))
	if err != nil {
		t.Fatal(err)
	}
	k := keep(t, nil, Options{Dir: dir})
	k.ensure(Request{Domains: []string{siteHost}, Issuers: []Issuer{{Directory: os.Getenv("ACME_URL"), Profile: "default", Roots: roots}}})
	fmt.Println("serial=" + leaf(t, k.await(1)).id)
}
