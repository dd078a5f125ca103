#!/usr/bin/env bash
# Brings up a Docker engine if none answers, for the demo and the tests.
#
#   scripts/engine.sh up       quiet when an engine answers; else installs docker.io (Debian, Ubuntu, as root) and starts it
#   scripts/engine.sh down     stops the engine that "up" started, and only that one
#   scripts/engine.sh status   says which engine answers; exit 1 when none does
#
# DOCKER_HOST is respected. Further settings:
#   FAIRLEAD_ENGINE_TIMEOUT  seconds to wait for the engine to answer (90)
#   FAIRLEAD_ENGINE_ROOT     a directory for an engine apart from the machine's: data, state, log and, unless DOCKER_HOST
#                            names another, the socket ROOT/docker.sock. It has a bridge of its own and leaves iptables
#                            alone, so the machine's engine is not disturbed; its containers have no outgoing network
#   FAIRLEAD_ENGINE_ARGS     more arguments for dockerd, separated by blanks
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

root=${FAIRLEAD_ENGINE_ROOT:-}
timeout=${FAIRLEAD_ENGINE_TIMEOUT:-90}
state=${root:-/run/fairlead-engine}
log=$state/dockerd.log
pidfile=$state/dockerd.pid
id=$(printf %s "$root" | cksum | cut -d' ' -f1) # names what belongs to an engine apart
starter=$state/started-by # "systemd" or "script", while an engine that "up" started should be running
if [ -z "${DOCKER_HOST:-}" ]; then
	export DOCKER_HOST=unix://${root:-/var/run}/docker.sock
fi
export PATH=$PATH:/usr/sbin:/sbin

# answers prints the engine's version; it fails when no engine answers within seconds.
answers() {
	have docker && timeout 15 docker version --format '{{.Server.Version}} (API {{.Server.APIVersion}})' 2>/dev/null
}

main() {
	case "${1:-}" in
	up) up ;;
	down) down ;;
	status) status ;;
	*) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2 && exit 2 ;;
	esac
}

status() {
	local version by=others
	version=$(answers) || {
		echo "no engine answers at $DOCKER_HOST"
		return 1
	}
	[ -r "$starter" ] && by="this script ($(cat "$starter"))"
	echo "engine $version at $DOCKER_HOST, started by $by"
}

up() {
	answers >/dev/null && return 0
	check_permission
	if ! is_local; then
		install_engine
		answers >/dev/null && return 0
		die "no engine answers at DOCKER_HOST=$DOCKER_HOST: start it there, or unset DOCKER_HOST to use this machine's"
	fi
	is_root || die "no engine answers at $DOCKER_HOST: start Docker, or run 'sudo ${BASH_SOURCE[0]} up'"
	take_lock
	answers >/dev/null && return 0 # another "up" was faster
	install_engine
	answers >/dev/null && return 0 # installing started it
	start
}

# check_permission tells a user who may not use a running engine what is the matter.
check_permission() {
	local sock=${DOCKER_HOST#unix://}
	if [ -S "$sock" ] && ! [ -w "$sock" ]; then
		die "$(id -un) may not use $sock: run 'sudo usermod -aG docker $(id -un)' and log in again, or work as root"
	fi
}

# take_lock makes a second "up" or "down" wait; the lock ends with this process.
take_lock() {
	mkdir -p "$state"
	chmod 700 "$state"
	exec 9>"$state/lock"
	flock -w "$((timeout + 600))" 9 || die "another engine.sh still holds $state/lock: end it, then try again"
}

# install_engine brings what is missing: the client always, dockerd and what it needs for an engine on this machine.
install_engine() {
	local packages=()
	complete && return 0
	apt_prepare "the Docker engine" docker.io
	complete && return 0 # it was only half-installed
	choose_packages
	# In a container the package's own start may fail although everything is installed: what counts is the programs.
	apt_install "${packages[@]}" || true
	if ! complete; then # a file was lost from an installed package
		! is_local || packages+=(containerd runc)
		apt_get install "${gently[@]}" --reinstall "${packages[@]}" || true
	fi
	complete || die "still missing or half-installed: $(missing | xargs). Mend or purge it, or $manual"
}

complete() { [ -z "$(missing)" ]; }

missing() {
	have docker || echo docker
	is_local || return 0
	local name
	for name in dockerd containerd runc; do
		have "$name" || echo "$name"
	done
	have_iptables || echo iptables
	! half_installed || echo docker.io
}

half_installed() {
	case $(dpkg-query -W -f '${db:Status-Status}' docker.io 2>/dev/null) in
	'' | installed | config-files | not-installed) return 1 ;;
	esac
}

manual="install Docker Engine 20.10 or newer (https://docs.docker.com/engine/install/)"

choose_packages() {
	# Debian 13 and later have the client in a package of its own; before, it is part of docker.io.
	if in_apt docker-cli; then
		packages+=(docker-cli)
		is_local || return 0
	fi
	packages+=(docker.io)
	is_local || return 0
	packages+=(ca-certificates)
	have_iptables || packages+=(iptables)
	# An engine on a kernel with AppArmor starts no container without the parser.
	if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ] && ! have apparmor_parser; then
		packages+=(apparmor)
	fi
}

is_local() { [[ $DOCKER_HOST == unix://* ]]; }

have_iptables() { have iptables || [ -n "$root" ] || [[ ${FAIRLEAD_ENGINE_ARGS:-} == *--iptables=false* ]]; }

with_systemd() { [ -d /run/systemd/system ] && [ -z "$root" ] && [ "$DOCKER_HOST" = unix:///var/run/docker.sock ]; }

start() {
	if with_systemd; then
		start_with_systemd
		return
	fi
	local other
	if [ -z "$root" ] && other=$(dockerd_pid); then
		# Two engines on one data directory destroy it, so a slow or hung one is waited for.
		say "dockerd runs already (pid $other) but does not answer yet; waiting"
		wait_for "$other" || die "dockerd (pid $other) does not answer at $DOCKER_HOST after ${timeout}s: look at its log, or end it"
		return
	fi
	start_in_background
}

start_with_systemd() {
	say "starting docker.service"
	if ! systemctl start docker.service && ! use_legacy_iptables system; then
		journalctl -n 20 --no-pager -u docker.service >&2 || true
		die "docker.service does not start: see 'journalctl -u docker.service'"
	fi
	wait_for 1 || die "docker.service runs but does not answer after ${timeout}s: see 'journalctl -u docker.service'"
	echo systemd >"$starter"
}

# use_legacy_iptables is for kernels without nf_tables.
# With "system" it switches the machine's alternative, restarts Docker and says so.
use_legacy_iptables() {
	iptables -t nat -L -n >/dev/null 2>&1 && return 1 # not the matter
	have iptables-legacy && iptables-legacy -t nat -L -n >/dev/null 2>&1 || return 1
	say "this kernel has no nf_tables: using iptables-legacy"
	if [ "${1:-}" = system ]; then
		update-alternatives --set iptables /usr/sbin/iptables-legacy >/dev/null
		! have ip6tables-legacy || update-alternatives --set ip6tables /usr/sbin/ip6tables-legacy >/dev/null
		systemctl restart docker.service
		return
	fi
	mkdir -p "$state/bin"
	local name
	for name in iptables ip6tables iptables-save iptables-restore; do
		ln -sf "/usr/sbin/${name/tables/tables-legacy}" "$state/bin/$name"
	done
	PATH=$state/bin:$PATH
}

start_in_background() {
	local args=(--host "$DOCKER_HOST" --pidfile "$pidfile")
	local more
	read -ra more <<<"${FAIRLEAD_ENGINE_ARGS:-}"
	if [ -n "$root" ]; then
		set_apart
	elif [[ ${more[*]-} != *--iptables* ]] && ! iptables -t nat -L -n >/dev/null 2>&1 && ! use_legacy_iptables; then
		say "this kernel allows no iptables nat table: containers get no outgoing network; published ports still work"
		args+=(--iptables=false --ip6tables=false)
	fi
	mount_cgroups
	forget_stale_pids
	say "starting dockerd in the background, log in $log"
	# 9 is the lock, which must not live as long as dockerd.
	setsid nohup dockerd "${args[@]}" ${more[@]+"${more[@]}"} >>"$log" 2>&1 </dev/null 9>&- &
	local pid=$!
	echo script >"$starter"
	if ! wait_for "$pid"; then
		say "dockerd does not answer at $DOCKER_HOST; the end of $log:"
		tail -n 20 "$log" >&2
		kill "$pid" 2>/dev/null || true
		wait "$pid" || true
		clear_apart
		rm -f "$starter"
		exit 1
	fi
}

# set_apart adds what keeps an engine from disturbing the machine's. A second dockerd flushes the first one's iptables
# chains, and with --bridge=none it deletes docker0, whoever uses it.
set_apart() {
	[[ ${more[*]-} != *--bridge* && ${more[*]-} != *--iptables* ]] ||
		die "FAIRLEAD_ENGINE_ARGS may not set --bridge or --iptables together with FAIRLEAD_ENGINE_ROOT"
	local bridge=fl$id
	if ! ip link show dev "$bridge" >/dev/null 2>&1; then
		ip link add "$bridge" type bridge
		ip address add "10.$((200 + id % 50)).$((id / 50 % 250)).1/24" dev "$bridge"
		ip link set "$bridge" up
	fi
	args+=(--data-root "$root/data" --exec-root "$root/exec" --bridge "$bridge" --iptables=false --ip6tables=false
		--containerd-namespace "fairlead-$id" --containerd-plugins-namespace "fairlead-$id-plugins")
}

clear_apart() {
	[ -n "$root" ] || return 0
	! ip link show dev "fl$id" >/dev/null 2>&1 || ip link delete "fl$id"
	# dockerd leaves its data directory mounted on itself, and then it cannot be removed.
	! mountpoint -q "$root/data" || umount "$root/data"
}

# wait_for waits until the engine answers, the process $1 ends (failure), or the time is over (failure).
wait_for() {
	local end=$((SECONDS + timeout))
	while ((SECONDS < end)); do
		answers >/dev/null && return 0
		runs "$1" || return 1
		sleep 0.5
	done
	return 1
}

# dockerd_pid prints the pid of this machine's dockerd: not of one in a container, nor of one apart (FAIRLEAD_ENGINE_ROOT).
dockerd_pid() {
	local dir
	for dir in /proc/[0-9]*; do
		[ "$(cat "$dir/comm" 2>/dev/null)" = dockerd ] || continue
		runs "${dir#/proc/}" || continue
		[ "$(readlink "$dir/ns/pid")" = "$(readlink /proc/self/ns/pid)" ] || continue
		[[ $(tr '\0' ' ' 2>/dev/null <"$dir/cmdline") == *'--containerd-namespace fairlead-'* ]] && continue
		echo "${dir#/proc/}"
		return 0
	done
	return 1
}

# own_pid prints the pid of the dockerd in the pidfile while it runs.
own_pid() { pid_in "$pidfile" dockerd; }

# pid_in prints the pid in file $1 while a program named $2 runs under it. Pids are used again, hence the name.
pid_in() {
	local pid
	pid=$(cat "$1" 2>/dev/null) || return 1
	[ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ] && runs "$pid" && echo "$pid"
}

# runs: a zombie does not count. In a container whose first process is no init, one stays for good.
runs() { [ -r "/proc/$1/status" ] && ! grep -q '^State:[[:space:]]*[ZX]' "/proc/$1/status" 2>/dev/null; }

# forget_stale_pids: after a crash or a reboot a pidfile may name a zombie or another program; dockerd would then refuse
# to start, or wait for a containerd that is gone.
forget_stale_pids() {
	local containerd=${root:-/run/docker}${root:+/exec}/containerd/containerd.pid
	own_pid >/dev/null || rm -f "$pidfile"
	pid_in "$containerd" containerd >/dev/null || rm -f "$containerd"
}

# mount_cgroups does what an init system would have done, where there is none (a container, a minimal VM).
mount_cgroups() {
	[ -d /run/systemd/system ] && return 0
	if ! grep -q ' /sys/fs/cgroup' /proc/self/mounts; then
		if [ "$(awk '!/^#/ && $2 != 0 {n++} END {print n + 0}' /proc/cgroups)" -gt 0 ]; then
			mount_cgroup_v1
		else
			mount -t cgroup2 cgroup2 /sys/fs/cgroup || say "/sys/fs/cgroup cannot be mounted: is this container privileged?"
		fi
	fi
	delegate_cgroup_v2
}

mount_cgroup_v1() {
	mount -t tmpfs -o uid=0,gid=0,mode=0755 cgroup /sys/fs/cgroup || {
		say "/sys/fs/cgroup cannot be mounted: is this container privileged?"
		return 0
	}
	local controller
	awk '!/^#/ && $4 == 1 {print $1}' /proc/cgroups | while read -r controller; do
		mkdir -p "/sys/fs/cgroup/$controller"
		mount -n -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller" || rmdir "/sys/fs/cgroup/$controller"
	done
}

# delegate_cgroup_v2: in a container's own cgroup v2 root, controllers can be handed to children only once no process
# lives in the root itself (cgroups(7), "no internal processes"). The machine's true root has no cgroup.type file.
delegate_cgroup_v2() {
	local top=/sys/fs/cgroup pid controller pids controllers
	[ -f "$top/cgroup.type" ] && [ -w "$top/cgroup.subtree_control" ] || return 0
	mkdir -p "$top/init"
	mapfile -t pids <"$top/cgroup.procs"
	for pid in "${pids[@]}"; do
		echo "$pid" >"$top/init/cgroup.procs" 2>/dev/null || true # it may have ended meanwhile
	done
	read -ra controllers <"$top/cgroup.controllers"
	for controller in "${controllers[@]}"; do
		echo "+$controller" >"$top/cgroup.subtree_control" 2>/dev/null || true # dockerd warns about what is missing
	done
}

down() {
	if ! [ -e "$starter" ]; then
		say "no engine was started by this script; nothing is stopped"
		return 0
	fi
	is_root || die "run 'sudo ${BASH_SOURCE[0]} down'"
	take_lock
	case $(cat "$starter" 2>/dev/null) in
	systemd) systemctl stop docker.service docker.socket ;;
	script) stop_background ;;
	esac
	rm -f "$starter"
}

stop_background() {
	local pid end=$((SECONDS + 60))
	if pid=$(own_pid); then
		kill "$pid"
		while runs "$pid"; do
			((SECONDS < end)) || die "dockerd (pid $pid) has not stopped after 60s: see $log"
			sleep 0.2
		done
		say "dockerd is stopped"
	fi
	clear_apart
}

main "$@"
