package docker

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"

	"github.com/fairlead/fairlead/desired"
)

// settings are those that other hands can change on a container that exists:
// what docker update and docker network connect reach. Everything else of a
// container is fixed when it is made, and its reading differs from engine to
// engine: comparing it would replace every container after an upgrade.
// Numbers are written as the engine has them.
func settings(in container.InspectResponse) map[string]string {
	out := map[string]string{}
	if h := in.HostConfig; h != nil {
		r := h.Resources
		for k, v := range map[string]int64{
			"mem_limit": r.Memory, "memswap_limit": r.MemorySwap, "mem_reservation": r.MemoryReservation,
			"cpus": r.NanoCPUs, "cpu_shares": r.CPUShares, "cpu_period": r.CPUPeriod, "cpu_quota": r.CPUQuota,
			"cpu_rt_period": r.CPURealtimePeriod, "cpu_rt_runtime": r.CPURealtimeRuntime,
			"blkio_weight": int64(r.BlkioWeight), "pids_limit": pids(r.PidsLimit),
		} {
			out[k] = strconv.FormatInt(v, 10)
		}
		out["cpuset"], out["cpuset_mems"] = r.CpusetCpus, r.CpusetMems
		out["restart"] = restart(h.RestartPolicy)
	}
	if in.NetworkSettings != nil {
		for name, ep := range in.NetworkSettings.Networks {
			out["networks."+name] = endpoint(ep, in.ID)
		}
	}
	return out
}

// pids reads no limit as one value: null, 0 and -1 all mean it.
func pids(p *int64) int64 {
	if p == nil || *p <= 0 {
		return -1
	}
	return *p
}

func restart(p container.RestartPolicy) string {
	if p.Name == "" || p.Name == container.RestartPolicyDisabled {
		return "no"
	}
	if p.Name == container.RestartPolicyOnFailure && p.MaximumRetryCount > 0 {
		return fmt.Sprintf("%s:%d", p.Name, p.MaximumRetryCount)
	}
	return string(p.Name)
}

// restartPolicy is what docker update takes for the policy of a service.
func restartPolicy(s desired.Service) container.RestartPolicy {
	if s.Restart.Name == "" {
		return container.RestartPolicy{Name: container.RestartPolicyDisabled}
	}
	return container.RestartPolicy{Name: container.RestartPolicyMode(s.Restart.Name), MaximumRetryCount: s.Restart.MaxRetries}
}

// endpoint reads what was asked for of an attachment, without what the engine
// adds by itself: the short ID among the aliases, and addresses of its choice.
func endpoint(ep *network.EndpointSettings, id string) string {
	if ep == nil {
		return ""
	}
	aliases := slices.DeleteFunc(slices.Clone(ep.Aliases), func(a string) bool { return a == short(id) })
	slices.Sort(aliases)
	s := "aliases " + strings.Join(slices.Compact(aliases), ",")
	if ip := ep.IPAMConfig; ip != nil {
		s += addr(" ipv4 ", ip.IPv4Address) + addr(" ipv6 ", ip.IPv6Address)
	}
	return s
}

func addr(name, value string) string {
	if value == "" {
		return ""
	}
	return name + value
}

// updateFor is what docker update takes to bring the changed settings back;
// false when one of them cannot be set back on a container that exists: the
// engine takes a zero for "leave as it is".
func updateFor(s desired.Service, changed []string) (container.UpdateConfig, bool) {
	r := s.Resources
	u := container.UpdateConfig{RestartPolicy: restartPolicy(s)}
	set := func(to *int64, v int64) bool { *to = v; return v != 0 }
	for _, f := range changed {
		ok := true
		switch f {
		case "restart":
		case "mem_limit":
			// Below its old limit the engine wants the swap limit with it.
			ok = set(&u.Memory, r.Memory)
			u.MemorySwap = r.MemorySwap
			if u.MemorySwap == 0 {
				u.MemorySwap = 2 * r.Memory // the engine's own default
			}
		case "memswap_limit":
			ok = r.Memory != 0
			if u.MemorySwap = r.MemorySwap; u.MemorySwap == 0 {
				u.MemorySwap = 2 * r.Memory
			}
		case "mem_reservation":
			ok = set(&u.MemoryReservation, r.MemoryReservation)
		case "cpus":
			ok = set(&u.NanoCPUs, r.NanoCPUs)
		case "cpu_shares":
			ok = set(&u.CPUShares, r.CPUShares)
		case "cpu_period":
			ok = set(&u.CPUPeriod, r.CPUPeriod)
		case "cpu_quota":
			ok = set(&u.CPUQuota, r.CPUQuota)
		case "blkio_weight":
			u.BlkioWeight, ok = r.BlkioWeight, r.BlkioWeight != 0
		case "cpuset":
			u.CpusetCpus, ok = r.CPUSet, r.CPUSet != ""
		case "pids_limit":
			n := r.PidsLimit
			if n == 0 {
				n = -1
			}
			u.PidsLimit = &n
		default:
			ok = strings.HasPrefix(f, "networks.")
		}
		if !ok {
			return u, false
		}
	}
	return u, true
}
