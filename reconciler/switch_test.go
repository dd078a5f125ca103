package reconciler_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/examples/load"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/drivertest"
	"github.com/fairlead/fairlead/reconciler/verify"
	"github.com/fairlead/fairlead/server/front"
)

const host = "data.acme.test"

// build is a release of an application: what it answers, and whether it is any
// good.
type build struct {
	version string
	sick    bool // its readiness says no
	empty   bool // queries give no rows
	asked   atomic.Int64
}

func (b *build) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/readyz":
		if b.sick {
			http.Error(w, "cannot write", http.StatusServiceUnavailable)
		}
	case "/api/query":
		rows := `[[1]]`
		if b.empty {
			rows = `[]`
		}
		fmt.Fprintf(w, `{"rows": %s}`, rows)
	case "/busy":
		fmt.Fprintf(w, `{"locked": %t}`, b.empty)
	default:
		b.asked.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		io.WriteString(w, b.version)
	}
}

// street is a house with a real front before it, real checks, and users who
// come 200 times a second.
type street struct {
	*house
	front *front.Front
	load  *load.Run
	c     *channels
}

func newStreet(t *testing.T, spec desired.Spec, first *build) *street {
	t.Helper()
	h := newHouse(t)
	t.Cleanup(h.engine.Close)
	h.push(first)
	s := &street{house: h, c: &channels{engine: h.engine, known: map[string]reconciler.Release{}}}
	log := logrus.New()
	log.SetOutput(io.Discard)
	s.front = front.New(front.Options{Log: logrus.NewEntry(log), Certificates: selfSigned(t)})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.front.Run(ctx, l, nil) }()
	h.releases, h.traffic, h.prober = s.c, s.front, verify.New(verify.Options{})
	h.restart()
	s.front.Ready()
	if st := h.apply(spec); st.Outcome != reconciler.Applied {
		t.Fatalf("first deployment: %s %+v", st.Phase, st.Conditions)
	}
	s.load, err = load.Start(ctx, load.Options{URL: "https://" + host + "/", Address: l.Addr().String(), Rate: 50, HTTP2: true, Insecure: true, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// single is one certificate for every host.
type single struct{ pair *tls.Certificate }

func (s single) Certificate(string, string, string) (front.Certificate, error) {
	return front.Certificate{Certificate: s.pair}, nil
}

func selfSigned(t *testing.T) single {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return single{&tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
}

func (h *house) push(b *build) {
	h.engine.Push("app:stable", drivertest.Behaviour{Check: true, Serve: b})
}

// streetSpec follows app:stable behind the front, with every check.
func streetSpec() desired.Spec {
	s := channelSpec()
	s.HealthTimeout, s.Bake = 5*time.Second, 100*time.Millisecond
	s.Check = &desired.HTTPCheck{Service: "app", Path: "/readyz", Port: drivertest.DefaultPort}
	s.Smoke = []desired.SmokeStep{{Name: "query", Post: "/api/query",
		Expect: &desired.Expect{JSON: map[string]any{"rows": map[string]any{"minItems": 1}}}}}
	s.Front = []desired.FrontRoute{{Host: host, Service: "app", Port: drivertest.DefaultPort, Drain: time.Minute, Hold: time.Minute}}
	return s
}

func startFirst(s desired.Spec) desired.Spec {
	app := s.Services["app"]
	app.UpdateOrder = "start-first"
	s.Services["app"] = app
	return s
}

// nobodyNoticed fails the test when a request failed.
func (s *street) nobodyNoticed() load.Report {
	s.t.Helper()
	r := s.load.Stop()
	if r.Failed != 0 || r.OK == 0 {
		s.t.Error(r)
	}
	return r
}

func TestSwitchUnderLoad(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"stop-first", "start-first"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			spec := streetSpec()
			if order == "start-first" {
				spec = startFirst(spec)
			}
			s := newStreet(t, spec, &build{version: "1"})
			good := &build{version: "2"}
			s.push(good)
			if st := s.once(); st.Outcome != reconciler.Applied || st.Generation != 2 {
				t.Fatalf("good build: %s %+v", st.Outcome, s.history()[0])
			}
			newest := s.history()[0]
			if held := len(newest.Gaps) > 0; held != (order == "stop-first") {
				t.Errorf("gaps: %+v", newest.Gaps)
			}
			sick := &build{version: "3", sick: true}
			s.push(sick)
			if st := s.once(); st.Outcome != reconciler.RolledBack || !strings.Contains(s.history()[0].Reason, "503") {
				t.Errorf("sick build: %s, %s", st.Outcome, s.history()[0].Reason)
			}
			empty := &build{version: "4", empty: true}
			s.push(empty)
			if st := s.once(); st.Outcome != reconciler.RolledBack || !strings.Contains(s.history()[0].Reason, "query") {
				t.Errorf("build that fails its smoke test: %s, %s", st.Outcome, s.history()[0].Reason)
			}
			records := len(s.history())
			if st := s.once(); len(s.history()) != records || st.Phase != reconciler.PhaseQuarantined {
				t.Errorf("tried again: phase %s", st.Phase)
			}
			if n := sick.asked.Load() + empty.asked.Load(); n != 0 {
				t.Errorf("users met the bad builds %d times", n)
			}
			before := good.asked.Load()
			s.converged(spec)
			r := s.nobodyNoticed()
			if good.asked.Load() == before && r.OK == 0 {
				t.Error("nobody is led to the good build")
			}
			t.Logf("%s: %s; gaps of the good build %+v", order, r, newest.Gaps)
		})
	}
}

// A health check that says yes only at its next turn, seconds later, does not
// keep users waiting for an application that answers; one that says no in the
// end still undoes the release.
func TestInterruptionDoesNotWaitForTheHealthCheck(t *testing.T) {
	t.Parallel()
	spec := streetSpec()
	spec.HealthTimeout = 30 * time.Second
	s := newStreet(t, spec, &build{version: "1"})
	s.engine.Push("app:stable", drivertest.Behaviour{Check: true, HealthyAfter: 6 * time.Second, Serve: &build{version: "2"}})
	if st := s.once(); st.Outcome != reconciler.Applied {
		t.Fatalf("%s %+v", st.Outcome, st.Conditions)
	}
	if rec := s.history()[0]; len(rec.Gaps) != 1 || rec.Gaps[0].For > 5*time.Second || rec.Duration < 6*time.Second {
		t.Errorf("took %s, gaps %+v", rec.Duration, rec.Gaps)
	}
	s.engine.Push("app:stable", drivertest.Behaviour{Check: true, HealthyAfter: time.Hour, UnhealthyAfter: 2 * time.Second, Serve: &build{version: "3"}})
	if st := s.once(); st.Outcome != reconciler.RolledBack || st.Release.Running == s.digest("app:stable") {
		t.Errorf("the health check said no: %s", st.Outcome)
	}
	s.nobodyNoticed()
}

// A container that dies under load comes back without a failed request, and
// so does one whose daemon was killed while it was being replaced.
func TestHealUnderLoad(t *testing.T) {
	t.Parallel()
	s := newStreet(t, streetSpec(), &build{version: "1"})
	s.engine.RemoveContainer("acme-app-1")
	s.once()
	s.push(&build{version: "2"})
	ctx, cancel := context.WithCancel(t.Context())
	s.engine.Hook = func(step string) error {
		if strings.HasPrefix(step, "start ") {
			cancel() // the old one is stopped
			return errBoom
		}
		return ctx.Err()
	}
	s.inst.Once(ctx)
	s.engine.Hook = nil
	s.restart()
	if st := s.once(); st.Phase != reconciler.PhaseIdle {
		t.Errorf("after the restart: %s %+v", st.Phase, st.Conditions)
	}
	s.runs(s.digest("app:stable"))
	s.nobodyNoticed()
}

// What is healthy gets the held requests before they have waited too long, also
// when the smoke steps take longer.
func TestHeldRequestsAreNotKeptForSlowSmokeSteps(t *testing.T) {
	t.Parallel()
	spec := streetSpec()
	spec.Front[0].Hold = 8 * time.Second
	pause := desired.Duration(9 * time.Second)
	s := newStreet(t, spec, &build{version: "1"})
	spec.Smoke = []desired.SmokeStep{{Name: "after a while", Get: "/", Wait: &pause}}
	s.repo.commit(spec)
	s.push(&build{version: "2"})
	if st := s.once(); st.Outcome != reconciler.Applied {
		t.Fatalf("%s %+v", st.Outcome, st.Conditions)
	}
	if gaps := s.history()[0].Gaps; len(gaps) != 1 || gaps[0].For > 8*time.Second || gaps[0].Refused != 0 {
		t.Errorf("gaps %+v", gaps)
	}
	s.nobodyNoticed()
}

// Upgrades in a row leave one container, and no more goroutines than the first
// ones did.
func TestManySwitchesLeaveNothingBehind(t *testing.T) {
	// One after the other: goroutines are counted. A start-first replacement is
	// watched for a second before it takes over.
	for order, upgrades := range map[string]int{"stop-first": 100, "start-first": 15} {
		spec := streetSpec()
		spec.Bake, spec.Smoke = 0, nil
		if order == "start-first" {
			spec = startFirst(spec)
		}
		s := newStreet(t, spec, &build{version: "first"})
		before := 0
		for i := range upgrades {
			s.push(&build{version: fmt.Sprint(i)})
			if st := s.once(); st.Generation != i+2 {
				t.Fatalf("upgrade %d: %s %+v", i, st.Phase, st.Conditions)
			}
			if i == 5 {
				before = runtime.NumGoroutine()
			}
		}
		s.converged(spec)
		r := s.nobodyNoticed()
		if now := runtime.NumGoroutine(); now > before+20 { // requests come and go
			t.Errorf("%s: %d goroutines, %d after the first five", order, now, before)
		}
		t.Logf("%s: %s", order, r)
	}
}

// A service that gets another name hands its requests over when both may run,
// and keeps them when its successor is sick.
func TestRenamedServiceHandsOver(t *testing.T) {
	t.Parallel()
	spec := startFirst(streetSpec())
	s := newStreet(t, spec, &build{version: "1"})
	s.engine.Push("app:sick", drivertest.Behaviour{Check: true, Serve: &build{version: "2", sick: true}})
	s.engine.Push("app:good", drivertest.Behaviour{Check: true, Serve: &build{version: "2"}})
	renamed := func(image string) desired.Spec {
		next := startFirst(streetSpec())
		web := service("web", image)
		web.UpdateOrder = "start-first"
		next.Services = map[string]desired.Service{"web": web}
		next.Follow, next.Check.Service, next.Front[0].Service = nil, "web", "web"
		return next
	}
	if st := s.apply(renamed("app:sick")); st.Outcome != reconciler.RolledBack {
		t.Errorf("sick successor: %s", st.Outcome)
	}
	s.converged(spec)
	if st := s.apply(renamed("app:good")); st.Outcome != reconciler.Applied {
		t.Errorf("good successor: %s %+v", st.Outcome, st.Conditions)
	}
	s.converged(renamed("app:good"))
	if r := s.nobodyNoticed(); r.Max > 3*time.Second {
		t.Errorf("somebody waited: %s", r)
	}
}

// A heal answers for what it heals: that something else is down at the time is
// healed next, and is no failure of the first.
func TestHealAsksOnlyWhatItHeals(t *testing.T) {
	t.Parallel()
	spec := streetSpec()
	spec.Services["db"] = service("db", "db:1")
	app := spec.Services["app"]
	app.DependsOn = []desired.Dependency{{Service: "db", Condition: desired.Started, Required: true}}
	spec.Services["app"] = app
	s := newStreet(t, spec, &build{version: "1"})
	s.engine.RemoveContainer("acme-db-1")
	s.engine.Hook = func(step string) error {
		if strings.HasPrefix(step, "start ") && strings.Contains(step, "db") {
			go s.engine.Kill("acme-app-1")
		}
		return nil
	}
	s.once()
	s.engine.Hook = nil
	s.once()
	for _, rec := range s.history() {
		if rec.Outcome != reconciler.Applied {
			t.Errorf("%s %s: %s", rec.Kind, rec.Outcome, rec.Reason)
		}
	}
	s.converged(spec)
	s.nobodyNoticed()
}

func TestBusyApplicationHoldsAnUpgradeBack(t *testing.T) {
	t.Parallel()
	spec := streetSpec()
	spec.Smoke = nil
	spec.Follow.Busy = &desired.BusyCheck{Service: "app", Host: "app:8000", Port: drivertest.DefaultPort, Path: "/busy", Field: "locked", MaxDefer: time.Hour}
	working := &build{version: "1", empty: true}
	s := newStreet(t, spec, working)
	s.push(&build{version: "2"})
	st := s.once()
	if st.Phase != reconciler.PhaseDeferred || st.Release.Deferred == nil || st.Release.Deferred.Reason != "Busy" {
		t.Fatalf("%s %+v", st.Phase, st.Release)
	}
	until := st.Release.Deferred.Until
	s.restart()
	if st = s.once(); st.Release.Deferred == nil || !st.Release.Deferred.Until.Equal(until) {
		t.Errorf("the time that it may be held back began again with the restart: %+v, was %s", st.Release.Deferred, until)
	}
	if p, err := s.inst.Preview(t.Context(), nil); err != nil || p.Deferred == nil || p.Deferred.Reason != "Busy" || !p.Deferred.Until.Equal(until) {
		t.Errorf("the plan says %+v, %v", p.Deferred, err)
	}
	if why, err := s.inst.Why("app"); err != nil || len(why) != 1 || !strings.HasPrefix(why[0].Waiting, "Busy: ") {
		t.Errorf("why: %+v, %v", why, err)
	}
	working.empty = false
	if p, err := s.inst.Preview(t.Context(), nil); err != nil || p.Deferred != nil || len(p.Actions) != 1 {
		t.Errorf("idle now, and the plan says %+v, %+v, %v", p.Deferred, p.Actions, err)
	}
	if st = s.once(); st.Generation != 2 {
		t.Errorf("idle now: %s", st.Phase)
	}
	s.nobodyNoticed()
}
