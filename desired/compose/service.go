package compose

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/fairlead/fairlead/desired"
)

// mapModel turns compose-go's model into the project.
func (l *loader) mapModel() {
	l.out = desired.Project{
		Services: map[string]desired.Service{}, Networks: map[string]desired.Network{},
		Volumes: map[string]desired.Volume{}, Files: map[string]desired.FileTree{},
	}
	for _, name := range slices.Sorted(maps.Keys(l.model.Services)) {
		s := l.model.Services[name]
		l.out.Services[name] = l.service(&s)
	}
	l.networks()
	l.volumes()
	l.jobs()
}

func (l *loader) service(s *types.ServiceConfig) desired.Service {
	d := desired.Service{
		Name: s.Name, Image: s.Image, Platform: s.Platform, PullPolicy: l.pullPolicy(s), PullAfter: l.pullAfter(s),
		ContainerName: s.ContainerName, Hostname: s.Hostname, Domainname: s.DomainName,
		Command: some(s.Command), ClearCommand: s.Command != nil && len(s.Command) == 0,
		Entrypoint: some(s.Entrypoint), ClearEntrypoint: s.Entrypoint != nil && len(s.Entrypoint) == 0,
		User: s.User, GroupAdd: some(s.GroupAdd), WorkingDir: s.WorkingDir, Init: s.Init,
		TTY: s.Tty, StdinOpen: s.StdinOpen, StopSignal: s.StopSignal,
		Environment: l.environment(s), Labels: l.labels(s), Annotations: filled(s.Annotations),
		ReadOnly: s.ReadOnly, ShmSize: int64(s.ShmSize), StorageOpt: filled(s.StorageOpt),
		Healthcheck: l.healthcheck(s), Restart: l.restart(s), Logging: logging(s.Logging),
		Privileged: s.Privileged, CapAdd: some(s.CapAdd), CapDrop: some(s.CapDrop), SecurityOpt: l.securityOpt(s),
		UsernsMode: s.UserNSMode, IPC: s.Ipc, PID: s.Pid, UTS: s.Uts, Cgroup: s.Cgroup, CgroupParent: s.CgroupParent,
		Runtime: s.Runtime, Isolation: s.Isolation, DeviceCgroupRules: some(s.DeviceCgroupRules),
		Ulimits: ulimits(s.Ulimits), Resources: l.resources(s),
		Replicas: l.replicas(s), UpdateOrder: l.updateOrder(s), DependsOn: l.dependsOn(s),
	}
	if s.StopGracePeriod != nil {
		grace := time.Duration(*s.StopGracePeriod)
		d.StopGrace = &grace
	}
	if s.Image == "" && s.Build == nil && s.Provider == nil && !l.wasRemoved("services", s.Name, "image") {
		l.wrong([]string{"services", s.Name}, "the service has no image", "name one under services."+s.Name+".image")
	}
	l.devices(s, &d)
	l.networking(s, &d)
	l.mounts(s, &d)
	return d
}

// some gives nil for an empty list, so that it is left out of JSON.
func some[S ~[]string](s S) []string {
	if len(s) == 0 {
		return nil
	}
	return slices.Clone([]string(s))
}

func filled[M ~map[string]string](m M) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return maps.Clone(map[string]string(m))
}

func (l *loader) pullPolicy(s *types.ServiceConfig) string {
	p := []string{"services", s.Name, "pull_policy"}
	switch s.PullPolicy {
	case "":
		return ""
	case "missing", "if_not_present":
		return "missing"
	case "always", "never":
		return s.PullPolicy
	case "build":
		if s.Image != "" {
			l.noteAt(p, "nothing is built here: the image is pulled when it is missing")
		}
		return ""
	}
	if policy, _, err := s.GetPullPolicy(); err == nil && policy == types.PullPolicyRefresh {
		return policy
	}
	l.wrong(p, s.PullPolicy+" is not a pull policy", "write missing, always, never, daily, weekly, or every_ with a period (every_12h)")
	return ""
}

// pullAfter is how old the last pull of the image may be.
func (l *loader) pullAfter(s *types.ServiceConfig) time.Duration {
	p := []string{"services", s.Name, "pull_policy"}
	policy, period, err := s.GetPullPolicy()
	refresh := err == nil && policy == types.PullPolicyRefresh
	if s.PullRefreshAfter != "" {
		p[2] = "pull_refresh_after"
		if s.PullPolicy != types.PullPolicyRefresh {
			l.noteAt(p, "has no effect without pull_policy: refresh")
		} else {
			written := *s
			written.PullPolicy = "every_" + s.PullRefreshAfter
			_, period, _ = written.GetPullPolicy() // 0 when it is none
		}
	}
	if refresh && period <= 0 {
		l.wrong(p, "says no period after which the image is fetched again", "write pull_policy: daily, weekly, or every_ with a period (every_12h)")
	}
	return period
}

// restart gives the restart policy; deploy.restart_policy is the stronger one,
// as in docker compose.
func (l *loader) restart(s *types.ServiceConfig) desired.Restart {
	p, written := []string{"services", s.Name, "restart"}, s.Restart
	name, tries, limited := strings.Cut(s.Restart, ":")
	r := desired.Restart{Name: name}
	if limited {
		n, err := strconv.Atoi(tries)
		if err != nil || n < 0 || name != "on-failure" {
			l.wrong(p, written+" is not a restart policy", "on-failure:N is the only one with a number")
			return desired.Restart{}
		}
		r.MaxRetries = n
	}
	if s.Deploy != nil && s.Deploy.RestartPolicy != nil {
		policy := s.Deploy.RestartPolicy
		p, written = []string{"services", s.Name, "deploy", "restart_policy", "condition"}, policy.Condition
		r = desired.Restart{Name: policy.Condition}
		if policy.Condition == "" {
			r.Name = "any" // the default of the compose specification
		}
		if policy.MaxAttempts != nil {
			r.MaxRetries = int(min(*policy.MaxAttempts, 1<<30))
		}
	}
	switch r.Name {
	case "none":
		r.Name = "no"
	case "any":
		r.Name = "always"
	case "", "no", "always", "on-failure", "unless-stopped":
	default:
		l.wrong(p, written+" is not a restart policy", "write no, always, on-failure or unless-stopped")
		return desired.Restart{}
	}
	if r.Name != "on-failure" && r.MaxRetries != 0 {
		l.noteAt(append(p[:len(p)-1:len(p)-1], "max_attempts"), "the key has no effect: only on-failure counts attempts")
		r.MaxRetries = 0
	}
	return r
}

func logging(c *types.LoggingConfig) *desired.Logging {
	if c == nil || c.Driver == "" && len(c.Options) == 0 {
		return nil
	}
	return &desired.Logging{Driver: c.Driver, Options: filled(c.Options)}
}

func (l *loader) healthcheck(s *types.ServiceConfig) *desired.Healthcheck {
	c := s.HealthCheck
	if c == nil {
		return nil
	}
	if c.Disable || len(c.Test) > 0 && c.Test[0] == "NONE" {
		return &desired.Healthcheck{Disable: true}
	}
	if len(c.Test) > 0 && c.Test[0] != "CMD" && c.Test[0] != "CMD-SHELL" {
		l.wrong([]string{"services", s.Name, "healthcheck", "test"}, "the list begins with "+strconv.Quote(c.Test[0]), "begin it with CMD, CMD-SHELL or NONE, or write one string")
	}
	h := &desired.Healthcheck{
		Test: some(c.Test), Interval: duration(c.Interval), Timeout: duration(c.Timeout),
		StartPeriod: duration(c.StartPeriod), StartInterval: duration(c.StartInterval),
	}
	if c.Retries != nil {
		h.Retries = int(min(*c.Retries, 1<<30))
	}
	return h
}

func duration(d *types.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return time.Duration(*d)
}

func (l *loader) replicas(s *types.ServiceConfig) int {
	n := 1
	if s.Deploy != nil && s.Deploy.Replicas != nil {
		n = *s.Deploy.Replicas
		if s.Scale != nil && *s.Scale != n {
			l.wrong([]string{"services", s.Name, "scale"}, "scale and deploy.replicas differ", "keep one of them")
		}
	}
	if s.Scale != nil {
		n = *s.Scale
	}
	if n < 0 {
		l.wrong([]string{"services", s.Name, "scale"}, "the number of replicas is negative", "write 0 or more")
		return 1
	}
	return n
}

func (l *loader) updateOrder(s *types.ServiceConfig) string {
	if s.Deploy == nil {
		return ""
	}
	if m := s.Deploy.Mode; m != "" && m != "replicated" {
		l.wrong([]string{"services", s.Name, "deploy", "mode"}, m+" is not supported by this version", "it belongs to Swarm: leave it out, or write replicated")
	}
	if s.Deploy.UpdateConfig == nil {
		return ""
	}
	switch o := s.Deploy.UpdateConfig.Order; o {
	case "", "stop-first", "start-first":
		return o
	default:
		l.wrong([]string{"services", s.Name, "deploy", "update_config", "order"}, o+" is not an order", "write stop-first or start-first")
		return ""
	}
}

func (l *loader) dependsOn(s *types.ServiceConfig) []desired.Dependency {
	var deps []desired.Dependency
	for _, name := range slices.Sorted(maps.Keys(s.DependsOn)) {
		c := s.DependsOn[name]
		if _, on := l.model.Services[name]; !on {
			if c.Required {
				l.unknownService([]string{"services", s.Name, "depends_on", name}, name)
			} else {
				l.noteAt([]string{"services", s.Name, "depends_on", name}, "the optional dependency is not started, so nothing waits for it")
			}
			continue
		}
		condition := desired.Condition(c.Condition)
		switch condition {
		case desired.Started, desired.Healthy, desired.Completed:
		case "":
			condition = desired.Started
		default:
			l.wrong([]string{"services", s.Name, "depends_on", name, "condition"}, c.Condition+" is not a condition", didYouMean(c.Condition, []string{string(desired.Started), string(desired.Healthy), string(desired.Completed)}))
		}
		deps = append(deps, desired.Dependency{Service: name, Condition: condition, Restart: c.Restart, Required: c.Required})
	}
	return deps
}

// unknownService reports a reference to a service that is not there, or that
// no active profile starts.
func (l *loader) unknownService(p []string, name string) {
	if l.wasRemoved("services", name) {
		return
	}
	if !l.written(p) { // the reference stands in links, network_mode or the like, which report it themselves
		return
	}
	if off, ok := l.model.DisabledServices[name]; ok {
		l.wrong(p, "the service "+name+" is not started: it belongs to the profile "+strings.Join(off.Profiles, ", "),
			"add the profile under compose.profiles in instance.yaml, or write required: false")
		return
	}
	names := append(slices.Collect(maps.Keys(l.model.Services)), slices.Collect(maps.Keys(l.model.DisabledServices))...)
	l.wrong(p, "there is no service "+name, didYouMean(name, names))
}

// jobs marks the services whose end is success: those that others wait for,
// and those whose restart policy says so.
func (l *loader) jobs() {
	waited := map[string]bool{}
	for _, s := range l.out.Services {
		for _, d := range s.DependsOn {
			if d.Condition == desired.Completed {
				waited[d.Service] = true
			}
		}
	}
	for name, s := range l.out.Services {
		s.Job = waited[name] || s.Restart.Name == "no" || s.Restart.Name == "on-failure"
		l.out.Services[name] = s
	}
}
