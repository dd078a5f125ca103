package compose

import "strings"

// fate is what becomes of a key of the compose specification.
type fate string

const (
	carried  fate = "carried"  // it is part of the desired.Service, Network or Volume
	resolved fate = "resolved" // it is used while reading, and nothing of it is left
	ignored  fate = "ignored"  // it has no effect on one host, as with docker compose: a note
	refused  fate = "refused"  // leaving it out would change what runs: an error
)

// key is one row of the table of docs/compose.md. Path has * for a name that
// the user chooses; entries of lists have no part of their own.
type key struct {
	path string
	fate fate
	text string
}

// keys is every key of compose-go's model. A test compares it with the types.
func keys() []key {
	var all []key
	for _, g := range [][]key{
		serviceKeys(), deployKeys(), ignoredDeployKeys(), networkingKeys(), mountKeys(), resourceKeys(),
		networkKeys(), volumeKeys(), objectKeys("configs"), objectKeys("secrets"), otherKeys(),
	} {
		all = append(all, g...)
	}
	return all
}

// prefixed completes the paths of a group.
func prefixed(prefix string, rows ...key) []key {
	for i := range rows {
		rows[i].path = prefix + "." + rows[i].path
	}
	return rows
}

func serviceKeys() []key {
	return prefixed("services.*", []key{
		{"name", resolved, "the key of the service; not a key that can be written"},
		{"image", carried, "must be there, also beside `build`"},
		{"build", ignored, "set aside with a note when there is an `image`; without one an error: nothing is built here"},
		{"dockerfile", refused, "build the image elsewhere and name it under `image`"},
		{"platform", carried, ""},
		{"pull_policy", carried, "`missing` (also `if_not_present`), `always`, `never`, `daily`, `weekly`, `every_…` (`every_12h`), `refresh`: see above; `build` is noted"},
		{"pull_refresh_after", carried, "the period of `pull_policy: refresh`; with another policy a note"},
		{"container_name", carried, "unique; not with more than one replica"},
		{"hostname", carried, ""},
		{"domainname", carried, ""},
		{"command", carried, "`[]` clears the image's"},
		{"entrypoint", carried, "`[]` clears the image's"},
		{"user", carried, ""},
		{"group_add", carried, ""},
		{"working_dir", carried, ""},
		{"init", carried, ""},
		{"tty", carried, ""},
		{"stdin_open", carried, ""},
		{"stop_signal", carried, ""},
		{"stop_grace_period", carried, ""},
		{"environment", carried, "a name without a value takes the variable of that name from `.env` or `compose.env`, never from the daemon's own environment"},
		{"env_file.path", resolved, "merged into `environment`"},
		{"env_file.required", resolved, ""},
		{"env_file.format", resolved, "empty or `raw`"},
		{"labels", carried, ""},
		{"label_file", resolved, "merged into `labels`"},
		{"annotations", carried, "needs API 1.43"},
		{"profiles", resolved, "active are those of `compose.profiles`, or else `COMPOSE_PROFILES` of `.env`"},
		{"extends.file", resolved, "within the repository"},
		{"extends.service", resolved, ""},
		{"depends_on.*.condition", carried, "`service_started`, `service_healthy`, `service_completed_successfully`"},
		{"depends_on.*.restart", carried, ""},
		{"depends_on.*.required", carried, "an optional one that is missing, or not in an active profile, is left out"},
		{"healthcheck.test", carried, ""},
		{"healthcheck.interval", carried, ""},
		{"healthcheck.timeout", carried, ""},
		{"healthcheck.retries", carried, ""},
		{"healthcheck.start_period", carried, ""},
		{"healthcheck.start_interval", carried, "needs API 1.44"},
		{"healthcheck.disable", carried, "also `test: NONE`"},
		{"restart", carried, "`no` and `on-failure` make a job of the service: exit code 0 is its end"},
		{"scale", carried, "as `deploy.replicas`"},
		{"logging.driver", carried, ""},
		{"logging.options", carried, ""},
		{"log_driver", refused, "write `logging.driver`"},
		{"log_opt", refused, "write `logging.options`"},
		{"privileged", carried, ""},
		{"cap_add", carried, ""},
		{"cap_drop", carried, ""},
		{"security_opt", carried, "the file of a seccomp profile is read from the repository"},
		{"userns_mode", carried, ""},
		{"ipc", carried, "also `service:NAME`"},
		{"pid", carried, "also `service:NAME`"},
		{"uts", carried, ""},
		{"cgroup", carried, "`host` or `private`"},
		{"cgroup_parent", carried, ""},
		{"runtime", carried, ""},
		{"isolation", carried, ""},
		{"credential_spec", refused, "it is for Windows containers"},
		{"umask", refused, "the engine has no such setting; set it in the image's entrypoint"},
		{"use_api_socket", refused, "mount `/var/run/docker.sock` under `volumes`"},
		{"attach", ignored, "it says what `docker compose up` prints; nothing is printed here"},
		{"develop", ignored, "it is for `docker compose watch`"},
		{"provider", refused, "run what it provides as a service of its own, or by other means"},
		{"models", refused, "run the model server as a service"},
		{"pre_start", refused, "make it a service that others wait for with `service_completed_successfully`"},
		{"post_start", refused, "make it a service of its own, or put it into the entrypoint"},
		{"pre_stop", refused, "handle the stop signal in the program"},
	}...)
}

func deployKeys() []key {
	return prefixed("services.*.deploy", []key{
		{"mode", carried, "`replicated`; `global` and the job modes belong to Swarm and are errors"},
		{"replicas", carried, ""},
		{"update_config.order", carried, "`stop-first` or `start-first`"},
		{"resources.limits.cpus", carried, ""},
		{"resources.limits.memory", carried, ""},
		{"resources.limits.pids", carried, ""},
		{"resources.limits.devices", ignored, "only reservations ask for devices"},
		{"resources.limits.generic_resources", ignored, "it is for Swarm's scheduler"},
		{"resources.reservations.cpus", ignored, "it is for Swarm's scheduler"},
		{"resources.reservations.memory", carried, "as `mem_reservation`"},
		{"resources.reservations.pids", ignored, "there are only limits of it"},
		{"resources.reservations.devices.capabilities", carried, ""},
		{"resources.reservations.devices.driver", carried, ""},
		{"resources.reservations.devices.count", carried, ""},
		{"resources.reservations.devices.device_ids", carried, ""},
		{"resources.reservations.devices.options", carried, ""},
		{"resources.reservations.generic_resources", ignored, "it is for Swarm's scheduler"},
		{"restart_policy.condition", carried, "`none`, `on-failure`, `any`; stronger than `restart`"},
		{"restart_policy.max_attempts", carried, ""},
	}...)
}

func ignoredDeployKeys() []key {
	return prefixed("services.*.deploy", []key{
		{"labels", ignored, "they are for Swarm's service object, not for the container"},
		{"endpoint_mode", ignored, "it is for Swarm"},
		{"placement", ignored, "there is one host"},
		{"rollback_config", ignored, "see `upgrade.rollback` in instance.yaml"},
		{"update_config.parallelism", ignored, "it is for Swarm"},
		{"update_config.delay", ignored, "it is for Swarm"},
		{"update_config.failure_action", ignored, "see `upgrade.rollback` in instance.yaml"},
		{"update_config.monitor", ignored, "see `health.bake` in instance.yaml"},
		{"update_config.max_failure_ratio", ignored, "it is for Swarm"},
		{"restart_policy.delay", ignored, "the engine chooses it"},
		{"restart_policy.window", ignored, "the engine has no such setting"},
	}...)
}

func networkingKeys() []key {
	return prefixed("services.*", []key{
		{"ports.target", carried, "ranges are expanded"},
		{"ports.published", carried, "a single port; a range when the engine is to choose from it"},
		{"ports.host_ip", carried, ""},
		{"ports.protocol", carried, ""},
		{"ports.mode", resolved, "`host` and `ingress` are the same on one host"},
		{"ports.name", ignored, "it names the port for people"},
		{"ports.app_protocol", ignored, "the engine has no such setting"},
		{"expose", carried, ""},
		{"network_mode", carried, "`host`, `none`, `bridge`, `service:NAME`, `container:NAME`"},
		{"net", refused, "write `network_mode`"},
		{"networks.*.aliases", carried, ""},
		{"networks.*.ipv4_address", carried, ""},
		{"networks.*.ipv6_address", carried, ""},
		{"networks.*.link_local_ips", carried, ""},
		{"networks.*.mac_address", carried, "needs API 1.44"},
		{"networks.*.driver_opts", carried, ""},
		{"networks.*.priority", carried, "the highest is the one the container is made on"},
		{"networks.*.gw_priority", carried, "needs API 1.48"},
		{"networks.*.interface_name", carried, "as the driver option `com.docker.network.endpoint.ifname`; needs API 1.49"},
		{"networks.*.use_service_name_alias", refused, "only the default, true, is supported by this version"},
		{"links", carried, ""},
		{"external_links", carried, ""},
		{"extra_hosts", carried, ""},
		{"dns", carried, ""},
		{"dns_search", carried, ""},
		{"dns_opt", carried, ""},
		{"mac_address", carried, ""},
		{"sysctls", carried, ""},
	}...)
}

func mountKeys() []key {
	return prefixed("services.*", []key{
		{"volumes.type", carried, "`bind`, `volume`, `tmpfs`, `image`; `npipe` and `cluster` are errors"},
		{"volumes.source", carried, "relative binds: see below"},
		{"volumes.target", carried, "absolute"},
		{"volumes.read_only", carried, ""},
		{"volumes.consistency", carried, "engines on Linux ignore it"},
		{"volumes.bind.selinux", carried, ""},
		{"volumes.bind.propagation", carried, ""},
		{"volumes.bind.create_host_path", carried, ""},
		{"volumes.bind.recursive", carried, ""},
		{"volumes.volume.labels", carried, ""},
		{"volumes.volume.nocopy", carried, ""},
		{"volumes.volume.subpath", carried, "needs API 1.45"},
		{"volumes.tmpfs.size", carried, ""},
		{"volumes.tmpfs.mode", carried, ""},
		{"volumes.image.subpath", carried, "needs API 1.48, as do image mounts"},
		{"volumes_from", carried, ""},
		{"volume_driver", refused, "write `driver` under `volumes` at the top level"},
		{"tmpfs", carried, ""},
		{"configs.source", carried, "the content is mounted read-only"},
		{"configs.target", carried, "default `/NAME`"},
		{"configs.uid", carried, "`docker compose` ignores it for files; here it works"},
		{"configs.gid", carried, "likewise"},
		{"configs.mode", carried, "likewise"},
		{"secrets.source", carried, "the content is mounted read-only"},
		{"secrets.target", carried, "default `/run/secrets/NAME`"},
		{"secrets.uid", carried, "`docker compose` ignores it for files; here it works"},
		{"secrets.gid", carried, "likewise"},
		{"secrets.mode", carried, "likewise"},
		{"read_only", carried, ""},
		{"shm_size", carried, ""},
		{"storage_opt", carried, ""},
	}...)
}

func resourceKeys() []key {
	rows := []key{
		{"devices.source", carried, "also CDI names, `vendor.com/class=name`"},
		{"devices.target", carried, ""},
		{"devices.permissions", carried, ""},
		{"device_cgroup_rules", carried, ""},
		{"ulimits.*.single", carried, "`nofile: 1024` sets both"},
		{"ulimits.*.soft", carried, ""},
		{"ulimits.*.hard", carried, ""},
	}
	for _, k := range strings.Fields(`cpus cpu_count cpu_percent cpu_shares cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpuset
		mem_limit mem_reservation memswap_limit mem_swappiness oom_kill_disable oom_score_adj pids_limit
		gpus.capabilities gpus.driver gpus.count gpus.device_ids gpus.options
		blkio_config.weight blkio_config.weight_device.path blkio_config.weight_device.weight
		blkio_config.device_read_bps.path blkio_config.device_read_bps.rate blkio_config.device_read_iops.path blkio_config.device_read_iops.rate
		blkio_config.device_write_bps.path blkio_config.device_write_bps.rate blkio_config.device_write_iops.path blkio_config.device_write_iops.rate`) {
		rows = append(rows, key{k, carried, ""})
	}
	return prefixed("services.*", rows...)
}

func networkKeys() []key {
	return prefixed("networks.*", []key{
		{"name", carried, "default `INSTANCE_KEY`"},
		{"external", carried, "it must exist and is never made or removed"},
		{"driver", carried, ""},
		{"driver_opts", carried, ""},
		{"internal", carried, ""},
		{"attachable", carried, ""},
		{"enable_ipv4", carried, "false needs API 1.48"},
		{"enable_ipv6", carried, ""},
		{"labels", carried, ""},
		{"ipam.driver", carried, ""},
		{"ipam.options", carried, ""},
		{"ipam.config.subnet", carried, ""},
		{"ipam.config.ip_range", carried, ""},
		{"ipam.config.gateway", carried, ""},
		{"ipam.config.aux_addresses", carried, ""},
	}...)
}

func volumeKeys() []key {
	return prefixed("volumes.*", []key{
		{"name", carried, "default `INSTANCE_KEY`"},
		{"external", carried, "it must exist and is never made or removed"},
		{"driver", carried, ""},
		{"driver_opts", carried, "a `device` of a bind must be an absolute path"},
		{"labels", carried, ""},
	}...)
}

func objectKeys(kind string) []key {
	return prefixed(kind+".*", []key{
		{"file", carried, "in the repository or the host's local directory; an absolute path is bound as it is"},
		{"environment", carried, "a variable of `.env` or `compose.env`"},
		{"content", carried, ""},
		{"name", ignored, "there is no object to be named: the content is a file"},
		{"external", refused, "there is no Swarm to keep it; give `file`, `environment` or `content`"},
		{"labels", ignored, "there is no object to bear them"},
		{"driver", refused, "it belongs to Swarm"},
		{"driver_opts", refused, "it belongs to Swarm"},
		{"template_driver", refused, "it belongs to Swarm"},
	}...)
}

func otherKeys() []key {
	return []key{
		{"name", ignored, "the project is named after the instance"},
		{"jobs", refused, "run the job as a service, or from the host's scheduler"},
		{"models", refused, "run the model server as a service"},
	}
}
