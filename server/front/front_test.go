package front

import (
	"net/http"
	"testing"
	"time"
)

func TestLeadsByHost(t *testing.T) {
	h := start(t, Options{})
	one, two := newBackend(t, "one", hello("one")), newBackend(t, "two", hello("two"))
	a, b := routeTo(one), routeTo(two)
	b.Host, b.Service = "other.test", "other"
	h.set(a, b)
	h.front.Ready()
	for _, http2 := range []bool{false, true} {
		c := h.client(http2)
		mustGet(t, c, "https://app.test/", 200, "one")
		mustGet(t, c, "https://OTHER.test./x?y=z", 200, "two")
	}
}

func TestHoldsWhileThereIsNoContainer(t *testing.T) {
	h := start(t, Options{})
	old := newBackend(t, "old", hello("old"))
	h.set(routeTo(old))
	c := h.client(true)
	mustGet(t, c, "https://app.test/", 200, "old")
	if err := h.front.Drain(t.Context(), "acme", "old"); err != nil {
		t.Fatal(err)
	}
	_ = old.Close()
	done := background(func() error {
		s, b, err := get(c, "https://app.test/")
		return want(200, "new", s, b, err)
	})
	eventually(t, "one request is held", func() bool { return h.held() == 1 })
	h.set(routeTo(newBackend(t, "new", hello("new"))))
	await(t, "held request", done)
	gaps := h.front.Gaps("acme", time.Time{})
	if len(gaps) != 1 || gaps[0].Held != 1 || gaps[0].Refused != 0 || gaps[0].Longest <= 0 || gaps[0].Longest > gaps[0].For || gaps[0].Service != "app" {
		t.Errorf("gaps: %+v", gaps)
	}
}

func TestDrainWaitsForWhatIsInFlight(t *testing.T) {
	h := start(t, Options{})
	begun, end := make(chan struct{}), make(chan struct{})
	old := newBackend(t, "old", func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-end
	})
	h.set(routeTo(old))
	c := h.client(true)
	slow := background(func() error {
		s, b, err := get(c, "https://app.test/")
		return want(200, "", s, b, err)
	})
	<-begun
	h.set(routeTo(old, newBackend(t, "new", hello("new"))))
	drained := background(func() error { return h.front.Drain(t.Context(), "acme", "old") })
	for range 20 { // whichever of the two was next
		mustGet(t, c, "https://app.test/", 200, "")
	}
	select {
	case err := <-drained:
		t.Fatalf("drained with a request in flight: %v", err)
	default:
	}
	close(end)
	await(t, "slow request", slow)
	await(t, "drain", drained)
	mustGet(t, c, "https://app.test/", 200, "new")
	if err := h.front.Drain(t.Context(), "nobody", "old"); err != nil {
		t.Error(err)
	}
	if err := h.front.Drain(t.Context(), "acme", "unknown"); err != nil {
		t.Error(err)
	}
}
