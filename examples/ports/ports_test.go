package ports

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

const asOther = "FAIRLEAD_TEST_OTHER"

// TestMain makes the test binary be another process that has a port, until its input ends.
func TestMain(m *testing.M) {
	if os.Getenv(asOther) == "" {
		os.Exit(m.Run())
	}
	port, err := Free()
	fmt.Println(port, err)
	_, _ = os.Stdin.Read(make([]byte, 1))
}

func TestNobodyIsGivenAPortTwice(t *testing.T) {
	var mu sync.Mutex
	var group sync.WaitGroup
	given := map[int]bool{}
	for range 20 {
		group.Go(func() {
			for range 10 {
				port, err := Free()
				mu.Lock()
				if err != nil || given[port] || port < lowest || port >= lowest+many {
					t.Errorf("port %d, %v, given before: %t", port, err, given[port])
				}
				given[port] = true
				mu.Unlock()
			}
		})
	}
	group.Wait()
}

func TestPortsOfOthers(t *testing.T) {
	address := Address(t)
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr).Port
	if reserve(taken) || unused(taken) {
		t.Errorf("%d is given away though somebody listens on it", taken)
	}

	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), asOther+"=1")
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err == nil {
		err = other.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var theirs int
	var said string
	if _, err := fmt.Fscan(out, &theirs, &said); err != nil || !strings.Contains(said, "nil") {
		t.Fatalf("%v, %s", err, said)
	}
	if !unused(theirs) || reserve(theirs) {
		t.Errorf("the port %d of another process is given away", theirs)
	}
	_ = in.Close()
	if err := other.Wait(); err != nil {
		t.Fatal(err)
	}
	if !reserve(theirs) {
		t.Errorf("%d is not given back when the process has ended", theirs)
	}
}
