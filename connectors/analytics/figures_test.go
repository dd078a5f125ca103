package analytics

import "testing"

func TestFiguresOfWorkers(t *testing.T) {
	h := newHouse(t, Options{Workers: 1})
	h.furnish()
	of := func() Figures {
		list := h.Figures()
		if len(list) != 1 || list[0].Instance != inst {
			t.Fatalf("figures = %+v", list)
		}
		return list[0]
	}
	if f := of(); f.Workers != 1 || f.Started < 1 || f.Failing != 0 || f.Memory < 1<<20 {
		t.Errorf("figures at rest = %+v", f)
	}
	answered := make(chan error, 1)
	go func() { _, err := h.ask("ada", "sleep 300ms"); answered <- err }()
	h.until("a worker is busy", func() bool { return of().Busy == 1 })
	must(t, <-answered)
	h.until("and idle again", func() bool { return of().Busy == 0 })
	if residentOf(1<<30) != 0 {
		t.Error("a process that is not there has memory")
	}
}
