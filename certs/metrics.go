package certs

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/reconciler"
)

var _ prometheus.Collector = (*Manager)(nil)

// counts are what is counted between two scrapes.
type counts struct{ *tally }

type tally struct {
	mu      sync.Mutex
	byCert  map[ident]*tallied
	fetches map[fetchLabels]uint64
	skew    time.Duration
	asked   bool
}

type tallied struct{ published, refused, drift uint64 }

type fetchLabels struct{ instance, scheme, result string }

func newCounts() counts {
	return counts{&tally{byCert: map[ident]*tallied{}, fetches: map[fetchLabels]uint64{}}}
}

func (c counts) of(id ident, count func(*tallied)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.byCert[id]
	if t == nil {
		t = &tallied{}
		c.byCert[id] = t
	}
	count(t)
}

func (c counts) published(id ident)    { c.of(id, func(t *tallied) { t.published++ }) }
func (c counts) refused(id ident)      { c.of(id, func(t *tallied) { t.refused++ }) }
func (c counts) drift(id ident, n int) { c.of(id, func(t *tallied) { t.drift += uint64(n) }) }

func (c counts) fetched(id ident, scheme, result string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fetches[fetchLabels{id.instance, scheme, result}]++
}

func (c counts) skewed(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skew, c.asked = d, true
}

// metricDescs are what Collect sends.
type metricDescs struct {
	notBefore, notAfter, renewAt, success, phase, generation, match *prometheus.Desc
	published, refused, drift, fetches, orders, skew, suspect       *prometheus.Desc
}

func newDescs() metricDescs {
	of := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("fairlead_cert_"+name, help, labels, nil)
	}
	return metricDescs{
		notBefore:  of("not_before_timestamp_seconds", "From when on what is served is valid.", "instance", "certificate"),
		notAfter:   of("not_after_timestamp_seconds", "Until when what is served is valid.", "instance", "certificate"),
		renewAt:    of("renew_at_timestamp_seconds", "When a successor is wanted.", "instance", "certificate"),
		success:    of("last_success_timestamp_seconds", "When the source answered last.", "instance", "certificate"),
		phase:      of("phase", "1, with where a certificate stands.", "instance", "certificate", "phase", "reason"),
		generation: of("generation", "The generation that is live.", "instance", "certificate"),
		match:      of("observed_match", "1 while a directory or server has, or serves, what is live.", "instance", "certificate", "target"),
		published:  of("publish_total", "Pairs published since the start of the daemon.", "instance", "certificate"),
		refused:    of("refused_total", "Candidates refused since the start of the daemon, each counted once.", "instance", "certificate"),
		drift:      of("drift_total", "Things put back since the start of the daemon that somebody had changed.", "instance", "certificate"),
		fetches:    of("fetch_total", "Questions to sources since the start of the daemon.", "instance", "scheme", "result"),
		orders:     of("acme_orders_week", "Orders by ACME that were begun within a week.", "instance", "certificate"),
		skew:       of("clock_skew_seconds", "How far this host's clock was ahead of the source's that answered last."),
		suspect:    of("clock_suspect", "1 while the clock of this host cannot be right."),
	}
}

// Describe implements prometheus.Collector.
func (m *Manager) Describe(ch chan<- *prometheus.Desc) {
	d := newDescs()
	for _, one := range []*prometheus.Desc{d.notBefore, d.notAfter, d.renewAt, d.success, d.phase, d.generation, d.match, d.published,
		d.refused, d.drift, d.fetches, d.orders, d.skew, d.suspect} {
		ch <- one
	}
}

// Collect implements prometheus.Collector.
func (m *Manager) Collect(ch chan<- prometheus.Metric) {
	d, out := newDescs(), sink(ch)
	index := *m.served.Load()
	for id, c := range index {
		out.status(d, id, c.told())
	}
	m.counts.collect(d, out, index)
	for _, s := range m.acme.Status() {
		for id := range index {
			if !id.host && id.request() == s.Name {
				out.gauge(d.orders, float64(s.Orders), id.instance, id.name)
			}
		}
	}
	doubt := 0.0
	if m.clock.doubt() != "" {
		doubt = 1
	}
	out.gauge(d.suspect, doubt)
}

func (c counts) collect(d metricDescs, out sink, index map[ident]*certificate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range index {
		t := c.byCert[id]
		if t == nil {
			t = &tallied{}
		}
		out.counter(d.published, t.published, id.instance, id.label())
		out.counter(d.refused, t.refused, id.instance, id.label())
		out.counter(d.drift, t.drift, id.instance, id.label())
	}
	for l, n := range c.fetches {
		out.counter(d.fetches, n, l.instance, l.scheme, l.result)
	}
	if c.asked {
		out.gauge(d.skew, c.skew.Seconds())
	}
}

// label tells a host that names none from a certificate of the same name.
func (i ident) label() string { return i.folder() }

// sink makes metrics. The descriptions above and the labels fit each other,
// which a test gathers, so that making one cannot fail.
type sink chan<- prometheus.Metric

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sink) counter(d *prometheus.Desc, n uint64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func (s sink) time(d *prometheus.Desc, at time.Time, labels ...string) {
	if !at.IsZero() {
		s.gauge(d, float64(at.UnixMilli())/1000, labels...)
	}
}

func (s sink) status(d metricDescs, id ident, st reconciler.CertificateStatus) {
	name := id.label()
	s.time(d.notBefore, st.NotBefore, id.instance, name)
	s.time(d.notAfter, st.NotAfter, id.instance, name)
	s.time(d.renewAt, st.RenewAt, id.instance, name)
	s.time(d.success, st.LastAsked, id.instance, name)
	s.gauge(d.phase, 1, id.instance, name, string(st.Phase), st.Reason)
	s.gauge(d.generation, float64(st.Generation), id.instance, name)
	seen := map[string]bool{}
	for _, t := range st.Targets {
		if seen[t.Name] { // two with one name would spoil the whole scrape
			continue
		}
		seen[t.Name] = true
		ok := 0.0
		if t.OK {
			ok = 1
		}
		s.gauge(d.match, ok, id.instance, name, t.Name)
	}
}
