package main

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/connectors/analytics"
	"github.com/fairlead/fairlead/server"
)

func setRequestLog(s *settings, v string) error {
	switch l := server.AccessLog(v); l {
	case server.LogChanges, server.LogAll, server.LogNone:
		s.Server.AccessLog = l
		return nil
	}
	return errors.New("is neither changes nor all nor off")
}

// hostFigures are the figures of what the daemon keeps on this host.
type hostFigures struct {
	data    *dataDir
	workers func() []analytics.Figures // nil: there are none

	store, free, size                                  *prometheus.Desc
	running, busy, waiting, started, failing, resident *prometheus.Desc
}

func newHostFigures(d *dataDir, sources *dataParts) *hostFigures {
	of := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("fairlead_"+name, help, labels, nil)
	}
	f := &hostFigures{data: d,
		store:    of("store_bytes", "Size of the file with history, generations, users and notes."),
		free:     of("data_free_bytes", "Free space where the data directory is."),
		size:     of("data_size_bytes", "Size of the file system where the data directory is."),
		running:  of("query_workers", "Query workers that run.", "instance"),
		busy:     of("query_workers_busy", "Query workers that have a query.", "instance"),
		waiting:  of("query_waiting", "Queries that wait for a worker.", "instance"),
		started:  of("query_worker_starts_total", "Query workers started since the start of the daemon.", "instance"),
		failing:  of("query_worker_start_failures", "Starts of query workers in a row that failed.", "instance"),
		resident: of("query_worker_resident_bytes", "Memory that the query workers have resident.", "instance"),
	}
	if sources != nil {
		f.workers = sources.analytics.Figures
	}
	return f
}

// Describe implements prometheus.Collector.
func (f *hostFigures) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{f.store, f.free, f.size, f.running, f.busy, f.waiting, f.started, f.failing, f.resident} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (f *hostFigures) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	// It ends with an error when the daemon has closed the file.
	_ = f.data.db.View(func(tx *bolt.Tx) error { gauge(f.store, float64(tx.Size())); return nil })
	var fs unix.Statfs_t
	if err := unix.Statfs(f.data.path, &fs); err == nil {
		gauge(f.free, float64(fs.Bavail)*float64(fs.Bsize))
		gauge(f.size, float64(fs.Blocks)*float64(fs.Bsize))
	}
	if f.workers == nil {
		return
	}
	for _, w := range f.workers() {
		gauge(f.running, float64(w.Workers), w.Instance)
		gauge(f.busy, float64(w.Busy), w.Instance)
		gauge(f.waiting, float64(w.Waiting), w.Instance)
		gauge(f.failing, float64(w.Failing), w.Instance)
		gauge(f.resident, float64(w.Memory), w.Instance)
		ch <- prometheus.MustNewConstMetric(f.started, prometheus.CounterValue, float64(w.Started), w.Instance)
	}
}
