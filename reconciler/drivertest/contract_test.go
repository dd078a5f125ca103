package drivertest_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/reconciler/drivertest"
)

func TestContract(t *testing.T) { drivertest.Run(t, fakeHarness) }

func TestContractEngineRestart(t *testing.T) { drivertest.RunEngineRestart(t, fakeHarness) }

func fakeHarness(t *testing.T) drivertest.Harness {
	e := drivertest.New()
	var mu sync.Mutex
	left := 0
	e.Hook = func(string) error {
		mu.Lock()
		defer mu.Unlock()
		switch left {
		case 0:
			return nil
		case 1:
			return errors.New("cut off")
		}
		left--
		return nil
	}
	e.LockLimit = time.Second
	t.Cleanup(e.Close)
	pushed := map[string]bool{}
	behaviours := map[drivertest.Kind]drivertest.Behaviour{
		drivertest.KindPlain: {Serve: http.NotFoundHandler()}, drivertest.KindHealthy: drivertest.Healthy(),
		drivertest.KindUnhealthy: drivertest.Unhealthy(), drivertest.KindCrash: drivertest.CrashLoop(),
		drivertest.KindJob: drivertest.Exit(0, 50*time.Millisecond),
	}
	return drivertest.Harness{
		Driver: e, Instance: "acme", Dir: t.TempDir(), Hands: e,
		Image: func(k drivertest.Kind, v int) string {
			ref := fmt.Sprintf("%s:%d", k, v)
			if !pushed[ref] {
				e.Push(ref, behaviours[k])
			}
			pushed[ref] = true
			return ref
		},
		Limit: func(name string) { e.Update(name, "memory", "64 MiB", "32 MiB") },
		Fail: func(n int) {
			mu.Lock()
			defer mu.Unlock()
			left = n
		},
		Digest: func(ref string) string {
			digest, err := e.Digest(ref)
			if err != nil {
				t.Fatal(err)
			}
			return digest
		},
		RemoveImage:  e.RemoveImageID,
		RegistryDown: e.SetRegistryDown,
		Lock:         func(_, file string) func() { return e.HoldLock(file) },
		Alive:        e.Alive,
		Restart:      e.EngineRestart,
		Policy:       e.SetRestart,
	}
}
