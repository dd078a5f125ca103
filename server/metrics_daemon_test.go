package server

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type twoChannels struct{ Notices }

func (twoChannels) Channels() []NoticeChannel {
	return []NoticeChannel{{ID: "a1", Name: "slack", Waiting: 2, Lost: 3, Failing: time.Now()}, {ID: "b2", Name: "slack", LastOK: time.Now()}}
}

// TestDaemonFigures tells of readiness, jobs and channels, two of one name
// among them.
func TestDaemonFigures(t *testing.T) {
	t.Parallel()
	a := NewAPI(Config{Notices: twoChannels{}, CommitStatus: func() error { return errors.New("403") }})
	a.canary.query = func(context.Context) (bool, error) { return false, nil }
	a.canary.attempt(t.Context())
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(newDaemonFigures(a)); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{"fairlead_ready": 1, "fairlead_canary_failures": 0, "fairlead_jobs running": 0, "fairlead_commit_status_failing": 1,
		"fairlead_notices_waiting a1 slack": 2, "fairlead_notices_lost_total a1 slack": 3, "fairlead_notice_channel_failing a1 slack": 1, "fairlead_notice_channel_failing b2 slack": 0} {
		if v, told := got[name]; !told || v != want {
			t.Errorf("%s is %v, %v, want %v", name, v, told, want)
		}
	}
}
