package acme

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// TestTwoProcessesOneOrder starts two managers on one directory at once.
func TestTwoProcessesOneOrder(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	conf := s.conf()
	conf.Env = []string{"PEBBLE_VA_ALWAYS_VALID=1"}
	ca := newAuthority(t, conf)
	dir := t.TempDir()
	commands := [2]*exec.Cmd{process(t, dir, ca), process(t, dir, ca)}
	var outs [2]string
	var wait sync.WaitGroup
	for i := range outs {
		wait.Go(func() {
			out, err := commands[i].CombinedOutput()
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
	if n := ca.log.count("POST /order-plz"); n != 1 {
		t.Errorf("%d orders, want 1", n)
	}
}

// TestKilledWhileOrdering kills a process in the middle of an order: it has left
// word of it, and its lock keeps nobody from obtaining a certificate.
func TestKilledWhileOrdering(t *testing.T) {
	t.Parallel()
	s, never := newSite(t), newSilence(t)
	conf := s.conf()
	conf.HTTPPort = never.port
	ca := newAuthority(t, conf)
	dir := t.TempDir()
	cmd := process(t, dir, ca, "ACME_CHALLENGE="+HTTP01)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	never.await(t)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	var st state
	if err := newStore(dir).load(statesDir, "data", &st); err != nil {
		t.Fatal(err)
	}
	if try := st.Tries[ca.url]; try == nil || try.Error != "interrupted" || len(st.Orders) != 1 {
		t.Fatalf("what is remembered is %+v", st)
	}
	k := keep(t, s, Options{Dir: dir})
	k.ensure(Request{Domains: []string{siteHost}, Issuers: []Issuer{ca.issuer()}, Challenges: []string{TLSALPN01}})
	k.await(1)
}

// process is this test binary as a process that keeps a certificate in dir.
func process(t *testing.T, dir string, ca *authority, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProcess$", "-test.v")
	cmd.Env = append(append(os.Environ(), "ACME_DIR="+dir, "ACME_URL="+ca.url, "ACME_ROOTS="+write(t, t.TempDir(), "roots.pem", ca.roots)), env...)
	return cmd
}

// TestProcess is what process starts.
func TestProcess(t *testing.T) {
	dir := os.Getenv("ACME_DIR")
	if dir == "" {
		return // run as a test of its own it has nothing to do
	}
	roots, err := os.ReadFile(os.Getenv("ACME_ROOTS"))
	if err != nil {
		t.Fatal(err)
	}
	req := Request{Domains: []string{siteHost}, Issuers: []Issuer{{Directory: os.Getenv("ACME_URL"), Profile: "default", Roots: roots}}}
	if c := os.Getenv("ACME_CHALLENGE"); c != "" {
		req.Challenges = []string{c}
	}
	k := keep(t, nil, Options{Dir: dir})
	k.ensure(req)
	fmt.Println("serial=" + leaf(t, k.await(1)).id)
}
