package server

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/fairlead/fairlead/reconciler"
)

// metricsHandler serves the figures of the daemon, of every instance and of
// more in the text form of Prometheus.
func (a *API) metricsHandler() (http.Handler, error) {
	registry := prometheus.NewRegistry()
	all := append([]prometheus.Collector{newFigures(a.cfg), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})}, a.cfg.Metrics...)
	for _, c := range all {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 2, Timeout: lineTimeout,
		ErrorHandling: promhttp.ContinueOnError}), nil
}

// figures reads what there is to say whenever it is asked, so that no figure is
// ever older than the status.
type figures struct {
	cfg  Config
	desc figureDescs

	mu      sync.Mutex
	history map[string]*tally
}

// tally is what was counted of an instance's history so far.
type tally struct {
	seq     int
	applies map[[2]string]int        // by kind and outcome
	gaps    map[string]time.Duration // the newest of each service
}

type figureDescs struct {
	build, info, generation, suspended, quarantined, passed, applied, applies     *prometheus.Desc
	sourceRead, sourceFailing, asked, failing, deferred, current, gap, deprecated *prometheus.Desc
}

func newFigures(cfg Config) *figures {
	of := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("fairlead_"+name, help, labels, nil)
	}
	return &figures{cfg: cfg, history: map[string]*tally{}, desc: figureDescs{
		build:         of("build_info", "1, with what runs.", "version", "go"),
		info:          of("instance_info", "1, with how an instance is.", "instance", "sync", "health", "phase"),
		generation:    of("instance_generation", "The applied generation.", "instance"),
		suspended:     of("instance_suspended", "1 while nothing is done for an instance.", "instance"),
		quarantined:   of("instance_quarantined", "Failed generations that are not tried again.", "instance"),
		passed:        of("instance_last_pass_timestamp_seconds", "When an instance was looked at last.", "instance"),
		applied:       of("instance_last_applied_timestamp_seconds", "When the applied generation was applied.", "instance"),
		applies:       of("applies_total", "Applies that ended since the start of the daemon.", "instance", "kind", "outcome"),
		sourceRead:    of("source_last_success_timestamp_seconds", "When the repository was read last."),
		sourceFailing: of("source_failing", "1 while the repository cannot be read."),
		asked:         of("release_last_success_timestamp_seconds", "When the registry answered last.", "instance"),
		failing:       of("release_failing", "1 while the registry cannot be asked.", "instance"),
		deferred:      of("release_deferred", "1 while a newer release waits, with why.", "instance", "reason"),
		current:       of("release_current", "1 while what runs is what the reference means.", "instance"),
		deprecated:    of("release_deprecated", "1 while what runs was taken back by its makers.", "instance"),
		gap:           of("last_interruption_seconds", "How long requests had nowhere to go in the newest replacement.", "instance", "service"),
	}}
}

// Describe implements prometheus.Collector.
func (f *figures) Describe(ch chan<- *prometheus.Desc) {
	d := f.desc
	for _, one := range []*prometheus.Desc{d.build, d.info, d.generation, d.suspended, d.quarantined, d.passed, d.applied, d.applies,
		d.sourceRead, d.sourceFailing, d.asked, d.failing, d.deferred, d.current, d.deprecated, d.gap} {
		ch <- one
	}
}

// Collect implements prometheus.Collector.
func (f *figures) Collect(ch chan<- prometheus.Metric) {
	out := figureSink{ch}
	out.gauge(f.desc.build, 1, f.cfg.Version.Version, f.cfg.Version.Go)
	source := f.cfg.Fleet.Source()
	out.time(f.desc.sourceRead, source.LastSuccess)
	out.yes(f.desc.sourceFailing, source.Err != nil)
	for _, r := range f.cfg.Fleet.Instances() {
		s := r.Status()
		f.instance(out, s)
		f.release(out, s)
		f.past(out, r)
	}
}

func (f *figures) instance(out figureSink, s reconciler.Status) {
	out.gauge(f.desc.info, 1, s.Name, string(s.Sync), string(s.Health), string(s.Phase))
	out.gauge(f.desc.generation, float64(s.Generation), s.Name)
	out.yes(f.desc.suspended, s.Phase == reconciler.PhaseSuspended, s.Name)
	out.gauge(f.desc.quarantined, float64(len(s.Quarantined)), s.Name)
	out.time(f.desc.passed, s.LastPass, s.Name)
	out.time(f.desc.applied, s.AppliedAt, s.Name)
}

func (f *figures) release(out figureSink, s reconciler.Status) {
	r := s.Release
	if r == nil {
		return
	}
	out.time(f.desc.asked, r.Asked, s.Name)
	out.yes(f.desc.failing, r.Error != "", s.Name)
	out.yes(f.desc.current, r.Running != "" && digestOf(r.Running) == digestOf(r.Newest), s.Name)
	out.yes(f.desc.deprecated, r.Deprecated != "", s.Name)
	if r.Deferred != nil {
		out.gauge(f.desc.deferred, 1, s.Name, r.Deferred.Reason)
	}
}

// digestOf takes the repository off: a mirror has another name.
func digestOf(ref string) string { return ref[strings.LastIndexByte(ref, '@')+1:] }

// past counts what came to the history since it was looked at last.
func (f *figures) past(out figureSink, r *reconciler.Instance) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.history[r.Name()]
	if t == nil {
		t = &tally{applies: map[[2]string]int{}, gaps: map[string]time.Duration{}}
		f.history[r.Name()] = t
	}
	for _, rec := range t.since(r) {
		if rec.Started.Add(rec.Duration).After(f.cfg.Version.Started) {
			t.applies[[2]string{rec.Kind, string(rec.Outcome)}]++
		}
		for _, g := range rec.Gaps {
			t.gaps[g.Service] = g.For
		}
	}
	for key, n := range t.applies {
		out.send(f.desc.applies, prometheus.CounterValue, float64(n), r.Name(), key[0], key[1])
	}
	for service, d := range t.gaps {
		out.gauge(f.desc.gap, d.Seconds(), r.Name(), service)
	}
}

// since returns the records that are not counted yet, oldest first.
func (t *tally) since(r *reconciler.Instance) (list []reconciler.Record) {
	limit := 8
	for {
		all, err := r.History(limit)
		if err != nil {
			return nil // the store says so itself; the figures stay what they were
		}
		if len(all) < limit || all[len(all)-1].Seq <= t.seq || limit >= maxLimit {
			for i := len(all) - 1; i >= 0; i-- {
				if all[i].Seq > t.seq {
					list, t.seq = append(list, all[i]), all[i].Seq
				}
			}
			return list
		}
		limit = min(8*limit, maxLimit)
	}
}

// figureSink sends figures.
type figureSink struct{ ch chan<- prometheus.Metric }

func (s figureSink) send(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
	m, err := prometheus.NewConstMetric(d, kind, v, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err)
	}
	s.ch <- m
}

func (s figureSink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.send(d, prometheus.GaugeValue, v, labels...)
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
