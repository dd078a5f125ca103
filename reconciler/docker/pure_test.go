package docker

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

func TestParseStatus(t *testing.T) {
	for _, c := range []struct {
		text   string
		exit   int
		health reconciler.Health
	}{
		{"Up 5 minutes (healthy)", 0, reconciler.HealthHealthy},
		{"Up 5 minutes (unhealthy)", 0, reconciler.HealthUnhealthy},
		{"Up Less than a second (health: starting)", 0, reconciler.HealthStarting},
		{"Up 2 hours", 0, ""},
		{"Up 2 hours (Paused)", 0, ""},
		{"Exited (137) 3 seconds ago", 137, ""},
		{"Exited (0) 3 weeks ago", 0, ""},
		{"Restarting (3) 5 seconds ago", 3, ""},
		{"Created", 0, ""},
		{"Dead", 0, ""},
		{"Removal In Progress", 0, ""},
		{"Exited (x) ago", 0, ""},
		{"Exited (1", 0, ""},
		{"Up (healthy) never", 0, ""},
		{"", 0, ""},
	} {
		if exit, health := parseStatus(c.text); exit != c.exit || health != c.health {
			t.Errorf("%q: %d %q, want %d %q", c.text, exit, health, c.exit, c.health)
		}
	}
}

func FuzzParseStatus(f *testing.F) {
	f.Add("Up 5 minutes (healthy)")
	f.Add("Exited (137) 3 seconds ago")
	f.Fuzz(func(t *testing.T, s string) {
		_, health := parseStatus(s)
		if health != "" && !strings.HasSuffix(s, string(health)+")") {
			t.Fatalf("%q read as %s", s, health)
		}
	})
}

func TestReadProgressFindsTheErrorInTheStream(t *testing.T) {
	for _, c := range []struct {
		name, stream, err string
		total             int64
	}{
		{"good", `{"status":"Pulling from app","id":"1"}
{"status":"Downloading","progressDetail":{"current":5,"total":10},"id":"a"}
{"status":"Download complete","progressDetail":{},"id":"a"}
{"status":"Status: Downloaded newer image for app:1"}`, "", 10},
		{"error at the end", `{"status":"Downloading","progressDetail":{"current":5,"total":10},"id":"a"}
{"errorDetail":{"message":"unexpected EOF"},"error":"unexpected EOF"}`, "unexpected EOF", 10},
		{"cut off", `{"status":"Downloading","progr`, "unexpected EOF", 0},
		{"not JSON", `<html>`, "invalid character", 0},
	} {
		var last int64
		err := readProgress(strings.NewReader(c.stream), func(_, total int64) { last = total })
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || last != c.total {
			t.Errorf("%s: %v, total %d", c.name, err, last)
		}
	}
}

func FuzzReadProgress(f *testing.F) {
	f.Add(`{"status":"Downloading","progressDetail":{"current":5,"total":10},"id":"a"}`)
	f.Fuzz(func(t *testing.T, s string) {
		_ = readProgress(strings.NewReader(s), func(current, total int64) {})
	})
}

func TestPullErrorSaysWhatToDo(t *testing.T) {
	e, err := New(Options{Owner: "/x"})
	if err != nil {
		t.Fatal(err)
	}
	const ref = "registry.example/app:1"
	for _, c := range []struct {
		cause    string
		loggedIn bool
		want     string
		retry    bool
	}{
		{"toomanyrequests: You have reached your pull rate limit", false, "limits how often", true},
		{"unauthorized: authentication required", false, "run docker login registry.example", false},
		{"unauthorized: authentication required", true, "the stored login for registry.example is refused", false},
		{"manifest for registry.example/app:1 not found: manifest unknown: manifest unknown", false, "check the name and the tag", false},
		{"write /var/lib/docker/tmp/x: no space left on device", false, "disk of the engine is full", false},
		{"no matching manifest for linux/amd64 in the manifest list entries", false, "platform", false},
		{"dial tcp: lookup registry.example: no such host", false, "no such host", false},
	} {
		got := e.pullError(ref, c.loggedIn, errors.New(c.cause))
		_, retry := reconciler.RetryDelay(got)
		if !strings.HasPrefix(got.Error(), "pull "+ref+": ") || !strings.Contains(got.Error(), c.want) || retry != c.retry || reconciler.IsTerminal(got) {
			t.Errorf("%s: %v (retry after %t)", c.cause, got, retry)
		}
	}
	if !diskFull(fmt.Errorf("x: %w", syscall.ENOSPC)) || diskFull(nil) || diskFull(io.EOF) {
		t.Error("diskFull")
	}
}

func TestGatesRefuseWhatTheEngineWouldDrop(t *testing.T) {
	base := func(f func(*desired.Service)) desired.Spec {
		s := desired.Service{Name: "web", Image: "x"}
		f(&s)
		return desired.Spec{Name: "acme", Services: map[string]desired.Service{"web": s}}
	}
	mnt := func(m desired.Mount) desired.Spec {
		return base(func(s *desired.Service) { s.Mounts = []desired.Mount{m} })
	}
	net := func(n ...desired.ServiceNetwork) desired.Spec {
		return base(func(s *desired.Service) { s.Networks = n })
	}
	off := false
	for _, c := range []struct {
		name, needs string // needs: the least API, empty: any
		spec        desired.Spec
	}{
		{"plain", "", base(func(*desired.Service) {})},
		{"start_interval", "1.44", base(func(s *desired.Service) { s.Healthcheck = &desired.Healthcheck{StartInterval: time.Second} })},
		{"annotations", "1.43", base(func(s *desired.Service) { s.Annotations = map[string]string{"a": "b"} })},
		{"subpath", "1.45", mnt(desired.Mount{Type: desired.MountVolume, Source: "v", Subpath: "x"})},
		{"image mount", "1.48", mnt(desired.Mount{Type: desired.MountImage, Source: "x"})},
		{"recursive", "1.44", mnt(desired.Mount{Type: desired.MountBind, Source: "/x", Recursive: "readonly"})},
		{"create_host_path", "", mnt(desired.Mount{Type: desired.MountBind, Source: "/x", CreateHost: true})},
		{"propagation", "", mnt(desired.Mount{Type: desired.MountBind, Source: "/x", CreateHost: true, Propagation: "rslave"})},
		{"two networks", "", net(desired.ServiceNetwork{Network: "a"}, desired.ServiceNetwork{Network: "b"})},
		{"first mac", "", net(desired.ServiceNetwork{Network: "a", MacAddress: "02:42:ac:11:00:02"})},
		{"second mac", "1.44", net(desired.ServiceNetwork{Network: "a"}, desired.ServiceNetwork{Network: "b", MacAddress: "02:42:ac:11:00:02"})},
		{"gw_priority", "1.48", net(desired.ServiceNetwork{Network: "a", GwPriority: 1})},
		{"ifname", "1.49", net(desired.ServiceNetwork{Network: "a", DriverOpts: map[string]string{"com.docker.network.endpoint.ifname": "eth9"}})},
		{"enable_ipv4", "1.48", desired.Spec{Networks: map[string]desired.Network{"n": {EnableIPv4: &off}}}},
	} {
		for _, api := range []string{"1.41", "1.42", "1.43", "1.44", "1.45", "1.46", "1.48", "1.49", "1.51"} {
			err := checkGates(api, c.spec)
			refused := c.needs != "" && api < c.needs
			if (err != nil) != refused || refused && !reconciler.IsTerminal(err) {
				t.Errorf("%s on API %s: %v, want refused: %t", c.name, api, err, refused)
			}
			if refused && !strings.Contains(err.Error(), "API "+c.needs) {
				t.Errorf("%s: %v does not name the API that it needs", c.name, err)
			}
		}
	}
}

func TestSettingsIgnoreWhatTheEngineAdds(t *testing.T) {
	zero, minus := int64(0), int64(-1)
	in := func(p *int64, aliases ...string) container.InspectResponse {
		return container.InspectResponse{
			ContainerJSONBase: &container.ContainerJSONBase{ID: "0123456789abcdef", HostConfig: &container.HostConfig{Resources: container.Resources{PidsLimit: p}}},
			NetworkSettings: &container.NetworkSettings{Networks: map[string]*network.EndpointSettings{
				"n": {Aliases: aliases, IPAddress: "10.0.0.1"}}},
		}
	}
	a, b := settings(in(&zero, "web", "0123456789ab")), settings(in(&minus, "web"))
	if !maps.Equal(a, b) || !maps.Equal(a, settings(in(nil, "web"))) {
		t.Errorf("equal settings differ: %v", diffSettings(a, b))
	}
	b["mem_limit"], b["new_in_a_later_engine"] = "7", "x"
	delete(b, "cpu_shares")
	if d := diffSettings(a, b); len(d) != 1 || d[0].Field != "mem_limit" || d[0].New != "7" {
		t.Errorf("diff %v, want mem_limit alone", d)
	}
}

func TestUpdateForSetsBackOnlyWhatCanBe(t *testing.T) {
	s := desired.Service{Resources: desired.Resources{Memory: 64 << 20, NanoCPUs: 5e8}, Restart: desired.Restart{Name: "always"}}
	u, ok := updateFor(s, []string{"mem_limit", "memswap_limit", "restart", "cpus", "pids_limit", "networks.x"})
	if !ok || u.Memory != 64<<20 || u.MemorySwap != 128<<20 || u.RestartPolicy.Name != "always" || u.NanoCPUs != 5e8 || *u.PidsLimit != -1 {
		t.Errorf("update %+v %t", u, ok)
	}
	for _, f := range []string{"cpu_shares", "cpuset", "mem_reservation", "something"} {
		if _, ok := updateFor(s, []string{f}); ok {
			t.Errorf("%s cannot be set back to nothing in place", f)
		}
	}
}

func TestWhatTheEngineStartsAgain(t *testing.T) {
	for _, tt := range []struct {
		policy  string
		exit    int
		stopped bool
		want    bool
	}{
		{"", 1, true, false}, {"no", 1, false, false},
		{"always", 0, true, true}, {"always", 0, false, true},
		{"unless-stopped", 137, true, false}, {"unless-stopped", 0, false, true},
		{"on-failure", 0, true, false}, {"on-failure", 143, true, true},
		{"of-the-future", 0, true, true},
	} {
		in := container.InspectResponse{ContainerJSONBase: &container.ContainerJSONBase{
			State:      &container.State{ExitCode: tt.exit},
			HostConfig: &container.HostConfig{RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(tt.policy)}}}}
		if got := revives(in, tt.stopped); got != tt.want {
			t.Errorf("%+v: %t", tt, got)
		}
	}
}

func TestVerdictForgivesAFewRestarts(t *testing.T) {
	now := time.Unix(1000, 0)
	run := func(restarts int, status container.ContainerState) container.InspectResponse {
		return container.InspectResponse{ContainerJSONBase: &container.ContainerJSONBase{
			RestartCount: restarts, State: &container.State{Status: status, ExitCode: 3}}}
	}
	v := verdict{wait: reconciler.Wait{Condition: desired.Started, Stable: 2 * time.Second}}
	steps := []struct {
		in   container.InspectResponse
		at   time.Duration
		done bool
		why  string
	}{
		{run(0, container.StateRunning), 0, false, ""},
		{run(1, container.StateRestarting), time.Second, false, ""},
		{run(1, container.StateRunning), 1500 * time.Millisecond, false, ""},
		{run(2, container.StateRunning), 3400 * time.Millisecond, false, ""}, // restarted unseen: counts anew
		{run(2, container.StateRunning), 5300 * time.Millisecond, false, ""},
		{run(2, container.StateRunning), 5400 * time.Millisecond, true, ""},
		{run(5, container.StateRunning), 6 * time.Second, false, "restarted 5 times"},
		{run(2, container.StateExited), 7 * time.Second, false, "exited with code 3"},
	}
	for i, s := range steps {
		done, why := v.judge(s.in, now.Add(s.at))
		if done != s.done || !strings.HasPrefix(why, s.why) || (why == "") != (s.why == "") {
			t.Fatalf("step %d: %t %q, want %t %q", i, done, why, s.done, s.why)
		}
	}
}

func TestWakersWakeOnlyTheInstance(t *testing.T) {
	var w wakers
	a, forgetA := w.add("a")
	b, forgetB := w.add("b")
	defer forgetB()
	w.wake("a")
	w.wake("a")
	if len(a) != 1 || len(b) != 0 {
		t.Fatalf("woken: a %d, b %d", len(a), len(b))
	}
	forgetA()
	w.wake("a")
	if len(w.m["a"]) != 0 {
		t.Fatal("forgotten, but still there")
	}
}

func TestMemoryThatCannotBeReadIsAnError(t *testing.T) {
	mem := NewMemory()
	if err := mem.Put("acme", []byte("{broken")); err != nil {
		t.Fatal(err)
	}
	if _, err := newNotebook(mem).read("acme"); err == nil {
		t.Fatal("a broken page was read as an empty one")
	}
	n := newNotebook(NewMemory())
	if err := n.notePull("sha256:a", "app:1", time.Now()); err != nil {
		t.Fatal(err)
	}
	again := newNotebook(n.mem)
	got, err := again.images()
	if err != nil || !slices.Equal(got["sha256:a"], []string{"app:1"}) {
		t.Fatalf("remembered %v, %v", got, err)
	}
}

// When a reference was pulled is known as long as any image is that it named.
func TestPullsAreRememberedWithTheirImages(t *testing.T) {
	n := newNotebook(NewMemory())
	at := time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(n.notePull("sha256:a", "app:1", at))
	check(n.notePull("sha256:b", "app:1", at.Add(time.Hour)))
	for _, tt := range []struct {
		forget string
		want   time.Time
	}{{"", at.Add(time.Hour)}, {"sha256:a", at.Add(time.Hour)}, {"sha256:b", time.Time{}}} {
		if tt.forget != "" {
			check(n.forgetImage(tt.forget))
		}
		again := newNotebook(n.mem)
		if got, err := again.lastPull("docker.io/library/app:1"); err != nil || !got.Equal(tt.want) {
			t.Errorf("without %q: last pull %v, %v; want %v", tt.forget, got, err, tt.want)
		}
	}
	check(n.mem.Put(askedKey, []byte("{broken")))
	if _, err := newNotebook(n.mem).lastPull("app:1"); err == nil {
		t.Error("a broken memory was read as an empty one")
	}
}
