package desired

import (
	"errors"
	"path"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestImagesOfAPolicy(t *testing.T) {
	for _, tt := range []struct {
		globs string
		good  []string
		bad   []string
	}{
		{"ghcr.io/keboola/*",
			[]string{"ghcr.io/keboola/app", "ghcr.io/keboola/app:1", "ghcr.io/keboola/app:1@" + someDigest, "GHCR.IO/keboola/app", "Ghcr.io/keboola/a-b_c"},
			[]string{"ghcr.io/keboola", "ghcr.io/keboola/a/b", "ghcr.io/keboola/../evil", "ghcr.io/keboola/../../evil/x", "ghcr.io:443/keboola/app",
				"ghcr.io@evil.com/keboola/app", "user:pass@ghcr.io/keboola/app", "evil.com/ghcr.io/keboola/app", "ghcr.io.evil.com/keboola/app",
				"xghcr.io/keboola/app", "ghcr.io/keboolax/app", "ghcr.io/Keboola/app", "ghcr.io/keboola/app@sha256:1", "keboola/app", "app",
				"ghcr.io/keboola//app", "ghcr.io/keboola/", "https://ghcr.io/keboola/app", "ghcr.io/keboola/app\n", "ghcr.io/keboola/./app", " "}},
		{"postgres", []string{"postgres", "postgres:16", "library/postgres", "docker.io/postgres", "docker.io/library/postgres@" + someDigest,
			"index.docker.io/library/postgres", "Docker.io/library/postgres"},
			[]string{"postgresx", "evil/postgres", "localhost/postgres", "docker.io/evil/postgres", "docker.io:443/library/postgres", "Postgres"}},
		{"docker.io/library/*", []string{"redis", "docker.io/redis:7"}, []string{"grafana/grafana", "sha256:" + strings.Repeat("0", 64), strings.Repeat("ab", 32)}},
		{"grafana/*", []string{"grafana/grafana", "docker.io/grafana/loki:3"}, []string{"grafana", "ghcr.io/grafana/loki"}},
		{"ghcr.io/keboola/**", []string{"ghcr.io/keboola/a", "ghcr.io/keboola/a/b/c:1"}, []string{"ghcr.io/keboola", "ghcr.io/other/a"}},
		{"localhost:5000/a", []string{"localhost:5000/a:1"}, []string{"localhost/a", "localhost:5001/a", "localhost:5000/a/b"}},
		{"*.gcr.io/acme/*", []string{"eu.gcr.io/acme/x"}, []string{"gcr.io/acme/x", "a/b.gcr.io/acme/x"}},
		{"", nil, []string{"a", "docker.io/library/a"}},
	} {
		b := Bounds{Of: "it", Images: strings.Fields(tt.globs)}
		for _, ref := range tt.good {
			if got := b.Image(ref); got != nil {
				t.Errorf("%s refuses %q: %+v", tt.globs, ref, got)
			}
		}
		for _, ref := range tt.bad {
			if got := b.Image(ref); got == nil || got.Rule != RuleImages {
				t.Errorf("%s permits %q", tt.globs, ref)
			}
		}
	}
	if (Bounds{}).Image("a/../b") != nil {
		t.Error("without a list an image is refused")
	}
}

var someDigest = "sha256:" + strings.Repeat("0123456789abcdef", 4)

func TestGlobsThatWouldSurprise(t *testing.T) {
	for _, bad := range []string{"*", "**", "*/a", "**/a", "ghcr.io/**/a", "a:1", "ghcr.io/a:1", "ghcr.io/a@" + someDigest, "ghcr.io/../a", "ghcr.io//a", "a/", "/a",
		"ghcr.io/a[", "a b", "ghcr.io/x**", `ghcr.io\a`, ""} {
		if s := syntaxes["imageGlob"]; s.text(bad) == "" {
			t.Errorf("%q is a glob", bad)
		}
	}
	for _, good := range []string{"postgres", "ghcr.io/*/app", "localhost:5000/a", "ghcr.io/a/**", "*.gcr.io/a/b", "ghcr.io/a/[a-c]*"} {
		if text := syntaxes["imageGlob"].text(good); text != "" {
			t.Error(text)
		}
	}
}

// FuzzImageGlob: whatever is written, what is permitted is a reference whose
// repository lies where the fixed beginning of the glob says.
func FuzzImageGlob(f *testing.F) {
	for _, s := range []string{"ghcr.io/keboola/app:1", "ghcr.io/keboola/../evil", "GHCR.io/keboola/a/b", "ghcr.io/keboola/%2e%2e/x", "a@b/c"} {
		f.Add("ghcr.io/keboola/*", s)
		f.Add("ghcr.io/keboola/**", s)
	}
	f.Fuzz(func(t *testing.T, glob, ref string) {
		if syntaxes["imageGlob"].text(glob) != "" {
			return
		}
		permitted := Bounds{Images: []string{glob}}.Image(ref) == nil && ref != ""
		if !permitted {
			return
		}
		r, err := ParseImageRef(ref)
		if err != nil {
			t.Fatalf("%q permits %q: %v", glob, ref, err)
		}
		spelt, fixed := spelt(r.Repository), speltFixed(glob)
		if !strings.HasPrefix(spelt, fixed) || strings.Contains(spelt, "..") {
			t.Fatalf("%q permits %q, which does not begin with %q", glob, spelt, fixed)
		}
	})
}

func speltFixed(glob string) string {
	s := spelt(glob)
	if i := strings.IndexAny(s, "*?["); i >= 0 {
		return s[:i]
	}
	return s
}

func TestPathsOfAPolicy(t *testing.T) {
	links := map[string]string{"/data/out": "/etc", "/data/sock": "/run/docker.sock", "/srv": "/mnt/disk", "/srv/a": "/mnt/disk/a", "/var/run": "/run"}
	real := func(p string) (string, error) {
		if p == "/data/nowhere" {
			return "", errors.New("no such file")
		}
		if to, ok := links[p]; ok {
			return to, nil
		}
		if rest, ok := strings.CutPrefix(p, "/var/run/"); ok {
			return path.Join("/run", rest), nil
		}
		return p, nil
	}
	no := false
	mounts := Bounds{Of: "it", HostMounts: []string{"/data", "/srv"}}
	confined := Bounds{Of: "it", Privileged: &no, Private: []string{"/var/lib/fairlead"}, Shared: []string{"/var/lib/fairlead/certs"}}
	for _, tt := range []struct {
		b    Bounds
		name string
		rule string
	}{
		{mounts, "/data", ""}, {mounts, "/data/", ""}, {mounts, "/data/a/b", ""}, {mounts, "/srv/a", ""}, {mounts, "/mnt/disk/b", ""},
		{mounts, "/data/../etc", RuleHostMounts}, {mounts, "/database", RuleHostMounts}, {mounts, "/", RuleHostMounts}, {mounts, "/etc", RuleHostMounts},
		{mounts, "/data/out", RuleHostMounts}, {mounts, "/data/nowhere", RuleHostMounts}, {mounts, "", RuleHostMounts}, {mounts, "data", RuleHostMounts},
		{Bounds{HostMounts: []string{}}, "/data", RuleHostMounts}, {Bounds{HostMounts: []string{"/"}}, "/etc", ""}, {Bounds{}, "/etc", ""},
		{confined, "run/docker.sock", RulePrivileged}, {confined, "../run", RulePrivileged}, {confined, "", RulePrivileged},
		{confined, "/etc/localtime", ""}, {confined, "/data", ""}, {confined, "/var/lib/fairlead/certs/a/b", ""}, {confined, "/var/runner", ""},
		{confined, "/var/run/docker.sock", RulePrivileged}, {confined, "/run/docker.sock", RulePrivileged}, {confined, "/run", RulePrivileged},
		{confined, "/var/run", RulePrivileged}, {confined, "/var", RulePrivileged}, {confined, "/", RulePrivileged}, {confined, "//proc/1/root", RulePrivileged},
		{confined, "/sys/fs/cgroup", RulePrivileged}, {confined, "/dev/sda", RulePrivileged}, {confined, "/data/sock", RulePrivileged},
		{confined, "/var/lib/fairlead", RulePrivileged}, {confined, "/var/lib/fairlead/state", RulePrivileged}, {confined, "/var/lib/docker/volumes/x", RulePrivileged},
	} {
		got := tt.b.HostPath(tt.name, real)
		if (got == nil) != (tt.rule == "") || got != nil && got.Rule != tt.rule {
			t.Errorf("%q: %+v, want %q", tt.name, got, tt.rule)
		}
	}
	if mounts.HostPath("/data/out", nil) != nil {
		t.Error("without a host a link cannot be known")
	}
}

// What is permitted lies in a listed directory, however it is written.
func TestPathsNeverLeave(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.SampledFrom([]string{"data", "..", ".", "", "etc", "a"})
		name := "/" + strings.Join(rapid.SliceOf(part).Draw(t, "parts"), "/")
		permitted := Bounds{HostMounts: []string{"/data"}}.HostPath(name, nil) == nil
		if clean := path.Clean(name); permitted != (clean == "/data" || strings.HasPrefix(clean, "/data/")) {
			t.Fatalf("%q: %v", name, permitted)
		}
	})
}

func TestVolumesOfAPolicy(t *testing.T) {
	no := false
	mounts, confined := Bounds{HostMounts: []string{"/data"}}, Bounds{Privileged: &no}
	opts := func(kind, o, device string) Volume {
		return Volume{DriverOpts: map[string]string{"type": kind, "o": o, "device": device}}
	}
	for _, tt := range []struct {
		b    Bounds
		v    Volume
		rule string
	}{
		{mounts, Volume{}, ""}, {mounts, Volume{Driver: "local"}, ""}, {mounts, opts("none", "bind", "/data/x"), ""}, {mounts, opts("tmpfs", "size=1m", "tmpfs"), ""},
		{mounts, opts("nfs", "addr=10.0.0.1", ":/export"), ""}, {mounts, Volume{External: true, Driver: "x"}, ""},
		{mounts, opts("none", "bind", "/etc"), RuleHostMounts}, {mounts, opts("nfs", "ro,bind", "/etc"), RuleHostMounts}, {mounts, opts("nfs", "rbind", "/etc"), RuleHostMounts},
		{mounts, opts("none", "", "/data/../etc"), RuleHostMounts}, {mounts, opts("ext4", "", "/dev/sda1"), RuleHostMounts}, {mounts, opts("", "", "/etc"), RuleHostMounts},
		{mounts, opts("overlay", "lowerdir=/etc,upperdir=/data/u,workdir=/data/w", "overlay"), RuleHostMounts}, {mounts, Volume{Driver: "local-persist"}, RuleHostMounts},
		{confined, Volume{Driver: "rexray"}, ""}, {confined, opts("none", "bind", "/etc"), ""}, {confined, opts("none", "bind", "/run"), RulePrivileged},
		{confined, opts("none", "rbind", "run"), RulePrivileged}, {confined, opts("none", "", "run/docker.sock"), RulePrivileged},
		{confined, opts("ext4", "", "/dev/sda1"), RulePrivileged}, {Bounds{}, opts("ext4", "", "/dev/sda1"), ""},
	} {
		got := tt.b.Volume(tt.v, nil)
		if (got == nil) != (tt.rule == "") || got != nil && got.Rule != tt.rule {
			t.Errorf("%+v: %+v, want %q", tt.v, got, tt.rule)
		}
	}
}

func TestPrivileges(t *testing.T) {
	no, yes := false, true
	for _, tt := range []struct {
		s    Service
		want string // key paths
	}{
		{Service{}, ""},
		{Service{CapAdd: []string{"NET_BIND_SERVICE", "cap_chown", "KILL"}, CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges:true", "seccomp=builtin",
			"apparmor=docker-default", "label=level:s0:c1"}, PID: "service:a", NetworkMode: "none", IPC: "private", Cgroup: "private", DeviceRequests: []DeviceRequest{{Count: -1}}}, ""},
		{Service{Privileged: true}, "privileged"},
		{Service{CapAdd: []string{"SYS_ADMIN", "KILL", "all", "CAP_SYS_PTRACE", "DAC_READ_SEARCH", "NET_ADMIN", "BPF", ""}}, "cap_add.0 cap_add.2 cap_add.3 cap_add.4 cap_add.5 cap_add.6 cap_add.7"},
		{Service{SecurityOpt: []string{"seccomp=unconfined", "seccomp:unconfined", "apparmor=unconfined", "apparmor:unconfined", "label=disable", "label:disable",
			"systempaths=unconfined", "label=type:spc_t", `seccomp={"defaultAction":"SCMP_ACT_ALLOW"}`, "writable-cgroups=true"}},
			"security_opt.0 security_opt.1 security_opt.2 security_opt.3 security_opt.4 security_opt.5 security_opt.6 security_opt.7 security_opt.8 security_opt.9"},
		{Service{PID: "host", IPC: "host", NetworkMode: "host", UTS: "host", UsernsMode: "host", Cgroup: "host"}, "pid ipc network_mode uts userns_mode cgroup"},
		{Service{PID: "container:x", IPC: "container:x", NetworkMode: "container:x", VolumesFrom: []string{"service:a", "container:x:ro"}}, "pid ipc network_mode volumes_from.1"},
		{Service{Devices: []Device{{Host: "/dev/sda"}}, DeviceCgroupRules: []string{"a *:* rwm"}}, "devices.0 device_cgroup_rules.0"},
	} {
		var got []string
		for _, b := range (Bounds{Privileged: &no}).Privileges(tt.s) {
			got = append(got, strings.Join(b.Path, "."))
			if b.Rule != RulePrivileged || b.Text == "" || b.Hint == "" {
				t.Errorf("%+v", b)
			}
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%+v: %s, want %s", tt.s, s, tt.want)
		}
		if len((Bounds{}).Privileges(tt.s))+len((Bounds{Privileged: &yes}).Privileges(tt.s)) > 0 {
			t.Errorf("%+v is refused without a reason", tt.s)
		}
	}
}
