package drivertest_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

func oneService(image string) desired.Spec {
	return desired.Spec{
		Name:     "acme",
		Services: map[string]desired.Service{"web": {Name: "web", Image: image, Replicas: 1}},
	}
}

func TestHookFailsTheStepItIsAskedTo(t *testing.T) {
	e := drivertest.New()
	e.Push("web:1", drivertest.Plain())
	boom := errors.New("boom")
	e.Hook = func(step string) error {
		if step == "start acme-web-1" {
			return boom
		}
		return nil
	}
	tgt := reconciler.Target{Spec: oneService("web:1"), Dir: t.TempDir()}
	images, err := e.Prepare(t.Context(), tgt, nil)
	if err != nil {
		t.Fatal(err)
	}
	tgt.Images = images
	act := reconciler.Action{Kind: reconciler.KindContainer, Verb: reconciler.Create, Name: "web", Replica: 1, Object: "acme-web-1"}
	if err := e.Ensure(t.Context(), tgt, act); !errors.Is(err, boom) {
		t.Fatalf("Ensure = %v, want boom", err)
	}
	o, err := e.Observe(t.Context(), "acme", false)
	if err != nil || len(o.Containers) != 1 || o.Containers[0].State != reconciler.StateCreated {
		t.Fatalf("after the failed start: %+v, %v", o.Containers, err)
	}
}

func TestTimePassesByPackageTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := drivertest.New()
		e.Push("web:1", drivertest.SlowStart(time.Minute))
		tgt := reconciler.Target{Spec: oneService("web:1"), Dir: t.TempDir()}
		images, err := e.Prepare(t.Context(), tgt, nil)
		if err != nil {
			t.Fatal(err)
		}
		tgt.Images = images
		act := reconciler.Action{Kind: reconciler.KindContainer, Verb: reconciler.Create, Name: "web", Replica: 1}
		if err := e.Ensure(t.Context(), tgt, act); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := e.Await(t.Context(), tgt, reconciler.Wait{Service: "web", Replica: 1, Condition: desired.Healthy}); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d < time.Minute || d > time.Minute+time.Second {
			t.Fatalf("healthy after %s, want one minute", d)
		}
	})
}
