package drivertest

import (
	"github.com/fairlead/fairlead/reconciler"
)

// cutEverywhere cuts a replacement off at each call, then either goes on or
// undoes it.
func (b *bench) cutEverywhere() {
	stranger := b.Instance + "-stranger"
	b.Hands.AddForeign(stranger, "someone")
	one := b.deploy(b.target(1, b.web(KindPlain, 1)))
	two := b.prepare(b.target(2, b.web(KindPlain, 2)))
	for n := 1; ; n++ {
		old := b.serves(one, "web")
		b.Fail(n)
		err := b.apply(two)
		b.Fail(0)
		if err == nil {
			if n < 3 {
				b.Fatal("no call was cut off")
			}
			return
		}
		if n%2 == 0 {
			b.must(b.apply(two), "go on")
			b.serves(two, "web")
		}
		b.must(b.apply(one), "undo")
		if b.serves(one, "web") != old {
			b.Fatalf("cut at call %d: the old container is lost", n)
		}
		b.must(b.Driver.Settle(b.Context(), one), "settle")
		if c := b.observe(true).Containers; len(c) != 1 || len(c[0].Changed) != 0 {
			b.Fatalf("cut at call %d: left over: %+v", n, c)
		}
		if !b.Alive(stranger) {
			b.Fatalf("cut at call %d: the stranger is gone", n)
		}
	}
}

// cutUndo cuts the undo of a replacement off at each call, then goes on.
func (b *bench) cutUndo() {
	one := b.deploy(b.target(1, b.web(KindPlain, 1)))
	two := b.prepare(b.target(2, b.web(KindPlain, 2)))
	for n := 1; ; n++ {
		old := b.serves(one, "web")
		b.must(b.apply(two), "replace")
		b.Fail(n)
		err := b.apply(one)
		b.Fail(0)
		if err == nil {
			if n < 3 {
				b.Fatal("no call was cut off")
			}
			return
		}
		b.must(b.apply(one), "go on with the undo")
		if b.serves(one, "web") != old {
			b.Fatalf("cut at call %d: the old container is lost", n)
		}
	}
}

// cutStartFirst cuts a start-first replacement off at every third call, since
// each costs the seconds of its waits, then goes on.
func (b *bench) cutStartFirst() {
	first := func(v int) reconciler.Target {
		s := b.web(KindPlain, v)
		s.UpdateOrder = "start-first"
		return b.target(v, s)
	}
	one := b.deploy(first(1))
	two := b.prepare(first(2))
	for n := 1; ; n += 3 {
		w := b.watch(&two)
		b.Fail(n)
		err := b.apply(two)
		b.Fail(0)
		if err != nil {
			b.must(b.apply(two), "go on")
		}
		b.serves(two, "web")
		w.check()
		if err == nil {
			if n < 3 {
				b.Fatal("no call was cut off")
			}
			return
		}
		b.must(b.apply(one), "undo")
		b.serves(one, "web")
		b.must(b.Driver.Settle(b.Context(), one), "settle")
	}
}
