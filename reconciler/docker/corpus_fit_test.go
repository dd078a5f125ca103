package docker_test

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

func (s *specSource) Latest(context.Context) (desired.Snapshot, error) {
	return desired.Snapshot{Revision: desired.Revision{Commit: s.commit}, Tree: fstest.MapFS{}}, nil
}
func (s *specSource) Status() reconciler.SourceStatus { return reconciler.SourceStatus{} }
func (s *specSource) load(fs.FS, string, fs.FS) (desired.Spec, error) {
	return s.spec, nil
}

func quiet() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}

// fitMachine gives a specification of the corpus names of its own and takes
// from it what an ordinary test machine does not have (devices, GPUs, NFS
// servers, plugins) or must not lend (its directories, fixed ports, privileges
// that a sandbox refuses). Everything else is converged as it is written.
func fitMachine(t *testing.T, r *rig, raw *client.Client, spec desired.Spec, ref string) desired.Spec {
	t.Helper()
	rename := func(name string) string { return r.instance + "-" + strings.TrimPrefix(name, "corpus_") }
	spec.Name = r.instance
	for key, n := range spec.Networks {
		n.Name = rename(n.Name)
		spec.Networks[key] = n
		if n.External {
			if _, err := raw.NetworkCreate(t.Context(), n.Name, network.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for key, v := range spec.Volumes {
		v.Name = rename(v.Name)
		if v.Driver != "" && v.Driver != "local" || v.DriverOpts["type"] == "nfs" || v.DriverOpts["device"] != "" {
			v.Driver, v.DriverOpts = "", nil
		}
		spec.Volumes[key] = v
		if v.External {
			if _, err := raw.VolumeCreate(t.Context(), volume.CreateOptions{Name: v.Name}); err != nil {
				t.Fatal(err)
			}
		}
	}
	host := t.TempDir()
	for name, s := range spec.Services {
		spec.Services[name] = fitService(t, r, raw, s, ref, host)
	}
	return spec
}

func fitService(t *testing.T, r *rig, raw *client.Client, s desired.Service, ref, host string) desired.Service {
	t.Helper()
	s.Image, s.PullPolicy, s.Platform = ref, "", ""
	if s.ContainerName != "" {
		s.ContainerName = r.instance + "-" + s.ContainerName
	}
	if s.Job {
		s.Command = append(slices.Clone(s.Command), "--end")
	}
	for i := range s.Ports {
		s.Ports[i].Published, s.Ports[i].HostIP = "", "127.0.0.1"
	}
	s.Mounts = slices.Clone(s.Mounts)
	for i, m := range s.Mounts {
		s.Mounts[i] = fitMount(m, ref, host)
	}
	s.Devices = slices.DeleteFunc(slices.Clone(s.Devices), func(d desired.Device) bool { _, err := os.Stat(d.Host); return err != nil })
	s.DeviceRequests, s.Runtime, s.StorageOpt, s.Privileged, s.Annotations = nil, "", nil, false, nil
	s.Resources.BlkioWeight, s.Resources.BlkioWeightDevice = 0, nil
	s.Resources.DeviceReadBps, s.Resources.DeviceWriteBps, s.Resources.DeviceReadIOps, s.Resources.DeviceWriteIOps = nil, nil, nil, nil
	s.Resources.OOMScoreAdj = max(s.Resources.OOMScoreAdj, 0) // to lower it takes CAP_SYS_RESOURCE
	s.Ulimits = slices.DeleteFunc(slices.Clone(s.Ulimits), beyondUs)
	if l := s.Logging; l != nil && !slices.Contains([]string{"", "json-file", "local", "none"}, l.Driver) {
		s.Logging = nil
	}
	if h := s.Healthcheck; h != nil && h.StartInterval != 0 { // engines before 25 do not know it, and the driver says so
		quick := *h
		quick.StartInterval = 0
		s.Healthcheck = &quick
	}
	if s.Healthcheck != nil && !s.Healthcheck.Disable {
		quick := *s.Healthcheck
		quick.Interval, quick.StartPeriod = 200e6, 0 // the wait for the first probe is the file's, not ours
		s.Healthcheck = &quick
	}
	fitPeers(t, r, raw, &s, ref)
	return s
}

// beyondUs reports whether this machine may not grant a limit (a sandbox
// without CAP_SYS_RESOURCE cannot raise its own).
func beyondUs(u desired.Ulimit) bool {
	kinds := map[string]int{"nofile": unix.RLIMIT_NOFILE, "nproc": unix.RLIMIT_NPROC, "memlock": unix.RLIMIT_MEMLOCK, "core": unix.RLIMIT_CORE}
	var have unix.Rlimit
	if err := unix.Getrlimit(kinds[u.Name], &have); err != nil {
		return true
	}
	return uint64(u.Hard) > have.Max // -1 is the greatest
}

func fitMount(m desired.Mount, ref, host string) desired.Mount {
	switch {
	case m.Type == desired.MountImage:
		return desired.Mount{Type: desired.MountTmpfs, Target: m.Target}
	case m.Type == desired.MountVolume:
		m.Subpath = ""
	case m.Type != desired.MountBind:
	case strings.HasSuffix(m.Source, ".sock"), m.Source == "/etc/localtime", m.Source == "/etc/timezone":
		m.Source, m.CreateHost = "/etc/hosts", false
	default:
		m.Source, m.CreateHost, m.Propagation = filepath.Join(host, m.Source), true, ""
	}
	return m
}

// fitPeers makes the containers that a file expects somebody else to run.
func fitPeers(t *testing.T, r *rig, raw *client.Client, s *desired.Service, ref string) {
	t.Helper()
	name, other := strings.CutPrefix(s.NetworkMode, "container:")
	if !other {
		return
	}
	name = r.instance + "-other-" + name
	s.NetworkMode = "container:" + name
	if _, err := raw.ContainerInspect(t.Context(), name); err == nil {
		return
	}
	made, err := raw.ContainerCreate(t.Context(), &container.Config{Image: ref}, nil, nil, nil, name)
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.ContainerStart(t.Context(), made.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
}
