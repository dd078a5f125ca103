package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/go-units"

	"github.com/fairlead/fairlead/desired"
)

// oracle finds docker compose v2.40.3, built by scripts/compose-oracle.sh.
func oracle(t *testing.T) string {
	t.Helper()
	name := os.Getenv("FAIRLEAD_COMPOSE_ORACLE")
	if name == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		name = filepath.Join(cache, "fairlead", "docker-compose-v2.40.3")
	}
	if _, err := os.Stat(name); err == nil {
		return name
	}
	if os.Getenv("FAIRLEAD_NO_ORACLE") == "1" {
		t.Logf("not compared with docker compose: %s is not there, and FAIRLEAD_NO_ORACLE=1", name)
		return ""
	}
	t.Fatalf("%s is not there: run scripts/compose-oracle.sh (about eight minutes), or set FAIRLEAD_NO_ORACLE=1 to leave the comparison out", name)
	return ""
}

func corpus(t testing.TB) []string {
	t.Helper()
	dirs, err := filepath.Glob("testdata/corpus/*")
	if err != nil || len(dirs) < 40 {
		t.Fatalf("the corpus has %d files: %v", len(dirs), err)
	}
	for i, d := range dirs {
		dirs[i] = filepath.Base(d)
	}
	return dirs
}

func loadCorpus(t testing.TB, name string) desired.Project {
	t.Helper()
	p, err := Load(desired.ComposeInput{Tree: os.DirFS("testdata/corpus"), Dir: name, Name: name})
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return p
}

// TestCorpusAgainstCompose compares what both say about every corpus file.
func TestCorpusAgainstCompose(t *testing.T) {
	bin := oracle(t)
	if bin == "" {
		return
	}
	for _, name := range corpus(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := loadCorpus(t, name)
			dir, err := filepath.Abs(filepath.Join("testdata/corpus", name))
			if err != nil {
				t.Fatal(err)
			}
			theirs := composeConfig(t, bin, dir, name)
			compareProjects(t, p, theirs, dir, tree{repo: os.DirFS("testdata/corpus"), dir: name})
		})
	}
}

// composeConfig runs docker compose config with nothing of our environment.
func composeConfig(t *testing.T, bin, dir, name string) theirProject {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "-p", name, "config", "--format", "json")
	cmd.Dir, cmd.Env = dir, []string{"PATH=/usr/bin:/bin", "HOME=" + t.TempDir()}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("docker compose config: %v\n%s", err, stderr.Bytes())
	}
	var p theirProject
	if err := json.Unmarshal(bytes.ReplaceAll(out, []byte("$$"), []byte("$")), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

type node = map[string]any

type theirProject struct {
	Services map[string]node
	Networks map[string]node
	Volumes  map[string]node
	Configs  map[string]node
	Secrets  map[string]node
}

func compareProjects(t *testing.T, ours desired.Project, theirs theirProject, dir string, tr tree) {
	t.Helper()
	same(t, "services", mapKeys(ours.Services), mapKeys(theirs.Services))
	same(t, "networks", mapKeys(ours.Networks), mapKeys(theirs.Networks))
	same(t, "volumes", mapKeys(ours.Volumes), mapKeys(theirs.Volumes))
	for key, n := range ours.Networks {
		v := theirs.Networks[key]
		same(t, "networks."+key+".name", n.Name, v["name"])
		same(t, "networks."+key+".external", n.External, v["external"] == true)
		same(t, "networks."+key+".internal", n.Internal, v["internal"] == true)
		same(t, "networks."+key+".driver_opts", n.DriverOpts, v["driver_opts"])
		same(t, "networks."+key+".labels", n.Labels, v["labels"])
		if n.IPAM != nil {
			same(t, "networks."+key+".ipam", len(n.IPAM.Pools), len(list(v["ipam"].(node)["config"])))
		}
	}
	for key, n := range ours.Volumes {
		v := theirs.Volumes[key]
		same(t, "volumes."+key+".name", n.Name, v["name"])
		same(t, "volumes."+key+".external", n.External, v["external"] == true)
		same(t, "volumes."+key+".driver_opts", n.DriverOpts, v["driver_opts"])
		same(t, "volumes."+key+".labels", n.Labels, v["labels"])
	}
	for name, s := range ours.Services {
		if v, ok := theirs.Services[name]; ok {
			compareService(t, "services."+name, s, v)
			compareMounts(t, "services."+name, ours, s, theirs, v, dir, tr)
		}
	}
}

// same compares two values as JSON; nothing and empty are the same.
func same(t *testing.T, what string, ours, theirs any) {
	t.Helper()
	if a, b := flat(ours), flat(theirs); a != b {
		t.Errorf("%s: ours is %s, docker compose says %s", what, a, b)
	}
}

func flat(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	switch s := string(b); s {
	case "null", `""`, "[]", "{}", "0", "false":
		return "nothing"
	default:
		return s
	}
}

func list(v any) []any { l, _ := v.([]any); return l }

func compareService(t *testing.T, at string, s desired.Service, v node) {
	t.Helper()
	for key, ours := range map[string]any{
		"image": s.Image, "platform": s.Platform, "container_name": s.ContainerName, "hostname": s.Hostname, "domainname": s.Domainname,
		"command": s.Command, "entrypoint": s.Entrypoint, "user": s.User, "group_add": s.GroupAdd, "working_dir": s.WorkingDir,
		"init": s.Init, "tty": s.TTY, "stdin_open": s.StdinOpen, "stop_signal": s.StopSignal,
		"environment": s.Environment, "labels": s.Labels, "annotations": s.Annotations, "expose": s.Expose,
		"network_mode": s.NetworkMode, "external_links": nil, "dns": s.DNS, "dns_search": s.DNSSearch, "dns_opt": s.DNSOptions,
		"mac_address": s.MacAddress, "sysctls": s.Sysctls, "read_only": s.ReadOnly, "privileged": s.Privileged,
		"cap_add": s.CapAdd, "cap_drop": s.CapDrop, "userns_mode": s.UsernsMode, "ipc": s.IPC, "pid": s.PID, "uts": s.UTS,
		"cgroup_parent": s.CgroupParent, "runtime": s.Runtime, "device_cgroup_rules": s.DeviceCgroupRules, "storage_opt": s.StorageOpt,
		"cpu_shares": s.Resources.CPUShares, "cpu_period": text0(s.Resources.CPUPeriod), "cpu_quota": text0(s.Resources.CPUQuota),
		"cpuset": s.Resources.CPUSet, "oom_score_adj": s.Resources.OOMScoreAdj,
	} {
		theirs := v[key]
		switch key {
		case "external_links":
			var want []string
			for _, l := range list(v[key]) {
				want = append(want, withAlias(l.(string)))
			}
			ours, theirs = s.ExternalLinks, want
		case "cpu_period", "cpu_quota":
			if theirs != nil {
				theirs = fmt.Sprint(theirs)
			}
		}
		same(t, at+"."+key, ours, theirs)
	}
	comparePorts(t, at, s, v)
	compareRunning(t, at, s, v)
	compareLimits(t, at, s, v)
	compareNetworks(t, at, s, v)
}

func text0(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func comparePorts(t *testing.T, at string, s desired.Service, v node) {
	t.Helper()
	var ours, theirs []string
	for _, p := range s.Ports {
		proto := p.Protocol
		if proto == "" {
			proto = "tcp"
		}
		ours = append(ours, fmt.Sprintf("%s:%s:%d/%s", p.HostIP, p.Published, p.Target, proto))
	}
	for _, p := range list(v["ports"]) {
		m := p.(node)
		theirs = append(theirs, fmt.Sprintf("%s:%s:%v/%s", blank(m["host_ip"]), blank(m["published"]), m["target"], m["protocol"]))
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	same(t, at+".ports", ours, theirs)
}

func blank(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

func compareRunning(t *testing.T, at string, s desired.Service, v node) {
	t.Helper()
	deps := map[string]string{}
	for _, d := range s.DependsOn {
		deps[d.Service] = fmt.Sprint(d.Condition, d.Restart, d.Required)
	}
	wanted := map[string]string{}
	if m, ok := v["depends_on"].(node); ok {
		for name, d := range m {
			e := d.(node)
			wanted[name] = fmt.Sprint(e["condition"], e["restart"] == true, e["required"] == true)
		}
	}
	same(t, at+".depends_on", deps, wanted)
	if h, ok := v["healthcheck"].(node); ok && s.Healthcheck != nil {
		same(t, at+".healthcheck.test", s.Healthcheck.Test, h["test"])
		same(t, at+".healthcheck.disable", s.Healthcheck.Disable, h["disable"])
		same(t, at+".healthcheck.retries", s.Healthcheck.Retries, h["retries"])
		for key, ours := range map[string]time.Duration{"interval": s.Healthcheck.Interval, "timeout": s.Healthcheck.Timeout, "start_period": s.Healthcheck.StartPeriod} {
			same(t, at+".healthcheck."+key, ours, span(t, h[key]))
		}
	} else if ok != (s.Healthcheck != nil) {
		t.Errorf("%s.healthcheck: only one of us has it", at)
	}
	if restart := s.Restart.Name; v["deploy"] == nil || v["deploy"].(node)["restart_policy"] == nil {
		if s.Restart.MaxRetries > 0 {
			restart += fmt.Sprintf(":%d", s.Restart.MaxRetries)
		}
		same(t, at+".restart", restart, v["restart"])
	}
	if s.StopGrace != nil {
		same(t, at+".stop_grace_period", *s.StopGrace, span(t, v["stop_grace_period"]))
	}
	if s.Logging != nil {
		same(t, at+".logging", map[string]any{"driver": s.Logging.Driver, "options": s.Logging.Options}, v["logging"])
	}
}

func span(t *testing.T, v any) time.Duration {
	t.Helper()
	if v == nil {
		return 0
	}
	d, err := time.ParseDuration(v.(string))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func compareLimits(t *testing.T, at string, s desired.Service, v node) {
	t.Helper()
	limits := node{}
	if d, ok := v["deploy"].(node); ok {
		if r, ok := d["resources"].(node); ok {
			limits, _ = r["limits"].(node)
		}
		if n, ok := d["replicas"]; ok {
			same(t, at+".deploy.replicas", s.Replicas, n)
		}
	}
	if n, ok := v["scale"]; ok {
		same(t, at+".scale", s.Replicas, n)
	}
	memory := v["mem_limit"]
	if limits["memory"] != nil {
		memory = limits["memory"]
	}
	for key, pair := range map[string][2]any{
		"memory": {s.Resources.Memory, memory}, "memswap_limit": {s.Resources.MemorySwap, v["memswap_limit"]}, "shm_size": {s.ShmSize, v["shm_size"]},
	} {
		want := int64(0)
		if pair[1] != nil {
			n, err := units.RAMInBytes(pair[1].(string))
			if err != nil {
				t.Fatal(err)
			}
			want = n
		}
		same(t, at+"."+key, pair[0], want)
	}
	if cpus, ok := v["cpus"].(float64); ok {
		same(t, at+".cpus", s.Resources.NanoCPUs, int64(cpus*1e9))
	}
	u, _ := v["ulimits"].(node)
	for _, l := range s.Ulimits {
		switch want := u[l.Name].(type) {
		case node:
			same(t, at+".ulimits."+l.Name, []int64{l.Soft, l.Hard}, []any{want["soft"], want["hard"]})
		default:
			same(t, at+".ulimits."+l.Name, []int64{l.Soft, l.Hard}, []any{want, want})
		}
	}
	same(t, at+".ulimits", len(s.Ulimits), len(u))
	same(t, at+".devices", len(s.Devices), len(list(v["devices"])))
}

func compareNetworks(t *testing.T, at string, s desired.Service, v node) {
	t.Helper()
	theirs, _ := v["networks"].(node)
	var keys []string
	for _, n := range s.Networks {
		keys = append(keys, n.Network)
		c, _ := theirs[n.Network].(node)
		same(t, at+".networks."+n.Network, map[string]any{"a": n.Aliases, "4": n.IPv4, "6": n.IPv6, "p": n.Priority, "m": n.MacAddress, "o": n.DriverOpts},
			map[string]any{"a": c["aliases"], "4": blank(c["ipv4_address"]), "6": blank(c["ipv6_address"]), "p": or0(c["priority"]), "m": blank(c["mac_address"]), "o": c["driver_opts"]})
	}
	slices.Sort(keys)
	same(t, at+".networks", keys, mapKeys(theirs))
}

func or0(v any) any {
	if v == nil {
		return 0
	}
	return v
}

// compareMounts holds our mounts against theirs, by target: what theirs bind
// from the project's directory, ours carries as content or as a work path.
func compareMounts(t *testing.T, at string, ours desired.Project, s desired.Service, theirs theirProject, v node, dir string, tr tree) {
	t.Helper()
	mounts := map[string]desired.Mount{}
	for _, m := range s.Mounts {
		mounts[m.Target] = m
	}
	want := 0
	for _, e := range list(v["volumes"]) {
		want++
		c := e.(node)
		target := c["target"].(string)
		compareMount(t, at+": "+target, ours, mounts[target], c, dir, tr)
	}
	for _, e := range list(v["tmpfs"]) {
		want++
		target, opts, _ := strings.Cut(e.(string), ":")
		same(t, at+": tmpfs "+target, mounts[target].TmpfsOpts, opts)
	}
	for kind, defs := range map[string]map[string]node{"configs": theirs.Configs, "secrets": theirs.Secrets} {
		for _, e := range list(v[kind]) {
			want++
			c := e.(node)
			o := object{dir: map[string]string{"configs": "/", "secrets": "/run/secrets"}[kind]}
			o.ref.Source, o.ref.Target = c["source"].(string), blank(c["target"])
			m, ok := mounts[o.target()]
			if !ok || m.Type != desired.MountTracked {
				t.Errorf("%s.%s: nothing is mounted at %s", at, kind, o.target())
				continue
			}
			def := defs[o.ref.Source]
			content := ours.Files[m.Source].Entries[0].Content
			switch {
			case def["content"] != nil:
				same(t, at+"."+kind, string(content), def["content"])
			case def["file"] != nil:
				b, err := os.ReadFile(def["file"].(string))
				if err != nil {
					t.Fatal(err)
				}
				same(t, at+"."+kind, string(content), string(b))
			}
		}
	}
	same(t, at+": number of mounts", len(s.Mounts), want)
}

func compareMount(t *testing.T, at string, ours desired.Project, m desired.Mount, c node, dir string, tr tree) {
	t.Helper()
	same(t, at+".read_only", m.ReadOnly, c["read_only"])
	source := blank(c["source"])
	rel, inside := strings.CutPrefix(source, dir+"/")
	switch {
	case c["type"] == "bind" && inside && m.Type == desired.MountWork:
		same(t, at+".source", m.Source, rel)
	case c["type"] == "bind" && inside:
		want, err := tr.content(filepath.Base(dir) + "/" + rel)
		if err != nil {
			t.Fatal(err)
		}
		if m.Type != desired.MountTracked || !reflect.DeepEqual(ours.Files[m.Source], want) {
			t.Errorf("%s: the mount %v has not the content of %s", at, m, rel)
		}
	default:
		same(t, at+".type", m.Type, c["type"])
		same(t, at+".source", m.Source, source)
	}
	if b, ok := c["bind"].(node); ok {
		same(t, at+".propagation", m.Propagation, b["propagation"])
		// Since 2.40 the default of the long form has become true, as that of
		// the short form: only a written value is compared.
		if _, written := b["create_host_path"]; written && m.Type == desired.MountBind {
			same(t, at+".create_host_path", m.CreateHost, b["create_host_path"])
		}
	}
	if vol, ok := c["volume"].(node); ok {
		same(t, at+".nocopy", m.NoCopy, vol["nocopy"])
		same(t, at+".subpath", m.Subpath, vol["subpath"])
	}
}
