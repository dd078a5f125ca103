package drivertest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

func says(words string) drivertest.Behaviour {
	return drivertest.Behaviour{Serve: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, words) })}
}

func get(at netip.Addr) (string, error) {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(fmt.Sprintf("http://%s/", netip.AddrPortFrom(at, drivertest.DefaultPort)))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// Containers answer while they run, each where its observation says.
func TestServe(t *testing.T) {
	e := drivertest.New()
	t.Cleanup(e.Close)
	e.Push("web:1", says("one"))
	e.Push("web:2", says("two"))
	act := reconciler.Action{Kind: reconciler.KindContainer, Verb: reconciler.Create, Name: "web", Replica: 1, Object: "acme-web-1"}
	deploy := func(ref string) netip.Addr {
		t.Helper()
		tgt := reconciler.Target{Spec: oneService(ref), Dir: t.TempDir()}
		images, err := e.Prepare(t.Context(), tgt, nil)
		if err != nil {
			t.Fatal(err)
		}
		tgt.Images = images
		if err := e.Ensure(t.Context(), tgt, act); err != nil {
			t.Fatal(err)
		}
		o, err := e.Observe(t.Context(), "acme", false)
		if err != nil {
			t.Fatal(err)
		}
		return o.Containers[0].Addresses["bridge"]
	}
	one := deploy("web:1")
	if got, err := get(one); got != "one" {
		t.Fatalf("first: %q, %v", got, err)
	}
	two := deploy("web:2")
	if got, err := get(two); got != "two" {
		t.Errorf("second: %q, %v", got, err)
	}
	if got, err := get(one); err == nil {
		t.Errorf("the replaced one still says %q", got)
	}
	e.Pause("acme-web-1")
	if got, err := get(two); err == nil {
		t.Errorf("the paused one says %q", got)
	}
	e.Kill("acme-web-1")
	if got, err := get(two); err == nil {
		t.Errorf("the killed one says %q", got)
	}
}

// What a Behaviour says of its end keeps the successor away.
func TestEndsThatTakeTime(t *testing.T) {
	for name, c := range map[string]struct {
		old  drivertest.Behaviour
		want string
	}{
		"lock let go":    {drivertest.Behaviour{LocksFor: 100 * time.Millisecond}, ""},
		"lock held":      {drivertest.Behaviour{LocksFor: time.Hour}, "/data/db"},
		"outlives stops": {drivertest.Behaviour{Survives: true}, "survived"},
	} {
		t.Run(name, func(t *testing.T) {
			e := drivertest.New()
			e.LockLimit = 400 * time.Millisecond
			e.Push("web:1", c.old)
			e.Push("web:2", drivertest.Plain())
			var err error
			for _, ref := range []string{"web:1", "web:2"} {
				tgt := reconciler.Target{Spec: oneService(ref), Dir: t.TempDir()}
				s := tgt.Spec.Services["web"]
				s.Locks = []string{"/data/db"}
				tgt.Spec.Services["web"] = s
				if tgt.Images, err = e.Prepare(t.Context(), tgt, nil); err != nil {
					t.Fatal(err)
				}
				err = e.Ensure(t.Context(), tgt, reconciler.Action{Kind: reconciler.KindContainer, Name: "web", Replica: 1, Object: "acme-web-1"})
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error = %v, want %q", err, c.want)
			}
			if e.Alive("acme-web-1") != (c.want == "") {
				t.Error("the successor runs beside it")
			}
		})
	}
}
