package server

import (
	"github.com/prometheus/client_golang/prometheus"
)

// daemonFigures are those of what the daemon does beside instances.
type daemonFigures struct {
	api   *API
	names *family

	ready, canaryFailures, canaryLast, jobs, waiting, lost, noticed, noticesFail, statusFails *prometheus.Desc
}

func newDaemonFigures(a *API) *daemonFigures {
	f := &family{}
	return &daemonFigures{api: a, names: f,
		ready:          f.of("ready", "1 while the daemon can write, and query where there is data; tried every half minute."),
		canaryFailures: f.of("canary_failures", "Tries in a row that failed."),
		canaryLast:     f.of("canary_timestamp_seconds", "When it was tried last."),
		jobs:           f.of("jobs", "Long work that is remembered, by its state.", "state"),
		waiting:        f.of("notices_waiting", "Notices that were not delivered yet.", "channel", "name"),
		lost:           f.of("notices_lost_total", "Notices that were given up.", "channel", "name"),
		noticed:        f.of("notice_last_success_timestamp_seconds", "When a notice was delivered last.", "channel", "name"),
		noticesFail:    f.of("notice_channel_failing", "1 while notices do not reach a channel.", "channel", "name"),
		statusFails:    f.of("commit_status_failing", "1 while the status of commits cannot be set on the git host."),
	}
}

// Describe implements prometheus.Collector.
func (f *daemonFigures) Describe(ch chan<- *prometheus.Desc) {
	for _, one := range f.names.all {
		ch <- one
	}
}

// Collect implements prometheus.Collector.
func (f *daemonFigures) Collect(ch chan<- prometheus.Metric) {
	out := figureSink{ch}
	if r := f.api.canary.now(); !r.Last.IsZero() {
		out.yes(f.ready, r.Ready)
		out.gauge(f.canaryFailures, float64(r.Failures))
		out.time(f.canaryLast, r.Last)
	}
	states := map[JobState]int{JobRunning: 0, JobFailed: 0}
	if list, err := f.api.jobs.List(); err == nil { // the store says so itself otherwise
		for _, j := range list {
			states[j.State]++
		}
	}
	for state, n := range states {
		out.gauge(f.jobs, float64(n), string(state))
	}
	if f.api.cfg.CommitStatus != nil {
		out.yes(f.statusFails, f.api.cfg.CommitStatus() != nil)
	}
	if f.api.cfg.Notices == nil {
		return
	}
	for _, c := range f.api.cfg.Notices.Channels() {
		out.gauge(f.waiting, float64(c.Waiting), c.ID, c.Name)
		out.counter(f.lost, c.Lost, c.ID, c.Name)
		out.time(f.noticed, c.LastOK, c.ID, c.Name)
		out.yes(f.noticesFail, !c.Failing.IsZero(), c.ID, c.Name)
	}
}
