package docker_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/compose"
	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

// dockerCompose finds docker compose v2.40.3, built by
// scripts/compose-oracle.sh; empty when the comparison was declined.
func dockerCompose(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("FAIRLEAD_COMPOSE_ORACLE")
	if bin == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		bin = filepath.Join(cache, "fairlead", "docker-compose-v2.40.3")
	}
	if _, err := os.Stat(bin); err == nil {
		return bin
	}
	if os.Getenv("FAIRLEAD_NO_ORACLE") == "1" {
		t.Logf("not compared with docker compose: %s is not there, and FAIRLEAD_NO_ORACLE=1", bin)
		return ""
	}
	t.Fatalf("%s is not there: run scripts/compose-oracle.sh (about eight minutes), or set FAIRLEAD_NO_ORACLE=1 to leave the comparison out", bin)
	return ""
}

// file uses as many keys as an engine with API 1.41 carries in this place.
// Left out is what docker compose itself gets wrong: links to a service with
// several replicas (all get the first one's names), volumes_from with :ro
// (dropped), and ranges in expose (not expanded).
const file = `
services:
  web:
    image: IMAGE
    command: ["serve"]
    environment: {A: "1", B: "two words"}
    expose: ["9000/tcp", "9001/udp"]
    ports: ["127.0.0.1::8000", "8000/udp"]
    volumes:
      - data:/data
      - data:/ro:ro
      - {type: volume, source: data, target: /nocopy, volume: {nocopy: true}}
      - /tmp:/host-tmp:ro
      - {type: bind, source: /tmp, target: /long}
      - {type: tmpfs, target: /scratch, tmpfs: {size: 1048576, mode: 0o700}}
    tmpfs: ["/run", "/short:size=64k"]
    networks:
      default: {aliases: [site]}
      back: {ipv4_address: 10.233.78.5}
    healthcheck: {test: ["CMD", "/app", "healthcheck"], interval: 1s, timeout: 2s, retries: 4, start_period: 3s}
    restart: on-failure:4
    user: "1000:1000"
    working_dir: /
    labels: {team: x}
    logging: {driver: json-file, options: {max-size: 1m}}
    ulimits: {nofile: {soft: 100, hard: 200}, nproc: 64}
    sysctls: {net.core.somaxconn: "1024"}
    cap_add: [NET_ADMIN]
    cap_drop: [MKNOD]
    security_opt: ["no-new-privileges:true"]
    dns: [10.0.0.53]
    dns_search: [example.org]
    dns_opt: ["ndots:2"]
    extra_hosts: ["db.local:10.0.0.7"]
    hostname: webhost
    domainname: example.org
    init: true
    ipc: shareable
    read_only: true
    shm_size: 8m
    stop_signal: SIGUSR1
    stop_grace_period: 3s
    stdin_open: true
    tty: true
    group_add: ["44"]
    mem_limit: 64m
    memswap_limit: 128m
    mem_reservation: 32m
    cpus: 0.5
    cpu_shares: 512
    pids_limit: 50
    oom_score_adj: 100
    devices: ["/dev/null:/dev/xnull:r"]
    device_cgroup_rules: ["c 1:3 mr"]
    mac_address: 02:42:ac:11:65:43
    depends_on: [db]
    links: ["db:sql"]
    privileged: false
  db:
    image: IMAGE
    networks: {default: {}}
    entrypoint: ["/app"]
    command: ["serve"]
    volumes: ["data:/data"]
    deploy: {resources: {limits: {memory: 48m, cpus: "0.25", pids: 40}}}
  many:
    image: IMAGE
    network_mode: none
    deploy: {replicas: 2}
  alone:
    image: IMAGE
    network_mode: none
    restart: unless-stopped
    healthcheck: {disable: true}
  side:
    image: IMAGE
    network_mode: "service:alone"
    pid: "service:alone"
    volumes_from: [db]
    restart: "no"
networks:
  back: {internal: true, driver_opts: {com.docker.network.bridge.enable_ip_masquerade: "false"}, labels: {n: "1"}, ipam: {config: [{subnet: 10.233.78.0/24, gateway: 10.233.78.1}]}}
volumes:
  data: {labels: {v: "1"}}
`

// TestSameAsDockerCompose brings one file up with docker compose and with this
// driver, and compares what the engine says of both.
func TestSameAsDockerCompose(t *testing.T) {
	bin := dockerCompose(t)
	if bin == "" {
		return
	}
	r := newRig(t, imagesOf(t, registry.Test(t)))
	text := strings.ReplaceAll(file, "IMAGE", r.images(drivertest.KindHealthy, 1))
	theirs := r.instance + "-theirs"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	up := exec.CommandContext(t.Context(), bin, "-p", theirs, "up", "-d")
	up.Dir = dir
	if out, err := up.CombinedOutput(); err != nil {
		t.Fatalf("docker compose up: %v\n%s", err, out)
	}
	saw := r.describe(theirs)
	down := exec.CommandContext(t.Context(), bin, "-p", theirs, "down", "-v", "-t", "0")
	if out, err := down.CombinedOutput(); err != nil {
		t.Fatalf("docker compose down: %v\n%s", err, out)
	}
	p, err := compose.Load(desired.ComposeInput{
		Tree: fstest.MapFS{"compose.yaml": {Data: []byte(text)}}, Dir: ".", Name: r.instance})
	r.check(err)
	tgt := reconciler.Target{Dir: r.owner, Spec: desired.Spec{
		Name: r.instance, Services: p.Services, Networks: p.Networks, Volumes: p.Volumes, Files: p.Files}}
	images, err := r.engine.Prepare(t.Context(), tgt, nil)
	r.check(err)
	tgt.Images = images
	for k := range tgt.Spec.Networks {
		r.check(r.engine.Ensure(t.Context(), tgt, reconciler.Action{Kind: reconciler.KindNetwork, Name: k}))
	}
	for k := range tgt.Spec.Volumes {
		r.check(r.engine.Ensure(t.Context(), tgt, reconciler.Action{Kind: reconciler.KindVolume, Name: k}))
	}
	for _, svc := range []string{"db", "alone", "many", "web", "side"} {
		for n := 1; n <= tgt.Spec.Services[svc].Replicas; n++ {
			r.check(r.engine.Ensure(t.Context(), tgt, reconciler.Action{Kind: reconciler.KindContainer, Name: svc, Replica: n}))
		}
	}
	have := r.describe(r.instance)
	if len(have) != 8 {
		t.Fatalf("%d objects were described, want 6 containers and 2 networks", len(have))
	}
	compare(t, saw, have)
}

// describe reads every object of a compose project, with what must differ
// written alike.
func (r *rig) describe(project string) map[string]any {
	ctx := r.Context()
	args := filters.NewArgs(filters.Arg("label", "com.docker.compose.project="+project))
	list, err := r.raw.ContainerList(ctx, container.ListOptions{All: true, Filters: args})
	r.check(err)
	ids := map[string]string{project: "PROJECT"}
	for _, c := range list {
		ids[c.ID], ids[c.ID[:12]] = c.Labels["com.docker.compose.service"], "SHORTID"
	}
	out := map[string]any{}
	for _, c := range list {
		in := r.inspect(c.ID)
		for _, ep := range in.NetworkSettings.Networks {
			ep.MacAddress = "" // the one asked for is in Config
		}
		ports := []string{}
		for p := range in.Config.ExposedPorts {
			ports = append(ports, string(p))
		}
		out["container "+c.Labels["com.docker.compose.service"]+c.Labels["com.docker.compose.container-number"]] = alike(map[string]any{
			"Name": in.Name, "Image": in.Image, "Config": in.Config, "HostConfig": in.HostConfig, "Networks": in.NetworkSettings.Networks, "Ports": ports,
		}, ids)
	}
	nets, err := r.raw.NetworkList(ctx, network.ListOptions{Filters: args})
	r.check(err)
	for _, n := range nets {
		ids[n.ID] = "NETWORK"
		out["network "+n.Labels["com.docker.compose.network"]] = alike(map[string]any{
			"Name": n.Name, "Driver": n.Driver, "Internal": n.Internal, "Attachable": n.Attachable, "Labels": n.Labels, "Options": n.Options, "IPv6": n.EnableIPv6}, ids)
	}
	return out
}

// alike makes JSON values of v and takes out what differs between two runs.
func alike(v any, ids map[string]string) any {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	text := string(b)
	keys := []string{}
	for k := range ids {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool { return len(keys[i]) > len(keys[j]) })
	for _, k := range keys {
		text = strings.ReplaceAll(text, k, ids[k])
	}
	var out any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		return err
	}
	return drop(out)
}

// chosen are facts that the engine chooses, or that say who made the object.
var chosen = []string{"NetworkID", "EndpointID", "IPAddress", "Gateway", "GlobalIPv6Address", "DNSNames", "IPPrefixLen"}

func drop(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			mine := strings.HasPrefix(k, "fairlead.")
			theirs := strings.HasPrefix(k, "com.docker.compose.") && slices.Contains([]string{
				"config-hash", "version", "project.working_dir", "project.config_files", "replace", "depends_on",
			}, strings.TrimPrefix(k, "com.docker.compose."))
			if mine || theirs || slices.Contains(chosen, k) {
				delete(v, k)
				continue
			}
			v[k] = drop(v[k])
		}
	case []any:
		for i := range v {
			v[i] = drop(v[i])
		}
		sort.Slice(v, func(i, j int) bool { return fmt.Sprint(v[i]) < fmt.Sprint(v[j]) })
		if len(v) == 0 {
			return nil // null and [] mean the same to the engine
		}
	}
	if m, ok := v.(map[string]any); ok && len(m) == 0 {
		return nil
	}
	return v
}

func compare(t *testing.T, want, got map[string]any) {
	t.Helper()
	for k := range want {
		w, _ := want[k].(map[string]any)
		g, _ := got[k].(map[string]any)
		diff(t, k, w, g)
	}
	for k := range got {
		if want[k] == nil {
			t.Errorf("%s: docker compose makes none", k)
		}
	}
}

func diff(t *testing.T, path string, want, got any) {
	w, ok1 := want.(map[string]any)
	g, ok2 := got.(map[string]any)
	if ok1 && ok2 {
		for k := range w {
			diff(t, path+"."+k, w[k], g[k])
		}
		for k := range g {
			if _, ok := w[k]; !ok && g[k] != nil {
				t.Errorf("%s.%s: docker compose has none, we %v", path, k, g[k])
			}
		}
		return
	}
	if !reflect.DeepEqual(want, got) {
		t.Errorf("%s:\n docker compose %v\n we             %v", path, want, got)
	}
}

// TestDockerComposeSeesOurContainers: ps, logs, top and down work on them.
func TestDockerComposeSeesOurContainers(t *testing.T) {
	bin := dockerCompose(t)
	if bin == "" {
		return
	}
	r := newRig(t, imagesOf(t, registry.Test(t)))
	ref := r.images(drivertest.KindPlain, 1)
	r.deploy(r.target(desired.Service{Name: "web", Image: ref, Replicas: 2}, desired.Service{Name: "db", Image: ref}))
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), bin, append([]string{"-p", r.instance}, args...)...)
		cmd.Dir = t.TempDir()
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("docker compose %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	if out := run("ps", "--format", "{{.Name}} {{.Service}} {{.State}}"); strings.Count(out, " running") != 3 || !strings.Contains(out, r.instance+"-web-2 web running") {
		t.Errorf("ps:\n%s", out)
	}
	if out := run("logs", "--no-color", "web"); !strings.Contains(out, "web-1") || !strings.Contains(out, "web-2") {
		t.Errorf("logs:\n%s", out)
	}
	if out := run("top"); !strings.Contains(out, "/app") {
		t.Errorf("top:\n%s", out)
	}
	if out := run("ls", "--format", "json"); !strings.Contains(out, r.instance) {
		t.Errorf("ls:\n%s", out)
	}
	run("down", "-t", "0")
	o, err := r.engine.Observe(t.Context(), r.instance, true)
	r.check(err)
	if len(o.Containers) != 0 || o.Networks[r.instance+"_default"].Name != "" {
		t.Errorf("left after down: %+v", o.Containers)
	}
}
