package compose

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/fairlead/fairlead/desired"
)

// files makes a repository from path and content.
func files(pairs ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1]), Mode: 0o644}
	}
	return m
}

func load(t testing.TB, repo fstest.MapFS) (desired.Project, error) {
	t.Helper()
	return Load(desired.ComposeInput{Tree: repo, Dir: "inst", Name: "acme"})
}

// serviceCase is a key of a service and what becomes of it.
type serviceCase struct {
	key  string // below services.*
	yaml string // of the service svc, in flow style
	want string // the fields of desired.Service, but for name, image, replicas and networks
}

var serviceCases = []serviceCase{
	{"image", `{}`, `{}`},
	{"platform", `{platform: linux/arm64}`, `{"platform":"linux/arm64"}`},
	{"pull_policy", `{pull_policy: if_not_present}`, `{"pull_policy":"missing"}`},
	{"pull_policy", `{pull_policy: never}`, `{"pull_policy":"never"}`},
	{"pull_policy", `{pull_policy: build}`, `{}`},
	{"pull_policy", `{pull_policy: daily}`, `{"pull_policy":"refresh","pull_after":86400000000000}`},
	{"pull_policy", `{pull_policy: weekly}`, `{"pull_policy":"refresh","pull_after":604800000000000}`},
	{"pull_policy", `{pull_policy: every_1d12h}`, `{"pull_policy":"refresh","pull_after":129600000000000}`},
	{"pull_refresh_after", `{pull_policy: refresh, pull_refresh_after: 90s}`, `{"pull_policy":"refresh","pull_after":90000000000}`},
	{"container_name", `{container_name: web-1}`, `{"container_name":"web-1"}`},
	{"hostname", `{hostname: h}`, `{"hostname":"h"}`},
	{"domainname", `{domainname: d.test}`, `{"domainname":"d.test"}`},
	{"command", `{command: "run --now 'a b'"}`, `{"command":["run","--now","a b"]}`},
	{"command", `{command: []}`, `{"clear_command":true}`},
	{"command", `{command: null}`, `{}`},
	{"entrypoint", `{entrypoint: [sh, -c]}`, `{"entrypoint":["sh","-c"]}`},
	{"entrypoint", `{entrypoint: []}`, `{"clear_entrypoint":true}`},
	{"user", `{user: "1000:1000"}`, `{"user":"1000:1000"}`},
	{"group_add", `{group_add: [video, 109]}`, `{"group_add":["video","109"]}`},
	{"working_dir", `{working_dir: /srv}`, `{"working_dir":"/srv"}`},
	{"init", `{init: false}`, `{"init":false}`},
	{"tty", `{tty: true}`, `{"tty":true}`},
	{"stdin_open", `{stdin_open: true}`, `{"stdin_open":true}`},
	{"stop_signal", `{stop_signal: SIGINT}`, `{"stop_signal":"SIGINT"}`},
	{"stop_grace_period", `{stop_grace_period: 1m}`, `{"stop_grace":60000000000}`},
	{"stop_grace_period", `{stop_grace_period: 0s}`, `{"stop_grace":0}`},
	{"environment", `{environment: [A=1, "B=x=y", C=]}`, `{"environment":{"A":"1","B":"x=y","C":""}}`},
	{"environment", `{environment: {N: 5, T: true, FROM_ENV: , NOWHERE: }}`, `{"environment":{"N":"5","T":"true","FROM_ENV":"here"}}`},
	{"labels", `{labels: [a=1, b]}`, `{"labels":{"a":"1","b":""}}`},
	{"annotations", `{annotations: {k: v}}`, `{"annotations":{"k":"v"}}`},
	{"healthcheck.test", `{healthcheck: {test: curl -f localhost}}`, `{"healthcheck":{"test":["CMD-SHELL","curl -f localhost"]}}`},
	{"healthcheck.disable", `{healthcheck: {disable: true}}`, `{"healthcheck":{"disable":true}}`},
	{"healthcheck.disable", `{healthcheck: {test: [NONE]}}`, `{"healthcheck":{"disable":true}}`},
	{"healthcheck.interval healthcheck.timeout healthcheck.retries healthcheck.start_period healthcheck.start_interval",
		`{healthcheck: {interval: 1s, timeout: 2s, retries: 3, start_period: 4s, start_interval: 5s}}`,
		`{"healthcheck":{"interval":1000000000,"timeout":2000000000,"start_period":4000000000,"start_interval":5000000000,"retries":3}}`},
	{"restart", `{restart: unless-stopped}`, `{"restart":{"name":"unless-stopped"}}`},
	{"restart", `{restart: "on-failure:4"}`, `{"restart":{"name":"on-failure","max_retries":4},"job":true}`},
	{"restart", `{restart: "no"}`, `{"restart":{"name":"no"},"job":true}`},
	{"scale", `{scale: 0}`, `{"replicas":0}`},
	{"scale", `{scale: 3}`, `{"replicas":3}`},
	{"logging.driver logging.options", `{logging: {driver: local, options: {max-size: 1m, max-file: 3}}}`, `{"logging":{"driver":"local","options":{"max-file":"3","max-size":"1m"}}}`},
	{"privileged", `{privileged: true}`, `{"privileged":true}`},
	{"cap_add cap_drop", `{cap_add: [NET_ADMIN], cap_drop: [ALL]}`, `{"cap_add":["NET_ADMIN"],"cap_drop":["ALL"]}`},
	{"security_opt", `{security_opt: [no-new-privileges, "seccomp=./p.json", "label:disable"]}`, `{"security_opt":["no-new-privileges","seccomp={\"a\":1}","label:disable"]}`},
	{"userns_mode", `{userns_mode: host}`, `{"userns_mode":"host"}`},
	{"ipc pid", `{ipc: "service:other", pid: host}`, `{"ipc":"service:other","pid":"host","depends_on":[{"service":"other","condition":"service_started","restart":true,"required":true}]}`},
	{"uts", `{uts: host}`, `{"uts":"host"}`},
	{"cgroup cgroup_parent", `{cgroup: private, cgroup_parent: a.slice}`, `{"cgroup":"private","cgroup_parent":"a.slice"}`},
	{"runtime isolation", `{runtime: runsc, isolation: default}`, `{"runtime":"runsc","isolation":"default"}`},
	{"depends_on.*.condition", `{depends_on: [other]}`, `{"depends_on":[{"service":"other","condition":"service_started","required":true}]}`},
	{"depends_on.*.restart depends_on.*.required", `{depends_on: {other: {condition: service_healthy, restart: true, required: false}}}`,
		`{"depends_on":[{"service":"other","condition":"service_healthy","restart":true}]}`},
	{"deploy.mode deploy.replicas", `{deploy: {mode: replicated, replicas: 2}}`, `{"replicas":2}`},
	{"deploy.update_config.order", `{deploy: {update_config: {order: start-first}}}`, `{"update_order":"start-first"}`},
	{"deploy.resources.limits.cpus deploy.resources.limits.memory deploy.resources.limits.pids deploy.resources.reservations.memory",
		`{deploy: {resources: {limits: {cpus: "0.25", memory: 1g, pids: 5}, reservations: {memory: 10M}}}}`,
		`{"resources":{"nano_cpus":250000000,"memory":1073741824,"memory_reservation":10485760,"pids_limit":5}}`},
	{"deploy.resources.reservations.devices.capabilities deploy.resources.reservations.devices.driver deploy.resources.reservations.devices.device_ids deploy.resources.reservations.devices.options",
		`{deploy: {resources: {reservations: {devices: [{capabilities: [gpu], driver: nvidia, device_ids: ["0"], options: {a: b}}]}}}}`,
		`{"device_requests":[{"driver":"nvidia","ids":["0"],"capabilities":["gpu"],"options":{"a":"b"}}]}`},
	{"deploy.resources.reservations.devices.count", `{deploy: {resources: {reservations: {devices: [{capabilities: [gpu], count: 2}]}}}}`, `{"device_requests":[{"count":2,"capabilities":["gpu"]}]}`},
	{"deploy.restart_policy.condition deploy.restart_policy.max_attempts", `{restart: always, deploy: {restart_policy: {condition: on-failure, max_attempts: 2}}}`, `{"restart":{"name":"on-failure","max_retries":2},"job":true}`},
	{"deploy.restart_policy.condition", `{deploy: {restart_policy: {condition: any}}}`, `{"restart":{"name":"always"}}`},
	{"ports.target ports.published ports.host_ip ports.protocol", `{ports: ["127.0.0.1:80:8080", "53:53/udp", {target: 9, published: "90-95", host_ip: "::1", protocol: sctp}]}`,
		`{"ports":[{"target":8080,"published":"80","host_ip":"127.0.0.1"},{"target":53,"published":"53","protocol":"udp"},{"target":9,"published":"90-95","host_ip":"::1","protocol":"sctp"}]}`},
	{"ports.target", `{ports: ["8000-8001:9000-9001", "7000-7010:70", "99"]}`,
		`{"ports":[{"target":9000,"published":"8000"},{"target":9001,"published":"8001"},{"target":70,"published":"7000-7010"},{"target":99}]}`},
	{"expose", `{expose: [80, "81/udp", "3000-3005"]}`, `{"expose":["80","81/udp","3000-3005"]}`},
	{"links", `{links: [other, "other:o"]}`, `{"links":["other:other","other:o"],"depends_on":[{"service":"other","condition":"service_started","restart":true,"required":true}]}`},
	{"external_links", `{external_links: [old, "old:db"]}`, `{"external_links":["old:old","old:db"]}`},
	{"extra_hosts", `{extra_hosts: ["b=1.1.1.1", "a:2.2.2.2", "six=::1"]}`, `{"extra_hosts":["a:2.2.2.2","b:1.1.1.1","six:::1"]}`},
	{"dns dns_search dns_opt", `{dns: 1.1.1.1, dns_search: [a, b], dns_opt: ["ndots:2"]}`, `{"dns":["1.1.1.1"],"dns_search":["a","b"],"dns_options":["ndots:2"]}`},
	{"mac_address", `{mac_address: "02:42:ac:11:00:02"}`, `{"mac_address":"02:42:ac:11:00:02"}`},
	{"sysctls", `{sysctls: {net.core.somaxconn: 5}}`, `{"sysctls":{"net.core.somaxconn":"5"}}`},
	{"volumes.type volumes.source volumes.target volumes.read_only", `{volumes: ["/a:/b", "/c:/d:ro", "vol:/v", "/anon", "vol:/w:ro"]}`,
		`{"mounts":[{"type":"bind","source":"/a","target":"/b","create_host":true},{"type":"bind","source":"/c","target":"/d","read_only":true,"create_host":true},{"type":"volume","source":"vol","target":"/v"},{"type":"volume","target":"/anon"},{"type":"volume","source":"vol","target":"/w","read_only":true}]}`},
	{"volumes.bind.selinux volumes.bind.propagation volumes.bind.create_host_path volumes.bind.recursive volumes.consistency",
		`{volumes: [{type: bind, source: /a, target: /b/, consistency: cached, bind: {selinux: Z, propagation: rslave, create_host_path: false, recursive: disabled}}]}`,
		`{"mounts":[{"type":"bind","source":"/a","target":"/b","propagation":"rslave","selinux":"Z","consistency":"cached","recursive":"disabled"}]}`},
	{"volumes.volume.labels volumes.volume.nocopy volumes.volume.subpath", `{volumes: [{type: volume, source: vol, target: /v, volume: {labels: {a: b}, nocopy: true, subpath: s}}]}`,
		`{"mounts":[{"type":"volume","source":"vol","target":"/v","no_copy":true,"subpath":"s","labels":{"a":"b"}}]}`},
	{"volumes.tmpfs.size volumes.tmpfs.mode", `{volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 0o1777}}]}`, `{"mounts":[{"type":"tmpfs","target":"/t","tmpfs_size":1048576,"tmpfs_mode":1023}]}`},
	{"volumes.image.subpath", `{volumes: [{type: image, source: "a:1", target: /i, image: {subpath: x}}]}`, `{"mounts":[{"type":"image","source":"a:1","target":"/i","subpath":"x"}]}`},
	{"volumes_from", `{volumes_from: ["other:ro", "container:c"]}`, `{"volumes_from":["service:other:ro","container:c"],"depends_on":[{"service":"other","condition":"service_started","required":true}]}`},
	{"tmpfs", `{tmpfs: [/t, "/u:size=1m,mode=1777"]}`, `{"mounts":[{"type":"tmpfs","target":"/t"},{"type":"tmpfs","target":"/u","tmpfs_opts":"size=1m,mode=1777"}]}`},
	{"read_only shm_size storage_opt", `{read_only: true, shm_size: 64m, storage_opt: {size: 1G}}`, `{"read_only":true,"shm_size":67108864,"storage_opt":{"size":"1G"}}`},
	{"devices.source devices.target devices.permissions device_cgroup_rules", `{devices: ["/dev/a", "/dev/b:/dev/c:r", "vendor.com/gpu=all"], device_cgroup_rules: ["c 1:3 mr"]}`,
		`{"devices":[{"host":"/dev/a","container":"/dev/a","permissions":"rwm"},{"host":"/dev/b","container":"/dev/c","permissions":"r"}],"device_cgroup_rules":["c 1:3 mr"],"device_requests":[{"driver":"cdi","ids":["vendor.com/gpu=all"]}]}`},
	{"ulimits.*.single ulimits.*.soft ulimits.*.hard", `{ulimits: {nproc: 5, nofile: {soft: 1, hard: 2}}}`, `{"ulimits":[{"name":"nofile","soft":1,"hard":2},{"name":"nproc","soft":5,"hard":5}]}`},
	{"cpus cpu_count cpu_percent cpu_shares cpu_period cpu_quota cpuset", `{cpus: 0.1, cpu_count: 2, cpu_percent: 50, cpu_shares: 7, cpu_period: 100, cpu_quota: 50, cpuset: "0,1"}`,
		`{"resources":{"nano_cpus":100000000,"cpu_count":2,"cpu_percent":5000,"cpu_shares":7,"cpu_period":100,"cpu_quota":50,"cpuset":"0,1"}}`},
	{"cpu_rt_period cpu_rt_runtime", `{cpu_rt_period: 1400, cpu_rt_runtime: 400}`, `{"resources":{"cpu_rt_period":1400,"cpu_rt_runtime":400}}`},
	{"mem_limit mem_reservation memswap_limit mem_swappiness oom_kill_disable oom_score_adj pids_limit",
		`{mem_limit: 1m, mem_reservation: 1k, memswap_limit: -1, mem_swappiness: 60, oom_kill_disable: true, oom_score_adj: -5, pids_limit: -1}`,
		`{"resources":{"memory":1048576,"memory_reservation":1024,"memory_swap":-1,"memory_swappiness":60,"oom_kill_disable":true,"oom_score_adj":-5,"pids_limit":-1}}`},
	{"gpus.capabilities gpus.driver gpus.count gpus.device_ids gpus.options", `{gpus: [{driver: nvidia, count: 1, capabilities: [video], options: {a: b}}, {device_ids: ["1"]}]}`,
		`{"device_requests":[{"driver":"nvidia","count":1,"capabilities":["video","gpu"],"options":{"a":"b"}},{"ids":["1"],"capabilities":["gpu"]}]}`},
	{"gpus.count", `{gpus: all}`, `{"device_requests":[{"count":-1,"capabilities":["gpu"]}]}`},
	{"blkio_config.weight blkio_config.weight_device.path blkio_config.weight_device.weight blkio_config.device_read_bps.path blkio_config.device_read_bps.rate blkio_config.device_read_iops.path blkio_config.device_read_iops.rate blkio_config.device_write_bps.path blkio_config.device_write_bps.rate blkio_config.device_write_iops.path blkio_config.device_write_iops.rate",
		`{blkio_config: {weight: 10, weight_device: [{path: /dev/a, weight: 20}], device_read_bps: [{path: /dev/a, rate: 1k}], device_read_iops: [{path: /dev/a, rate: 2}], device_write_bps: [{path: /dev/a, rate: 3}], device_write_iops: [{path: /dev/a, rate: 4}]}}`,
		`{"resources":{"blkio_weight":10,"blkio_weight_device":["/dev/a:20"],"device_read_bps":["/dev/a:1024"],"device_read_iops":["/dev/a:2"],"device_write_bps":["/dev/a:3"],"device_write_iops":["/dev/a:4"]}}`},
	{"network_mode", `{network_mode: "service:other"}`, `{"network_mode":"service:other","networks":null,"depends_on":[{"service":"other","condition":"service_started","restart":true,"required":true}]}`},
	{"network_mode", `{network_mode: host, ports: ["80:80"]}`, `{"network_mode":"host","networks":null}`},
	{"networks.*.aliases networks.*.ipv4_address networks.*.ipv6_address networks.*.link_local_ips networks.*.mac_address networks.*.driver_opts networks.*.priority networks.*.gw_priority networks.*.interface_name",
		`{networks: {a: , z: {priority: 5, aliases: [x], ipv4_address: 10.9.0.2, ipv6_address: "fd00::2", link_local_ips: [169.254.1.1], mac_address: "02:00:00:00:00:01", driver_opts: {k: v}, gw_priority: 3, interface_name: eth7}}}`,
		`{"networks":[{"network":"z","aliases":["x"],"ipv4":"10.9.0.2","ipv6":"fd00::2","link_local_ips":["169.254.1.1"],"mac_address":"02:00:00:00:00:01","gw_priority":3,"priority":5,"driver_opts":{"com.docker.network.endpoint.ifname":"eth7","k":"v"}},{"network":"a"}]}`},
}

func TestServiceKeys(t *testing.T) {
	covered := map[string]bool{}
	for _, c := range serviceCases {
		for _, k := range strings.Fields(c.key) {
			covered["services.*."+k] = true
		}
		t.Run(c.key+" "+c.yaml, func(t *testing.T) { checkService(t, c) })
	}
	for _, k := range keys() {
		mounted := strings.HasPrefix(k.path, "services.*.configs.") || strings.HasPrefix(k.path, "services.*.secrets.") // see TestObjects
		if k.fate == carried && strings.HasPrefix(k.path, "services.") && !mounted && !covered[k.path] {
			t.Errorf("%s is carried, but no case shows how", k.path)
		}
	}
}

func checkService(t *testing.T, c serviceCase) {
	repo := files("inst/compose.yaml", "services:\n  svc:\n    <<: "+c.yaml+"\n    image: a:1\n  other: {image: b}\nvolumes: {vol: }\nnetworks: {a: , z: }\n",
		"inst/.env", "FROM_ENV=here\n", "inst/p.json", "{ \"a\": 1 }\n")
	p, err := load(t, repo)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"name": "svc", "image": "a:1", "replicas": 1.0, "networks": []any{map[string]any{"network": "default"}}}
	if err := json.Unmarshal([]byte(c.want), &want); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(p.Services["svc"])
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for k, v := range want { // what is zero is left out of JSON
		if v == nil || k == "replicas" && v == 0.0 {
			delete(want, k)
		}
	}
	if !reflect.DeepEqual(got, want) {
		w, _ := json.Marshal(want)
		t.Errorf("got  %s\nwant %s", b, w)
	}
}
