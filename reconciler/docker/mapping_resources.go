package docker

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/blkiodev"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-units"

	"github.com/fairlead/fairlead/desired"
)

func mapResources(s desired.Service) (container.Resources, error) {
	r := s.Resources
	out := container.Resources{
		CgroupParent: s.CgroupParent, Memory: r.Memory, MemorySwap: r.MemorySwap,
		MemorySwappiness: r.MemorySwappiness, MemoryReservation: r.MemoryReservation,
		OomKillDisable: &r.OOMKillDisable, CPUCount: r.CPUCount, CPUPercent: r.CPUPercent,
		CPUPeriod: r.CPUPeriod, CPUQuota: r.CPUQuota, CPURealtimePeriod: r.CPURealtimePeriod,
		CPURealtimeRuntime: r.CPURealtimeRun, CPUShares: r.CPUShares, NanoCPUs: r.NanoCPUs,
		CpusetCpus: r.CPUSet, DeviceCgroupRules: s.DeviceCgroupRules, BlkioWeight: r.BlkioWeight,
	}
	if r.PidsLimit != 0 {
		out.PidsLimit = &r.PidsLimit
	}
	for _, u := range s.Ulimits {
		out.Ulimits = append(out.Ulimits, &units.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	mapDevices(s, &out)
	return out, mapBlkio(r, &out)
}

func mapDevices(s desired.Service, out *container.Resources) {
	var cdi []string
	for _, d := range s.Devices {
		if d.Container == "" {
			d.Container = d.Host
		}
		if d.Host == d.Container && isCDI(d.Host) {
			cdi = append(cdi, d.Host)
			continue
		}
		if d.Permissions == "" {
			d.Permissions = "rwm"
		}
		out.Devices = append(out.Devices, container.DeviceMapping{
			PathOnHost: d.Host, PathInContainer: d.Container, CgroupPermissions: d.Permissions,
		})
	}
	if len(cdi) > 0 {
		out.DeviceRequests = append(out.DeviceRequests, container.DeviceRequest{Driver: "cdi", DeviceIDs: cdi})
	}
	for _, q := range s.DeviceRequests {
		out.DeviceRequests = append(out.DeviceRequests, container.DeviceRequest{
			Driver: q.Driver, Count: q.Count, DeviceIDs: q.IDs,
			Capabilities: [][]string{q.Capabilities}, Options: q.Options,
		})
	}
}

// isCDI recognises the name of a device of the Container Device Interface,
// "vendor.com/class=name"; a path of the host begins with a slash.
func isCDI(name string) bool {
	vendor, rest, ok := strings.Cut(name, "/")
	return ok && vendor != "" && strings.Contains(rest, "=")
}

func mapBlkio(r desired.Resources, out *container.Resources) error {
	for _, v := range r.BlkioWeightDevice {
		path, n, err := deviceNumber(v)
		if err != nil {
			return fmt.Errorf("blkio weight_device: %w", err)
		}
		out.BlkioWeightDevice = append(out.BlkioWeightDevice, &blkiodev.WeightDevice{Path: path, Weight: uint16(n)})
	}
	for _, t := range []struct {
		name string
		in   []string
		out  *[]*blkiodev.ThrottleDevice
	}{
		{"device_read_bps", r.DeviceReadBps, &out.BlkioDeviceReadBps},
		{"device_read_iops", r.DeviceReadIOps, &out.BlkioDeviceReadIOps},
		{"device_write_bps", r.DeviceWriteBps, &out.BlkioDeviceWriteBps},
		{"device_write_iops", r.DeviceWriteIOps, &out.BlkioDeviceWriteIOps},
	} {
		for _, v := range t.in {
			path, n, err := deviceNumber(v)
			if err != nil {
				return fmt.Errorf("blkio %s: %w", t.name, err)
			}
			*t.out = append(*t.out, &blkiodev.ThrottleDevice{Path: path, Rate: n})
		}
	}
	return nil
}

// deviceNumber reads "path:number".
func deviceNumber(s string) (string, uint64, error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", 0, fmt.Errorf("%q is not of the form path:number", s)
	}
	n, err := strconv.ParseUint(s[i+1:], 10, 64)
	if err != nil {
		return "", 0, fmt.Errorf("%q is not of the form path:number", s)
	}
	return s[:i], n, nil
}
