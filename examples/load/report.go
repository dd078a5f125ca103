package load

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Report is what became of the requests of a time.
type Report struct {
	From time.Time
	Took time.Duration

	Sent   int // = OK + Failed + Gone
	OK     int
	Failed int
	Gone   int // given up because the context ended
	// Retried are requests that the client had to send once more, on another connection, because the server closed the
	// first one before it answered. Most users never see those; a front that drops nothing causes none.
	Retried     int
	Connections int // opened

	Status map[int]int    // answers, by status
	Errors map[string]int // failures, by what was wrong

	// P50, P99 and Max are latencies of the good ones, from when the request was due.
	P50, P99, Max time.Duration
	// Stall is the longest time in which no good answer came.
	Stall time.Duration
	// FailWindow is from the first failed request to the last one, by when they were due; 0 without a failure.
	FailWindow time.Duration
}

// String is the report on one line, with the failures named.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d sent, %d failed, p50 %s, p99 %s, max %s, longest stall %s", r.Sent, r.Failed,
		short(r.P50), short(r.P99), short(r.Max), short(r.Stall))
	if r.Retried > 0 {
		fmt.Fprintf(&b, ", %d sent again", r.Retried)
	}
	for _, e := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(&b, "; %d× %s", r.Errors[e], e)
	}
	return b.String()
}

func short(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}

// outcome is what became of one request.
type outcome struct {
	due            time.Time
	status         int // 0: no answer
	err            error
	gone           bool
	tries, dialled int
}

// tally keeps 8 bytes for each good request.
type tally struct {
	from, good  time.Time // good: when the last good answer came
	first, last time.Time // of the failed ones
	r           Report
	latencies   []time.Duration
}

func newTally(now time.Time) tally {
	return tally{from: now, good: now, r: Report{Status: map[int]int{}, Errors: map[string]int{}}}
}

func (t *tally) add(o outcome, now time.Time) {
	t.r.Sent++
	t.r.Connections += o.dialled
	if o.tries > 1 {
		t.r.Retried++
	}
	if o.status != 0 {
		t.r.Status[o.status]++
	}
	switch {
	case o.gone:
		t.r.Gone++
	case o.err != nil:
		t.fail(o)
	default:
		t.r.OK++
		t.latencies = append(t.latencies, now.Sub(o.due))
		t.r.Stall = max(t.r.Stall, now.Sub(t.good))
		t.good = now
	}
}

const maxReasons = 16

func (t *tally) fail(o outcome) {
	t.r.Failed++
	text := reason(o.err)
	if _, known := t.r.Errors[text]; !known && len(t.r.Errors) >= maxReasons {
		text = "something else"
	}
	t.r.Errors[text]++
	if t.first.IsZero() || o.due.Before(t.first) {
		t.first = o.due
	}
	if o.due.After(t.last) {
		t.last = o.due
	}
}

// report is up to a time, in which requests were sent.
func (t *tally) report(until time.Time) Report {
	r := t.r
	r.From, r.Took = t.from, until.Sub(t.from)
	r.Status, r.Errors = maps.Clone(r.Status), maps.Clone(r.Errors)
	r.Stall = max(r.Stall, until.Sub(t.good))
	r.FailWindow = t.last.Sub(t.first)
	sorted := slices.Sorted(slices.Values(t.latencies))
	r.P50, r.P99, r.Max = percentile(sorted, 50), percentile(sorted, 99), percentile(sorted, 100)
	return r
}

// percentile is the least reading that so many of a hundred do not exceed.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}
