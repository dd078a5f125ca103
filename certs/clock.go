package certs

import (
	"fmt"
	"sync"
	"time"
)

const (
	// mostSkew is how far this host's clock may be off that of a source.
	mostSkew = 5 * time.Minute
	// steadyAfter is for how long a clock that went back has to run steadily
	// until it is believed: it was the earlier time that was wrong.
	steadyAfter = time.Hour
	// seenEvery is how often the time is written down.
	seenEvery = time.Minute

	clockKey = "clock"
)

// madeAfter is a day before any on which this program can run.
var madeAfter = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// clock says whether the time on the wall can be right. A host that boots with
// its clock at 1970 must not conclude that everything is in the future, nor one
// that wakes up in 2040 that all is over.
type clock struct {
	memory Memory
	start  time.Time // of the process; its monotonic reading counts

	mu      sync.Mutex
	seen    time.Time // the latest time that the clock showed
	put     time.Time // as it was written down last
	read    bool
	back    time.Duration // when, since start, it was found to have gone back; 0: it did not
	suspect string
}

func newClock(memory Memory) *clock { return &clock{memory: memory, start: time.Now()} }

// look compares the time with what was seen before.
func (c *clock) look(now time.Time, report func(reason, message string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recall()
	was := c.suspect
	running := time.Since(c.start) + 1
	switch {
	case now.Before(madeAfter):
		c.suspect = fmt.Sprintf("the clock says %s, before this program was made", stamp(now))
	case !now.Before(c.seen.Add(-mostSkew)):
		c.suspect, c.back = "", 0
	case c.back == 0 || was == "":
		c.back = running
		fallthrough
	case running-c.back < steadyAfter:
		c.suspect = fmt.Sprintf("the clock says %s, and has said %s before", stamp(now), stamp(c.seen))
	default:
		c.suspect, c.back, c.seen = "", 0, now
	}
	if c.suspect == "" {
		c.saw(now)
	}
	switch {
	case was == "" && c.suspect != "":
		report(ReasonClockSuspect, c.suspect+": no certificate is taken or renewed until it is set; what is served stays")
	case was != "" && c.suspect == "":
		report(ReasonClockTrusted, "the clock says "+stamp(now)+", which is believed")
	}
}

// recall reads once what an earlier process saw.
func (c *clock) recall() {
	if c.read {
		return
	}
	data, err := c.memory.Get(clockKey)
	if err != nil {
		return // and is tried again
	}
	c.read = true
	if t, err := time.Parse(time.RFC3339, string(data)); err == nil {
		c.seen, c.put = t, t
	}
}

// saw writes down the time, by the minute.
func (c *clock) saw(now time.Time) {
	if now.After(c.seen) {
		c.seen = now
	}
	if d := c.seen.Sub(c.put); d >= seenEvery || d < 0 {
		if c.memory.Put(clockKey, []byte(c.seen.Truncate(time.Minute).Format(time.RFC3339))) == nil {
			c.put = c.seen
		}
	}
}

// confirm says that a source has the same time as this host.
func (c *clock) confirm(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.suspect != "" && !now.Before(madeAfter) {
		c.seen = now
	}
}

// doubt says why the clock cannot be right; empty when it can.
func (c *clock) doubt() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.suspect
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
