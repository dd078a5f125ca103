package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"github.com/fairlead/fairlead/certs"
	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/front"
)

var (
	metricName   = regexp.MustCompile(`\b(fairlead|process|go)_[a-z0-9_]+\b`)
	describedAs  = regexp.MustCompile(`fqName: "([^"]+)"`)
	ofHistogram  = regexp.MustCompile(`_(bucket|sum|count)$`)
	unitNamed    = regexp.MustCompile(`journalctl -u fairlead|systemctl \w+ fairlead`)
	commandNamed = regexp.MustCompile(`\bfairlead ([a-z]+)( [a-z-]+)?`)
)

func monitoring(name string) string { return filepath.Join("..", "..", "examples", "monitoring", name) }

// rule is an alert as examples/monitoring has it.
type rule struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func alertRules(t *testing.T) (list []rule) {
	t.Helper()
	data, err := os.ReadFile(monitoring("fairlead.rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		list = append(list, g.Rules...)
	}
	if len(list) < 20 {
		t.Fatalf("%d rules", len(list))
	}
	return list
}

// namesUsed are the metrics that the rules and the dashboard ask for.
func namesUsed(t *testing.T) (names []string) {
	t.Helper()
	var queries []string
	for _, r := range alertRules(t) {
		queries = append(queries, r.Expr)
	}
	data, err := os.ReadFile(monitoring("dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal(data, &board); err != nil || len(board.Panels) < 20 {
		t.Fatalf("%d panels, %v", len(board.Panels), err)
	}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			queries = append(queries, target.Expr)
		}
	}
	for _, q := range queries {
		for _, name := range metricName.FindAllString(q, -1) {
			names = append(names, ofHistogram.ReplaceAllString(name, ""))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// TestMonitoringAsksForWhatThereIs holds the rules and the dashboard against
// what the collectors say that they tell.
func TestMonitoringAsksForWhatThereIs(t *testing.T) {
	all := append(server.NewAPI(server.Config{}).Collectors(), (*certs.Manager)(nil), (*front.Front)(nil), newHostFigures(nil, nil))
	known := map[string]bool{}
	for _, c := range all {
		ch := make(chan *prometheus.Desc, 1000)
		c.Describe(ch)
		close(ch)
		for d := range ch {
			if name := describedAs.FindStringSubmatch(d.String()); name != nil {
				known[name[1]] = true
			}
		}
	}
	for _, name := range namesUsed(t) {
		if !known[name] {
			t.Errorf("nobody tells %s", name)
		}
	}
}

// TestAlertsSayWhatToDo holds what alerts tell people to run against the program.
func TestAlertsSayWhatToDo(t *testing.T) {
	c := &cli{getenv: func(string) string { return "" }}
	for _, r := range alertRules(t) {
		for _, key := range []string{"summary", "description", "action"} {
			if r.Annotations[key] == "" {
				t.Errorf("%s has no %s", r.Alert, key)
			}
		}
		if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
			t.Errorf("%s has severity %q", r.Alert, r.Labels["severity"])
		}
		for _, m := range commandNamed.FindAllStringSubmatch(unitNamed.ReplaceAllString(r.Annotations["action"], ""), -1) {
			cmd, rest, err := c.root().Find(strings.Fields(m[1] + m[2]))
			if err != nil || cmd.HasSubCommands() || !cmd.HasParent() {
				t.Errorf("%s tells people to run %q: %v, %v", r.Alert, m[0], rest, err)
			}
		}
	}
}

// elsewhere are told only of what this test does not have: drift that stays, a
// channel for notices, a git host.
var elsewhere = []string{"fairlead_drift_since_timestamp_seconds", "fairlead_notice_channel_failing", "fairlead_commit_status_failing"}

// TestMonitoringFindsEverythingInAScrape runs a daemon through what an alert is
// about and finds every metric in what it tells then, but those of releases,
// which need a registry, and a few others.
func TestMonitoringFindsEverythingInAScrape(t *testing.T) {
	c := newCorporation(t)
	exports := filepath.Join(c.dir, "exports")
	c.write("exports/orders.csv", "id,total\n1,10.50\n")
	c.env = append(c.env, "FAIRLEAD_CONNECTORS_DIRS="+exports, "FAIRLEAD_LOG_FORMAT=json")
	files := c.instance(c.corporate("    fallback: self-signed\n    deliver: [{dir: " + filepath.Join(c.dir, "out") + "}]\n"))
	files["connectors/shop.yaml"] = filesConnector(exports, ordersTable)
	c.begin(files)
	d := c.start()
	c.attachment("shop", live)
	if got := c.csv("SELECT count(*) AS n FROM orders"); got != "n\n1\n" {
		t.Errorf("query: %q", got)
	}
	c.commit("Greet", map[string]string{"compose.yaml": strings.Replace(files["compose.yaml"], "app:1", "app:2", 1)})
	c.must(0, "apply")
	var missing []string
	defer func() {
		if len(missing) > 0 {
			t.Errorf("a scrape does not have %v", missing)
		}
	}()
	waitFor(t, "every metric in a scrape", func() bool {
		body := c.scrape("/metrics")
		missing = slices.DeleteFunc(namesUsed(t), func(name string) bool {
			return strings.Contains(body, "# TYPE "+name+" ") || strings.HasPrefix(name, "fairlead_release_") || slices.Contains(elsewhere, name)
		})
		return len(missing) == 0
	})
	if code := d.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	for line := range strings.Lines(d.log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("the log has a line that is no JSON: %s", line)
		}
	}
}

// scrape reads a path over the socket.
func (w *world) scrape(path string) string {
	w.t.Helper()
	client := &http.Client{Timeout: limit, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(w.data, "fairlead.sock"))
	}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://fairlead" + path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatalf("%s: %v\n%s", resp.Status, err, body)
	}
	return string(body)
}
