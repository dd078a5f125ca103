package reconciler_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

// What a request leads to carries its id; what happens by itself carries none.
func TestWhatARequestLeadsToCarriesItsID(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		ask := func(id string) reconciler.Status {
			return h.inst.Once(reconciler.WithCorrelation(t.Context(), id))
		}
		h.repo.commit(acme(service("app", "app:1")))
		ask("deploy-1")
		h.engine.Kill("acme-app-1")
		h.once()
		h.repo.commit(acme(service("app", "app:crash")))
		ask("deploy-2")
		if err := h.inst.Suspend(reconciler.WithCorrelation(t.Context(), "halt"), "stocktaking", "ann", time.Time{}); err != nil {
			t.Fatal(err)
		}
		want := []struct{ kind, id string }{{"deploy", "deploy-2"}, {"heal", ""}, {"deploy", "deploy-1"}}
		list := h.history()
		if len(list) != len(want) {
			t.Fatalf("%d records", len(list))
		}
		for i, w := range want {
			if list[i].Kind != w.kind || list[i].Correlation != w.id {
				t.Errorf("record %d is %s for %q, want %s for %q", i, list[i].Kind, list[i].Correlation, w.kind, w.id)
			}
		}
		if list[0].Outcome != reconciler.RolledBack || list[0].Failed == "" {
			t.Errorf("it came to %s and what failed is %q", list[0].Outcome, list[0].Failed)
		}
		events, err := h.inst.Events(10)
		if err != nil {
			t.Fatal(err)
		}
		ids := map[string]string{}
		for _, e := range events {
			ids[e.Reason] = e.Correlation
		}
		if ids["Applied"] != "deploy-1" || ids["RolledBack"] != "deploy-2" || ids["DriftHealed"] != "" || ids["Suspended"] != "halt" {
			t.Errorf("events carry %v", ids)
		}
	})
}

// An apply that succeeds when it is tried again is still that of the request.
func TestARetryKeepsTheRequest(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		h.apply(acme(service("app", "app:1")))
		h.engine.Push("app:late", drivertest.Healthy())
		h.engine.FailPull("app:late", errBoom)
		h.repo.commit(acme(service("app", "app:late")))
		h.inst.Once(reconciler.WithCorrelation(t.Context(), "r-1"))
		h.engine.FailPull("app:late", nil)
		h.once()
		if rec := h.history()[0]; rec.Correlation != "r-1" || rec.Outcome != reconciler.Applied || rec.Generation != 2 {
			t.Errorf("record = %+v", rec)
		}
	})
}

// While a request changes the repository every pass is made for it, also those
// of an instance that it brought; and the next one after, but none beyond.
func TestAttendedPasses(t *testing.T) {
	fleetTest(t, func(t *testing.T, f *fleet) {
		done := f.manager.Attend(reconciler.WithCorrelation(t.Context(), "push-1"))
		f.commit(func() { f.add("beta", "app:1") })
		done()
		time.Sleep(10 * time.Second)
		f.commit(func() { f.add("gamma", "app:1") })
		for name, want := range map[string]string{"acme": "", "beta": "push-1", "gamma": ""} {
			inst, err := f.manager.Instance(name)
			if err != nil {
				t.Fatal(err)
			}
			list, err := inst.History(5)
			if err != nil || len(list) != 1 || list[0].Correlation != want {
				t.Errorf("%s was deployed for %+v, want for %q; %v", name, list, want, err)
			}
		}
	})
}

// TestFiguresCountPassesAndDrift counts drift once until it is mended.
func TestFiguresCountPassesAndDrift(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		h.apply(acme(service("app", "app:1"), service("db", "db:1")))
		before := h.inst.Figures()
		if before.Passes[reconciler.PassDone] == 0 || before.Duration.Count == 0 || before.Duration.Sum <= 0 || !before.DriftSince.IsZero() {
			t.Errorf("figures = %+v", before)
		}
		h.engine.Kill("acme-app-1")
		h.engine.Hook = func(step string) error {
			if strings.HasPrefix(step, "start") {
				return errBoom
			}
			return nil
		}
		h.once()
		h.once()
		f := h.inst.Figures()
		if f.Drift["container"] != 1 || f.DriftSince.IsZero() || f.Passes[reconciler.PassFailed] == 0 {
			t.Errorf("figures of a drift that cannot be healed = %+v", f)
		}
		h.engine.Hook = nil
		h.once()
		if f = h.inst.Figures(); f.Drift["container"] != 1 || !f.DriftSince.IsZero() {
			t.Errorf("figures of a drift that was healed = %+v", f)
		}
	})
}
