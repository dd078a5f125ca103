package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
)

// vitals are what a process that leaks has more and more of.
type vitals struct {
	goroutines, files, connections float64
	rss, peak                      float64 // MiB
}

// leakSlack is how many goroutines and descriptors may come and go between two readings.
const leakSlack = 10

// look reads the daemon's vitals without load, once it has come to rest.
func (s *soak) look(ctx context.Context, v *vitals) (err error) {
	if err := rest(ctx, s.b); err != nil {
		return err
	}
	pid := s.daemon.cmd.Process.Pid
	if v.rss, v.peak, err = memory(pid); err != nil {
		return err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return fmt.Errorf("count descriptors of the daemon: %w", err)
	}
	v.files = float64(len(files))
	values, err := s.daemon.metrics(ctx)
	v.goroutines, v.connections = values["go_goroutines"], values["fairlead_front_open_connections"]
	return err
}

// metrics reads what the daemon says of itself; those with labels are left out.
func (d *daemon) metrics(ctx context.Context) (map[string]float64, error) {
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(d.data, "fairlead.sock"))
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://fairlead/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	values := map[string]float64{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(text, 64); err == nil {
			values[name] = v
		}
	}
	if resp.StatusCode != http.StatusOK || lines.Err() != nil || len(values) == 0 {
		return nil, fmt.Errorf("read metrics: %s, %d values: %w", resp.Status, len(values), lines.Err())
	}
	return values, nil
}

// quantiles are p50, p90, p99 and the most.
func (s series) quantiles() string {
	if len(s) == 0 {
		return "–"
	}
	sorted := slices.Sorted(slices.Values(s))
	at := func(p int) string { return number(sorted[max(0, (len(sorted)*p+99)/100-1)]) }
	return strings.Join([]string{at(50), at(90), at(99), at(100)}, " / ")
}

func (s *soak) tell() {
	switches, sent := 0, 0
	for _, c := range s.list {
		switches, sent = switches+len(c.longest), sent+c.total.Sent
	}
	what := fmt.Sprintf("soak, %d switches, %d requests a second: ", switches, soakRate)
	s.b.figure(figure{name: what + "failed", ours: series{float64(s.failed())}, unit: "requests", none: true})
	s.b.figure(figure{name: what + "goroutines more than before", ours: series{s.after.goroutines - s.before.goroutines}, unit: "goroutines", limit: leakSlack})
	s.b.figure(figure{name: what + "descriptors more than before", ours: series{s.after.files - s.before.files}, unit: "descriptors", limit: leakSlack})
	s.b.tables = append(s.b.tables, s.table())
	s.b.note("Soak: %d instances in waves, all at once; %d requests; a wave took %s ms. The daemon without load, before and after: "+
		"goroutines %.0f and %.0f, descriptors %.0f and %.0f, connections of clients %.0f and %.0f, memory %.1f and %.1f MiB, at the most %.1f MiB.",
		soakInstances, sent, s.took, s.before.goroutines, s.after.goroutines, s.before.files, s.after.files,
		s.before.connections, s.after.connections, s.before.rss, s.after.rss, s.after.peak)
}

func (s *soak) table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "SWITCH\tHOW MANY\tREQUESTS\tFAILED\tSENT ONCE MORE\tLONGEST WAIT OF A REQUEST, MS\tNO CONTAINER TOOK REQUESTS, MS")
	for _, order := range []string{"stop-first", "start-first"} {
		var sum soaked
		for _, c := range s.list {
			if c.order != order {
				continue
			}
			sum.longest, sum.gaps = append(sum.longest, c.longest...), append(sum.gaps, c.gaps...)
			sum.total.Sent += c.total.Sent
			sum.total.Failed += c.total.Failed
			sum.total.Retried += c.total.Retried
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\t%s\n", order, len(sum.longest), sum.total.Sent, sum.total.Failed, sum.total.Retried,
			sum.longest.quantiles(), sum.gaps.quantiles())
	}
	_ = w.Flush() // to memory
	return b.String() + "p50 / p90 / p99 / most, of all switches\n"
}

// leftOver counts what the switches left on the engine beside one container and one network for each instance.
func (s *soak) leftOver(ctx context.Context) error {
	var containers, networks series
	for _, c := range s.list {
		list, err := s.b.raw.list(ctx, c.project)
		if err != nil {
			return err
		}
		nets, err := s.b.raw.cli.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(filters.Arg("label", projectLabel+"="+c.project))})
		if err != nil {
			return err
		}
		containers, networks = append(containers, float64(len(list)-1)), append(networks, float64(len(nets)-1))
	}
	s.b.figure(figure{name: "soak: containers left over in an instance", ours: containers, unit: "containers", none: true})
	s.b.figure(figure{name: "soak: networks left over in an instance", ours: networks, unit: "networks", none: true})
	return nil
}
