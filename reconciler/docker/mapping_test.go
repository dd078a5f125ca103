package docker

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// get reads "Host.Memory" of a mapped service by its JSON names.
func get(t *testing.T, c config, path string) any {
	t.Helper()
	b, err := json.Marshal(map[string]any{"Config": c.container, "Host": c.host, "Net": c.network, "Later": c.later})
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	for _, key := range strings.Split(path, "|") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}

func TestMapService(t *testing.T) {
	yes, grace := true, 1500*time.Millisecond
	swap := int64(10)
	spec := desired.Spec{
		Name: "acme",
		Networks: map[string]desired.Network{
			"front": {Key: "front", Name: "acme_front"}, "back": {Key: "back", Name: "acme_back"}},
		Volumes: map[string]desired.Volume{"data": {Key: "data", Name: "acme_data"}},
		Files: map[string]desired.FileTree{
			"h1": {Single: true, Entries: []desired.FileEntry{{Path: "Caddyfile"}}},
			"h2": {Entries: []desired.FileEntry{{Path: "a"}, {Path: "b"}}}},
		Services: map[string]desired.Service{"db": {Name: "db", Replicas: 1}},
	}
	for _, c := range []struct {
		name string
		api  string
		s    desired.Service
		path string
		want string // JSON
	}{
		{"environment sorted", "", desired.Service{Environment: map[string]string{"B": "2", "A": "1=x"}}, "Config|Env", `["A=1=x","B=2"]`},
		{"no command", "", desired.Service{}, "Config|Cmd", `null`},
		{"cleared command", "", desired.Service{ClearCommand: true}, "Config|Cmd", `[]`},
		{"cleared entrypoint", "", desired.Service{ClearEntrypoint: true}, "Config|Entrypoint", `[]`},
		{"grace rounded up", "", desired.Service{StopGrace: &grace}, "Config|StopTimeout", `2`},
		{"no health check", "", desired.Service{Healthcheck: &desired.Healthcheck{Disable: true}}, "Config|Healthcheck|Test", `["NONE"]`},
		{"health check", "", desired.Service{Healthcheck: &desired.Healthcheck{Test: []string{"CMD", "x"}, Interval: time.Second}}, "Config|Healthcheck|Interval", `1000000000`},
		{"ports", "", desired.Service{Ports: []desired.Port{{Target: 80, Published: "8080", HostIP: "127.0.0.1"}, {Target: 53, Protocol: "udp"}}},
			"Host|PortBindings", `{"53/udp":[{"HostIp":"","HostPort":""}],"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"8080"}]}`},
		{"expose", "", desired.Service{Expose: []string{"80", "3000-3001/udp"}}, "Config|ExposedPorts", `{"3000/udp":{},"3001/udp":{},"80/tcp":{}}`},
		{"bind that is made", "", desired.Service{Mounts: []desired.Mount{{Type: desired.MountBind, Source: "/x", Target: "/y", CreateHost: true, ReadOnly: true}}}, "Host|Binds", `["/x:/y:ro"]`},
		{"bind that must exist", "", desired.Service{Mounts: []desired.Mount{{Type: desired.MountBind, Source: "/x", Target: "/y"}}}, "Host|Mounts", `[{"BindOptions":{},"Source":"/x","Target":"/y","Type":"bind"}]`},
		{"bind with a colon", "1.45", desired.Service{Mounts: []desired.Mount{{Type: desired.MountBind, Source: "/x:y", Target: "/y", CreateHost: true}}}, "Host|Mounts", `[{"BindOptions":{"CreateMountpoint":true},"Source":"/x:y","Target":"/y","Type":"bind"}]`},
		{"propagation before 1.42", "", desired.Service{Mounts: []desired.Mount{{Type: desired.MountBind, Source: "/x", Target: "/y", CreateHost: true, Propagation: "rslave"}}}, "Host|Binds", `["/x:/y:rw,rslave"]`},
		{"selinux", "", desired.Service{Mounts: []desired.Mount{{Type: desired.MountBind, Source: "/x", Target: "/y", SELinux: "Z"}}}, "Host|Binds", `["/x:/y:rw,Z"]`},
		{"volume", "", desired.Service{Mounts: []desired.Mount{{Type: desired.MountVolume, Source: "data", Target: "/d"}}}, "Host|Binds", `["acme_data:/d:rw"]`},
		{"volume without copy", "", desired.Service{Mounts: []desired.Mount{{Type: desired.MountVolume, Source: "data", Target: "/d", NoCopy: true}}}, "Host|Mounts", `[{"Source":"acme_data","Target":"/d","Type":"volume","VolumeOptions":{"NoCopy":true}}]`},
		{"anonymous volume goes over", "", desired.Service{Mounts: []desired.Mount{{Type: desired.MountVolume, Target: "/anon"}}}, "Host|Mounts", `[{"Source":"abc","Target":"/anon","Type":"volume","VolumeOptions":{}}]`},
		{"volume of the image goes over", "", desired.Service{}, "Host|Mounts", `[{"Source":"def","Target":"/declared","Type":"volume"}]`},
		{"unless mounted", "", desired.Service{Mounts: []desired.Mount{{Type: desired.MountVolume, Source: "data", Target: "/declared"}}}, "Host|Mounts", `null`},
		{"tracked file", "", desired.Service{Mounts: []desired.Mount{{Type: desired.MountTracked, Source: "h1", Target: "/etc/c"}}}, "Host|Mounts", `[{"BindOptions":{},"ReadOnly":true,"Source":"/dir/files/h1/Caddyfile","Target":"/etc/c","Type":"bind"}]`},
		{"tracked directory", "", desired.Service{Mounts: []desired.Mount{{Type: desired.MountTracked, Source: "h2", Target: "/etc/c"}}}, "Host|Mounts", `[{"BindOptions":{},"ReadOnly":true,"Source":"/dir/files/h2","Target":"/etc/c","Type":"bind"}]`},
		{"work", "", desired.Service{Mounts: []desired.Mount{{Type: desired.MountWork, Source: "var/x", Target: "/x"}}}, "Host|Mounts", `[{"BindOptions":{},"Source":"/dir/work/var/x","Target":"/x","Type":"bind"}]`},
		{"short tmpfs", "", desired.Service{Mounts: []desired.Mount{{Type: desired.MountTmpfs, Target: "/run", TmpfsOpts: "size=1m"}}}, "Host|Tmpfs", `{"/run":"size=1m"}`},
		{"long tmpfs", "", desired.Service{Mounts: []desired.Mount{{Type: desired.MountTmpfs, Target: "/run", TmpfsSize: 9, TmpfsMode: 0o700}}}, "Host|Mounts", `[{"Target":"/run","TmpfsOptions":{"Mode":448,"SizeBytes":9},"Type":"tmpfs"}]`},
		{"limits", "", desired.Service{Resources: desired.Resources{Memory: 1, PidsLimit: 5, MemorySwappiness: &swap}}, "Host|PidsLimit", `5`},
		{"blkio", "", desired.Service{Resources: desired.Resources{DeviceReadBps: []string{"/dev/a:b:100"}}}, "Host|BlkioDeviceReadBps", `[{"Path":"/dev/a:b","Rate":100}]`},
		{"device", "", desired.Service{Devices: []desired.Device{{Host: "/dev/fuse"}}}, "Host|Devices", `[{"CgroupPermissions":"rwm","PathInContainer":"/dev/fuse","PathOnHost":"/dev/fuse"}]`},
		{"systempaths", "", desired.Service{SecurityOpt: []string{"systempaths=unconfined", "no-new-privileges"}}, "Host|MaskedPaths", `[]`},
		{"init", "", desired.Service{Init: &yes}, "Host|Init", `true`},
		{"network of a peer", "", desired.Service{NetworkMode: "service:db"}, "Host|NetworkMode", `"container:dbid"`},
		{"volumes of a peer", "", desired.Service{VolumesFrom: []string{"service:db:ro", "container:other"}}, "Host|VolumesFrom", `["dbid:ro","other"]`},
		{"links", "", desired.Service{Links: []string{"db:sql"}}, "Host|Links", `["acme-db-1:sql","acme-db-1:db-1","acme-db-1:acme-db-1"]`},
		{"first network", "", desired.Service{Networks: []desired.ServiceNetwork{{Network: "front", Aliases: []string{"x"}}, {Network: "back"}}}, "Net|EndpointsConfig|acme_front|Aliases", `["acme-web-1","web","x"]`},
		{"second network later", "", desired.Service{Networks: []desired.ServiceNetwork{{Network: "front"}, {Network: "back", IPv4: "10.0.0.9"}}}, "Later|acme_back|IPAMConfig", `{"IPv4Address":"10.0.0.9"}`},
		{"second network at once", "1.44", desired.Service{Networks: []desired.ServiceNetwork{{Network: "front"}, {Network: "back"}}}, "Net|EndpointsConfig|acme_back|Aliases", `["acme-web-1","web"]`},
		{"mac before 1.44", "", desired.Service{MacAddress: "02:00:00:00:00:01", Networks: []desired.ServiceNetwork{{Network: "front"}}}, "Config|MacAddress", `"02:00:00:00:00:01"`},
		{"mac from 1.44", "1.44", desired.Service{MacAddress: "02:00:00:00:00:01", Networks: []desired.ServiceNetwork{{Network: "front"}}}, "Net|EndpointsConfig|acme_front|MacAddress", `"02:00:00:00:00:01"`},
	} {
		c.s.Name = "web"
		b := blueprint{
			target:  reconciler.Target{Spec: spec, Dir: "/dir"},
			service: c.s, replica: 1, api: c.api, image: "app:1", peers: map[string]string{"db": "dbid"},
			inherit: map[string]string{"/anon": "abc", "/declared": "def"}, volumes: map[string]struct{}{},
		}
		if strings.Contains(c.path, "Mounts") && (strings.Contains(c.name, "image") || c.name == "unless mounted") {
			b.volumes["/declared"] = struct{}{}
		}
		if b.api == "" {
			b.api = "1.41"
		}
		got, err := mapService(b)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var want any
		if err := json.Unmarshal([]byte(c.want), &want); err != nil {
			t.Fatal(err)
		}
		if v := get(t, got, c.path); !reflect.DeepEqual(v, want) {
			j, _ := json.Marshal(v)
			t.Errorf("%s: %s = %s, want %s", c.name, c.path, j, c.want)
		}
	}
}

func TestTrackedPathOfAStoredGeneration(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "files"), 0o755); err != nil {
		t.Fatal(err)
	}
	tgt := reconciler.Target{Dir: dir}
	if _, err := trackedPath(tgt, "h"); err == nil {
		t.Error("files that nobody wrote were found")
	}
	if err := os.WriteFile(filepath.Join(dir, "files", ".h.json"), []byte(`{"single":true,"entries":[{"path":"a.conf"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if p, err := trackedPath(tgt, "h"); err != nil || p != filepath.Join(dir, "files", "h", "a.conf") {
		t.Errorf("path %s, %v", p, err)
	}
}

func TestWorkDirsStayInside(t *testing.T) {
	dir := t.TempDir()
	b := func(source string) blueprint {
		return blueprint{target: reconciler.Target{Dir: dir}, service: desired.Service{
			Mounts: []desired.Mount{{Type: desired.MountWork, Source: source, Target: "/x"}}}}
	}
	for _, bad := range []string{"../x", "/etc", "a/../../x", ""} {
		if err := makeWorkDirs(b(bad)); err == nil {
			t.Errorf("%q was made", bad)
		}
	}
	if err := makeWorkDirs(b("a/b")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", filepath.Join(dir, "work", "link")); err != nil {
		t.Fatal(err)
	}
	if err := makeWorkDirs(b("link/x")); err == nil {
		t.Error("a symbolic link was followed out of the work directory")
	}
}

func TestExclusiveServicesAreNotStartedSideBySide(t *testing.T) {
	for name, s := range map[string]desired.Service{
		"port":    {Ports: []desired.Port{{Target: 80, Published: "8080"}}},
		"address": {Networks: []desired.ServiceNetwork{{IPv4: "10.0.0.2"}}},
		"host":    {NetworkMode: "host"}, "peer": {NetworkMode: "service:x"},
	} {
		if !exclusive(s) {
			t.Errorf("%s: not exclusive", name)
		}
	}
	if exclusive(desired.Service{Ports: []desired.Port{{Target: 80}, {Target: 81, Published: "8000-8010"}}}) {
		t.Error("ports of the engine's choice are exclusive")
	}
}

func TestPeersOf(t *testing.T) {
	s := desired.Service{NetworkMode: "service:a", IPC: "service:b", PID: "host", VolumesFrom: []string{"service:a:ro", "container:c"}}
	if got := reconciler.Peers(s); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("peers %v", got)
	}
}

func TestParsePlatform(t *testing.T) {
	for in, ok := range map[string]bool{"": true, "linux/amd64": true, "linux/arm64/v8": true, "linux": false, "linux/": false, "a/b/c/d": false} {
		if _, err := parsePlatform(in); (err == nil) != ok {
			t.Errorf("%q: %v", in, err)
		}
	}
}
