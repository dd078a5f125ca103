package front

import (
	"slices"
	"sync/atomic"
	"time"
)

// histogram counts durations without a lock.
type histogram struct {
	buckets [len(bounds)]atomic.Uint64 // up to and including the bound, and not the one before
	count   atomic.Uint64
	sum     atomic.Int64 // nanoseconds
}

// bounds are the upper ends of the buckets.
var bounds = [...]time.Duration{
	5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
}

func (h *histogram) observe(d time.Duration) {
	if i, _ := slices.BinarySearch(bounds[:], d); i < len(bounds) {
		h.buckets[i].Add(1)
	}
	h.count.Add(1)
	h.sum.Add(int64(d))
}

// routeStats are the figures of one host.
type routeStats struct {
	classes  [6]atomic.Uint64 // by the first digit of the status; 0: aborted before there was one
	took     histogram
	inflight atomic.Int64
	held     atomic.Uint64
	refused  atomic.Uint64
	holds    histogram
}

func (s *routeStats) count(status int, took time.Duration) {
	class := status / 100
	if class < 0 || class >= len(s.classes) {
		class = 0
	}
	s.classes[class].Add(1)
	s.took.observe(took)
}

// totals are the figures of the front as a whole.
type totals struct {
	held        atomic.Uint64
	cut         atomic.Uint64
	misdirected atomic.Uint64
	handshakes  atomic.Uint64 // that failed
	open        atomic.Int64  // connections
	overAll     atomic.Uint64 // connections refused, since too many were open
	overClient  atomic.Uint64 // connections refused, since their client had too many
}
