package compose

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/fairlead/fairlead/desired"
)

func itoa(i int) string { return strconv.Itoa(i) }

// resources gives the limits of a service. Those under deploy are the stronger
// ones, as in docker compose; two different values for one limit are an error.
func (l *loader) resources(s *types.ServiceConfig) desired.Resources {
	r := desired.Resources{
		NanoCPUs: nano(s.CPUS), CPUCount: s.CPUCount, CPUPercent: int64(s.CPUPercent * 100), CPUShares: s.CPUShares,
		CPUPeriod: s.CPUPeriod, CPUQuota: s.CPUQuota, CPURealtimePeriod: s.CPURTPeriod, CPURealtimeRun: s.CPURTRuntime,
		CPUSet: s.CPUSet, Memory: int64(s.MemLimit), MemoryReservation: int64(s.MemReservation), MemorySwap: int64(s.MemSwapLimit),
		OOMKillDisable: s.OomKillDisable, OOMScoreAdj: int(s.OomScoreAdj), PidsLimit: s.PidsLimit,
	}
	if v := int64(s.MemSwappiness); v != 0 {
		r.MemorySwappiness = &v
	}
	if b := s.BlkioConfig; b != nil {
		r.BlkioWeight = b.Weight
		for _, d := range b.WeightDevice {
			r.BlkioWeightDevice = append(r.BlkioWeightDevice, fmt.Sprintf("%s:%d", d.Path, d.Weight))
		}
		r.DeviceReadBps, r.DeviceReadIOps = throttle(b.DeviceReadBps), throttle(b.DeviceReadIOps)
		r.DeviceWriteBps, r.DeviceWriteIOps = throttle(b.DeviceWriteBps), throttle(b.DeviceWriteIOps)
	}
	if s.Deploy == nil {
		return r
	}
	if lim := s.Deploy.Resources.Limits; lim != nil {
		l.stronger(s.Name, "cpus", "limits.cpus", &r.NanoCPUs, nano(float32(lim.NanoCPUs)))
		l.stronger(s.Name, "mem_limit", "limits.memory", &r.Memory, int64(lim.MemoryBytes))
		l.stronger(s.Name, "pids_limit", "limits.pids", &r.PidsLimit, lim.Pids)
	}
	if res := s.Deploy.Resources.Reservations; res != nil {
		l.stronger(s.Name, "mem_reservation", "reservations.memory", &r.MemoryReservation, int64(res.MemoryBytes))
	}
	return r
}

// nano counts 1e-9 CPUs. compose-go keeps them as float32, whose error would
// show in the ninth digit.
func nano(cpus float32) int64 {
	exact, err := strconv.ParseFloat(strconv.FormatFloat(float64(cpus), 'g', -1, 32), 64)
	if err != nil {
		return 0
	}
	return int64(math.Round(exact * 1e9))
}

func (l *loader) stronger(service, plain, deploy string, have *int64, want int64) {
	if want == 0 {
		return
	}
	if *have != 0 && *have != want {
		l.wrong([]string{"services", service, plain}, fmt.Sprintf("%s and deploy.resources.%s differ", plain, deploy), "keep one of them")
	}
	*have = want
}

func throttle(devices []types.ThrottleDevice) []string {
	var out []string
	for _, d := range devices {
		out = append(out, fmt.Sprintf("%s:%d", d.Path, int64(d.Rate)))
	}
	return out
}

func ulimits(m map[string]*types.UlimitsConfig) []desired.Ulimit {
	var out []desired.Ulimit
	for _, name := range slices.Sorted(maps.Keys(m)) {
		u := m[name]
		if u == nil {
			continue
		}
		d := desired.Ulimit{Name: name, Soft: int64(u.Single), Hard: int64(u.Single)}
		if u.Soft != 0 {
			d.Soft = int64(u.Soft)
		}
		if u.Hard != 0 {
			d.Hard = int64(u.Hard)
		}
		out = append(out, d)
	}
	return out
}

// cdiName is a qualified name of the Container Device Interface:
// vendor.com/class=name.
var cdiName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]/[A-Za-z][A-Za-z0-9_-]*=[A-Za-z0-9][A-Za-z0-9_.:-]*$`)

func (l *loader) devices(s *types.ServiceConfig, d *desired.Service) {
	var cdi []string
	for _, v := range s.Devices {
		if v.Source == v.Target && cdiName.MatchString(v.Source) {
			cdi = append(cdi, v.Source)
			continue
		}
		d.Devices = append(d.Devices, desired.Device{Host: v.Source, Container: v.Target, Permissions: v.Permissions})
	}
	if s.Deploy != nil && s.Deploy.Resources.Reservations != nil {
		for _, r := range s.Deploy.Resources.Reservations.Devices {
			d.DeviceRequests = append(d.DeviceRequests, request(r, r.Capabilities))
		}
	}
	if len(cdi) > 0 {
		d.DeviceRequests = append(d.DeviceRequests, desired.DeviceRequest{Driver: "cdi", IDs: cdi})
	}
	for _, g := range s.Gpus {
		d.DeviceRequests = append(d.DeviceRequests, request(g, append(slices.Clone(g.Capabilities), "gpu")))
	}
}

func request(r types.DeviceRequest, capabilities []string) desired.DeviceRequest {
	return desired.DeviceRequest{
		Driver: r.Driver, Count: int(r.Count), IDs: some(r.IDs), Capabilities: some(capabilities), Options: filled(r.Options),
	}
}
