package server

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/fairlead/fairlead/reconciler"
)

// metricsHandler serves the figures of the daemon, of every instance and of
// more in the text form of Prometheus. Nothing in them is secret, and no label
// has more values than there are instances, services, connectors or operations.
func (a *API) metricsHandler() (http.Handler, error) {
	registry := prometheus.NewRegistry()
	for _, c := range a.Collectors() {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 2, Timeout: lineTimeout,
		ErrorHandling: promhttp.ContinueOnError}), nil
}

// Collectors are what tells the figures.
func (a *API) Collectors() []prometheus.Collector {
	all := append([]prometheus.Collector{newFigures(a.cfg), newDaemonFigures(a), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})}, a.traffic.collectors()...)
	return append(all, a.cfg.Metrics...)
}

// figures reads what there is to say whenever it is asked, so that no figure is
// ever older than the status.
type figures struct {
	cfg   Config
	names *family
	build, sourceRead, sourceFailing, revision,
	instances *prometheus.Desc
	instance instanceDescs
	release  releaseDescs
	history  historyDescs
	data     dataDescs

	mu      sync.Mutex
	tallies map[string]*tally
}

// family collects descriptions.
type family struct{ all []*prometheus.Desc }

func (f *family) of(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc("fairlead_"+name, help, labels, nil)
	f.all = append(f.all, d)
	return d
}

func newFigures(cfg Config) *figures {
	f := &family{}
	return &figures{cfg: cfg, names: f, tallies: map[string]*tally{},
		build:         f.of("build_info", "1, with what runs.", "version", "go"),
		sourceRead:    f.of("source_last_success_timestamp_seconds", "When the repository was read last."),
		sourceFailing: f.of("source_failing", "1 while the repository cannot be read."),
		revision:      f.of("source_problem", "1 while the newest revision, or a part of it, cannot be used for the repository as a whole."),
		instances:     f.of("instances", "Instances that are known."),
		instance:      newInstanceDescs(f), release: newReleaseDescs(f), history: newHistoryDescs(f), data: newDataDescs(f),
	}
}

// Describe implements prometheus.Collector.
func (f *figures) Describe(ch chan<- *prometheus.Desc) {
	for _, one := range f.names.all {
		ch <- one
	}
}

// Collect implements prometheus.Collector.
func (f *figures) Collect(ch chan<- prometheus.Metric) {
	out := figureSink{ch}
	out.gauge(f.build, 1, f.cfg.Version.Version, f.cfg.Version.Go)
	source := f.cfg.Fleet.Source()
	out.time(f.sourceRead, source.LastSuccess)
	out.yes(f.sourceFailing, source.Err != nil)
	out.yes(f.revision, f.cfg.Fleet.Problems() != nil)
	all := f.cfg.Fleet.Instances()
	out.gauge(f.instances, float64(len(all)))
	for _, r := range all {
		s := r.Status()
		f.instance.send(out, s)
		f.instance.sendFigures(out, s.Name, r.Figures())
		f.release.send(out, s)
		f.past(out, r)
		f.data.send(out, s)
		f.runs(out, s)
	}
}

// tallyOf is what was counted of an instance so far. f.mu is held.
func (f *figures) tallyOf(instance string) *tally {
	t := f.tallies[instance]
	if t == nil {
		t = newTally()
		f.tallies[instance] = t
	}
	return t
}

// figureSink sends figures.
type figureSink struct{ ch chan<- prometheus.Metric }

func (s figureSink) send(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
	m, err := prometheus.NewConstMetric(d, kind, v, labels...)
	s.put(d, m, err)
}

func (s figureSink) put(d *prometheus.Desc, m prometheus.Metric, err error) {
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err)
	}
	s.ch <- m
}

func (s figureSink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.send(d, prometheus.GaugeValue, v, labels...)
}

func (s figureSink) counter(d *prometheus.Desc, n int, labels ...string) {
	s.send(d, prometheus.CounterValue, float64(n), labels...)
}

func (s figureSink) histogram(d *prometheus.Desc, h reconciler.Durations, labels ...string) {
	buckets, below := make(map[float64]uint64, len(h.Bounds)), 0
	for i, bound := range h.Bounds {
		below += h.Counts[i]
		buckets[bound.Seconds()] = uint64(below)
	}
	m, err := prometheus.NewConstHistogram(d, uint64(h.Count), h.Sum.Seconds(), buckets, labels...)
	s.put(d, m, err)
}

func (s figureSink) yes(d *prometheus.Desc, is bool, labels ...string) {
	v := 0.0
	if is {
		v = 1
	}
	s.gauge(d, v, labels...)
}

// time leaves out what never was.
func (s figureSink) time(d *prometheus.Desc, at time.Time, labels ...string) {
	if !at.IsZero() {
		s.gauge(d, float64(at.UnixMilli())/1000, labels...)
	}
}
