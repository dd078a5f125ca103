package docker

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/strslice"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/go-connections/nat"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// blueprint is everything that one container is made from besides its service.
type blueprint struct {
	target  reconciler.Target
	service desired.Service
	replica int
	api     string            // the engine's API version
	image   string            // what to write as its image: a reference or an ID
	labels  map[string]string // all of them
	peers   map[string]string // service -> container ID
	// inherit are the anonymous volumes of the container it replaces, by target.
	inherit map[string]string
	// volumes are the mount points that the image declares.
	volumes map[string]struct{}
}

func (b blueprint) newer(api string) bool { return versions.GreaterThanOrEqualTo(b.api, api) }

// config is a container in the words of the API.
type config struct {
	container *container.Config
	host      *container.HostConfig
	network   *network.NetworkingConfig
	// later are networks to be joined before the start (engines below API
	// 1.44 take only one when a container is made), by name.
	later map[string]*network.EndpointSettings
}

// mapService says what to send to the engine. What docker compose makes of the
// same service is the measure; a test compares both on a real engine.
func mapService(b blueprint) (config, error) {
	s := b.service
	host, err := mapHost(b)
	if err != nil {
		return config{}, err
	}
	c := config{container: mapContainer(b), host: host}
	mapNetworks(b, &c)
	for _, p := range s.Expose {
		port, err := exposed(p)
		if err != nil {
			return config{}, fmt.Errorf("map service %s: expose: %w", s.Name, err)
		}
		for _, one := range port {
			c.container.ExposedPorts[one] = struct{}{}
		}
	}
	return c, nil
}

func mapContainer(b blueprint) *container.Config {
	s := b.service
	c := &container.Config{
		Hostname: s.Hostname, Domainname: s.Domainname, User: s.User,
		AttachStdout: true, AttachStderr: true,
		Tty: s.TTY, OpenStdin: s.StdinOpen, Env: environment(s.Environment),
		Cmd: words(s.Command, s.ClearCommand), Entrypoint: words(s.Entrypoint, s.ClearEntrypoint),
		Image: b.image, WorkingDir: s.WorkingDir, Labels: b.labels,
		StopSignal: s.StopSignal, Healthcheck: healthcheck(s.Healthcheck), ExposedPorts: nat.PortSet{},
	}
	if s.StopGrace != nil {
		secs := int((*s.StopGrace + time.Second - 1) / time.Second) // never less than asked for
		c.StopTimeout = &secs
	}
	for _, p := range s.Ports {
		c.ExposedPorts[portKey(p)] = struct{}{}
	}
	return c
}

// words is nil for "the image's"; an empty list clears it.
func words(list []string, clear bool) strslice.StrSlice {
	if len(list) == 0 && !clear {
		return nil
	}
	return append(strslice.StrSlice{}, list...)
}

func environment(env map[string]string) []string {
	out := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		out = append(out, k+"="+env[k])
	}
	return out
}

func healthcheck(h *desired.Healthcheck) *container.HealthConfig {
	switch {
	case h == nil:
		return nil
	case h.Disable:
		return &container.HealthConfig{Test: []string{"NONE"}}
	}
	return &container.HealthConfig{
		Test: h.Test, Interval: h.Interval, Timeout: h.Timeout,
		StartPeriod: h.StartPeriod, StartInterval: h.StartInterval, Retries: h.Retries,
	}
}

func portKey(p desired.Port) nat.Port {
	proto := p.Protocol
	if proto == "" {
		proto = "tcp"
	}
	return nat.Port(fmt.Sprintf("%d/%s", p.Target, proto))
}

// exposed expands "3000-3005/udp".
func exposed(s string) ([]nat.Port, error) {
	ports, proto, ok := strings.Cut(s, "/")
	if !ok {
		proto = "tcp"
	}
	first, last, err := nat.ParsePortRangeToInt(ports)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", s, err)
	}
	var out []nat.Port
	for p := first; p <= last; p++ {
		out = append(out, nat.Port(fmt.Sprintf("%d/%s", p, proto)))
	}
	return out, nil
}

func mapHost(b blueprint) (*container.HostConfig, error) {
	s := b.service
	h := &container.HostConfig{
		Annotations: s.Annotations, CapAdd: s.CapAdd, CapDrop: s.CapDrop,
		Init: s.Init, IpcMode: container.IpcMode(b.peerMode(s.IPC)), PidMode: container.PidMode(b.peerMode(s.PID)),
		CgroupnsMode: container.CgroupnsMode(s.Cgroup), ReadonlyRootfs: s.ReadOnly,
		ShmSize: s.ShmSize, Sysctls: s.Sysctls, PortBindings: portBindings(s.Ports),
		DNS: s.DNS, DNSSearch: s.DNSSearch, DNSOptions: s.DNSOptions, ExtraHosts: s.ExtraHosts,
		StorageOpt: s.StorageOpt, UsernsMode: container.UsernsMode(s.UsernsMode), UTSMode: container.UTSMode(s.UTS),
		Privileged: s.Privileged, Isolation: container.Isolation(s.Isolation), Runtime: s.Runtime,
		GroupAdd: s.GroupAdd, OomScoreAdj: s.Resources.OOMScoreAdj, Tmpfs: map[string]string{},
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(s.Restart.Name), MaximumRetryCount: s.Restart.MaxRetries},
	}
	if s.Logging != nil {
		h.LogConfig = container.LogConfig{Type: s.Logging.Driver, Config: s.Logging.Options}
	}
	for _, o := range s.SecurityOpt {
		if o == "systempaths=unconfined" { // a word of the command line, not of the API
			h.MaskedPaths, h.ReadonlyPaths = []string{}, []string{}
			continue
		}
		h.SecurityOpt = append(h.SecurityOpt, o)
	}
	for _, v := range s.VolumesFrom {
		h.VolumesFrom = append(h.VolumesFrom, b.volumesFrom(v))
	}
	var err error
	if h.Resources, err = mapResources(s); err != nil {
		return nil, fmt.Errorf("map service %s: %w", s.Name, err)
	}
	if err := mapMounts(b, h); err != nil {
		return nil, fmt.Errorf("map service %s: %w", s.Name, err)
	}
	return h, nil
}

// peerMode turns "service:NAME" into the container that serves as it now.
func (b blueprint) peerMode(mode string) string {
	if svc, ok := strings.CutPrefix(mode, "service:"); ok {
		return "container:" + b.peers[svc]
	}
	return mode
}

func (b blueprint) volumesFrom(v string) string {
	if name, ok := strings.CutPrefix(v, "container:"); ok {
		return name
	}
	svc, access, limited := strings.Cut(strings.TrimPrefix(v, "service:"), ":")
	if limited {
		return b.peers[svc] + ":" + access
	}
	return b.peers[svc]
}

func portBindings(ports []desired.Port) nat.PortMap {
	m := nat.PortMap{}
	for _, p := range ports {
		k := portKey(p)
		m[k] = append(m[k], nat.PortBinding{HostIP: p.HostIP, HostPort: p.Published})
	}
	return m
}

// trackedPath is where the content of a tracked mount lies on this host.
func trackedPath(t reconciler.Target, hash string) (string, error) {
	dir := filepath.Join(t.Dir, "files", hash)
	if tree, ok := t.Spec.Files[hash]; ok {
		return treePath(dir, tree.Single, tree.Entries), nil
	}
	// A generation that was stored has no content with it. What the directory
	// holds is written beside it.
	b, err := os.ReadFile(filepath.Join(t.Dir, "files", "."+hash+".json"))
	if err != nil {
		return "", fmt.Errorf("find tracked files %s: %w", hash, err)
	}
	var m struct {
		Single  bool                `json:"single"`
		Entries []desired.FileEntry `json:"entries"`
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return "", fmt.Errorf("find tracked files %s: %w", hash, err)
	}
	return treePath(dir, m.Single, m.Entries), nil
}

func treePath(dir string, single bool, entries []desired.FileEntry) string {
	if single && len(entries) == 1 {
		return filepath.Join(dir, filepath.Base(entries[0].Path))
	}
	return dir
}
