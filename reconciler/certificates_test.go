package reconciler_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// keeper remembers what was wanted of it, each time that this changed.
type keeper struct {
	mu     sync.Mutex
	wanted []string
	status []reconciler.CertificateStatus
}

func (k *keeper) Set(instance string, want reconciler.WantedCertificates) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var list []string
	for name, c := range want.ByName {
		list = append(list, name+"="+strings.Join(c.Domains, "+"))
	}
	slices.Sort(list)
	text := fmt.Sprintf("%s %s %s", instance, strings.Join(list, ","), strings.Join(want.Hosts, ","))
	if n := len(k.wanted); n == 0 || k.wanted[n-1] != text {
		k.wanted = append(k.wanted, text)
	}
}

func (k *keeper) Certificates(string) []reconciler.CertificateStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status
}

func (k *keeper) all() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.wanted)
}

// with gives a specification certificates, as NAME=DOMAIN, and a host that
// names none.
func with(s desired.Spec, host string, pairs ...string) desired.Spec {
	s.Certificates = map[string]desired.CertificateSpec{}
	for _, p := range pairs {
		name, domain, _ := strings.Cut(p, "=")
		s.Certificates[name] = desired.CertificateSpec{Domains: []string{domain}}
	}
	s.Front = []desired.FrontRoute{{Host: host, Service: "app", Port: 80}}
	return s
}

// TestCertificatesFollowTheGeneration: those of what is applied are wanted
// until the next generation stands, and again when that is rolled back.
func TestCertificatesFollowTheGeneration(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		k := &keeper{}
		h.certificates = k
		h.restart()
		h.apply(with(acme(service("app", "app:1")), "a.test", "one=one.test"))
		h.apply(with(acme(service("app", "app:sick")), "b.test", "one=new.test", "two=two.test"))
		h.once()
		h.restart()
		h.once()
		h.repo.commitBad(desired.Problems{{File: "instance.yaml", Text: "is no good"}})
		h.once()
		h.apply(with(acme(service("app", "app:2")), "b.test", "two=two.test"))
		h.once()
		want := []string{
			"acme one=one.test a.test",
			"acme one=new.test,two=two.test a.test,b.test", // on its way
			"acme one=one.test a.test",                     // rolled back, and stays so
			"acme one=one.test,two=two.test a.test,b.test",
			"acme two=two.test b.test",
		}
		if got := k.all(); !slices.Equal(got, want) {
			t.Errorf("wanted:\n%s\nnot:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestCertificatesOfAFirstDeploymentThatFailsAreKept(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		k := &keeper{}
		h.certificates = k
		h.restart()
		h.apply(with(acme(service("app", "app:sick")), "a.test", "one=one.test"))
		h.once()
		if got := k.all(); !slices.Equal(got, []string{"acme one=one.test a.test"}) {
			t.Errorf("wanted: %q", got)
		}
	})
}

func TestCertificatesShowInTheStatus(t *testing.T) {
	at := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	of := func(name string, p reconciler.CertificatePhase, message string) reconciler.CertificateStatus {
		return reconciler.CertificateStatus{Name: name, Phase: p, Message: message, Since: at}
	}
	live := of("one", reconciler.CertificateLive, "")
	for _, tt := range []struct {
		have            []reconciler.CertificateStatus
		status          reconciler.ConditionStatus
		reason, message string
		health          reconciler.HealthStatus
	}{
		{nil, "", "", "", reconciler.Healthy},
		{[]reconciler.CertificateStatus{live}, "True", "Ready", "1 certificate", reconciler.Healthy},
		{[]reconciler.CertificateStatus{live, of("two", reconciler.CertificateSelfSigned, "")}, "True", "Ready", "2 certificates", reconciler.Healthy},
		{[]reconciler.CertificateStatus{live, of("two", reconciler.CertificateAwaitsIssuer, "nobody signed it")}, "False", "AwaitingIssuer",
			"two: nobody signed it", reconciler.Healthy},
		{[]reconciler.CertificateStatus{of("two", reconciler.CertificateDegraded, "refused"), of("x", reconciler.CertificateAwaitsIssuer, ""), live},
			"False", "Degraded", "two: refused", reconciler.Degraded},
		{[]reconciler.CertificateStatus{of("x", reconciler.CertificateDegraded, ""), of("two", reconciler.CertificateExpired, "over")},
			"False", "Expired", "two: over", reconciler.Degraded},
		{[]reconciler.CertificateStatus{of("x", reconciler.CertificateClockSuspect, "")}, "Unknown", "ClockSuspect", "x is ClockSuspect", reconciler.Degraded},
		{[]reconciler.CertificateStatus{of("x", reconciler.CertificatePending, "")}, "False", "Pending", "x is Pending", reconciler.Degraded},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			lawTest(t, func(t *testing.T, h *house) {
				h.certificates = &keeper{status: tt.have}
				h.restart()
				s := h.apply(acme(service("app", "app:1")))
				c := s.Condition(reconciler.CertificatesReady)
				if c.Status != tt.status || c.Reason != tt.reason || c.Message != tt.message || s.Health != tt.health || len(s.Certificates) != len(tt.have) {
					t.Errorf("%+v, health %s", c, s.Health)
				}
				if again := h.inst.Status(); len(again.Conditions) != len(s.Conditions) {
					t.Errorf("conditions pile up: %+v", again.Conditions)
				}
			})
		})
	}
}
