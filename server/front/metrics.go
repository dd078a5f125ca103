package front

import (
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var _ prometheus.Collector = (*Front)(nil)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("fairlead_front_"+name, help, labels, nil)
}

// metricDescs are what Collect sends. Making them anew costs little beside the
// scrape, and leaves no package state.
type metricDescs struct {
	requests, duration, inflight, heldNow, held, refused, hold, gaps, gapSeconds *prometheus.Desc
	cut, misdirected, handshakes, open, overLimit, endpoints                     *prometheus.Desc
}

func newDescs() metricDescs {
	return metricDescs{
		requests:    describe("requests_total", "Requests by the first digit of the status; 4xx includes those whose client went away.", "instance", "host", "code"),
		duration:    describe("request_duration_seconds", "Time from a request's arrival to the end of its answer.", "instance", "host"),
		inflight:    describe("requests_in_flight", "Requests that have not ended, held ones included.", "instance", "host"),
		heldNow:     describe("requests_held", "Requests that wait for a container now.", "instance", "host"),
		held:        describe("requests_held_total", "Requests that had to wait for a container.", "instance", "host"),
		refused:     describe("requests_refused_total", "Requests answered 503 since they could not be held, or not any longer.", "instance", "host"),
		hold:        describe("hold_duration_seconds", "How long requests waited for a container.", "instance", "host"),
		endpoints:   describe("endpoints", "Containers that take the requests of a host.", "instance", "host"),
		gaps:        describe("gaps_total", "Times that a service had no container to lead requests to.", "instance", "service"),
		gapSeconds:  describe("gap_seconds_total", "How long a service had no container to lead requests to, one that goes on included.", "instance", "service"),
		cut:         describe("requests_cut_total", "Requests that a drain did not wait for."),
		misdirected: describe("requests_misdirected_total", "Requests over TLS for a host that is not served, or not by their connection."),
		handshakes:  describe("tls_handshake_errors_total", "TLS handshakes that failed."),
		open:        describe("open_connections", "Connections of clients."),
		overLimit:   describe("connections_refused_total", "Connections closed as soon as they came, since too many were open in all, or of one client.", "limit"),
	}
}

// Describe implements prometheus.Collector.
func (f *Front) Describe(ch chan<- *prometheus.Desc) {
	d := newDescs()
	for _, desc := range []*prometheus.Desc{d.requests, d.duration, d.inflight, d.heldNow, d.held, d.refused, d.hold, d.endpoints, d.gaps,
		d.gapSeconds, d.cut, d.misdirected, d.handshakes, d.open, d.overLimit} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (f *Front) Collect(ch chan<- prometheus.Metric) {
	d, send := newDescs(), sender(ch)
	send.counter(d.cut, f.total.cut.Load())
	send.counter(d.misdirected, f.total.misdirected.Load())
	send.counter(d.handshakes, f.total.handshakes.Load())
	send.gauge(d.open, float64(f.total.open.Load()))
	send.counter(d.overLimit, f.total.overAll.Load(), "all")
	send.counter(d.overLimit, f.total.overClient.Load(), "client")
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for _, inst := range f.instances {
		for _, svc := range inst.services {
			lost := svc.lost
			if svc.open != nil {
				lost += now.Sub(svc.open.From)
			}
			send.counter(d.gaps, svc.gaps, inst.name, svc.name)
			ch <- prometheus.MustNewConstMetric(d.gapSeconds, prometheus.CounterValue, lost.Seconds(), inst.name, svc.name)
		}
		for host, rt := range inst.routes {
			send.gauge(d.heldNow, float64(rt.queue.Len()), inst.name, host)
			rt.stats.collect(send, &d, inst.name, host)
			send.gauge(d.endpoints, float64(rt.state.Load().up()), inst.name, host)
		}
	}
}

// up is how many endpoints take requests.
func (s *state) up() (n int) {
	for _, ep := range s.endpoints {
		if !ep.down.Load() {
			n++
		}
	}
	return n
}

func (s *routeStats) collect(send sender, d *metricDescs, labels ...string) {
	for class := range s.classes {
		code := string(rune('0'+class)) + "xx"
		if class == 0 {
			code = "aborted"
		}
		send.counter(d.requests, s.classes[class].Load(), append(slices.Clone(labels), code)...)
	}
	send.histogram(d.duration, &s.took, labels...)
	send.gauge(d.inflight, float64(s.inflight.Load()), labels...)
	send.counter(d.held, s.held.Load(), labels...)
	send.counter(d.refused, s.refused.Load(), labels...)
	send.histogram(d.hold, &s.holds, labels...)
}

// sender makes metrics. The descriptions and labels above fit each other, which
// a test gathers, so making one cannot fail.
type sender chan<- prometheus.Metric

func (s sender) counter(d *prometheus.Desc, n uint64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func (s sender) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sender) histogram(d *prometheus.Desc, h *histogram, labels ...string) {
	buckets, below := make(map[float64]uint64, len(bounds)), uint64(0)
	for i, bound := range bounds {
		below += h.buckets[i].Load()
		buckets[bound.Seconds()] = below
	}
	// The count was raised after its bucket: read later, it is not below them.
	s <- prometheus.MustNewConstHistogram(d, max(h.count.Load(), below), time.Duration(h.sum.Load()).Seconds(), buckets, labels...)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
