#!/usr/bin/env bash
# A SLURM of one node on this machine, for the tests: tests/slurm.sh start | stop
# Needs root and, on Debian or Ubuntu: apt-get install slurm-wlm munge
set -euo pipefail
HOME_OF_SLURM=${POMPC_SLURM:-/tmp/pompc-slurm}
export SLURM_CONF=$HOME_OF_SLURM/slurm.conf

configure() {
	local cores
	cores=$(nproc)
	mkdir -p "$HOME_OF_SLURM/state" "$HOME_OF_SLURM/spool"
	cat > "$SLURM_CONF" <<-END
		ClusterName=test
		SlurmctldHost=$(hostname -s)(127.0.0.1)
		SlurmUser=root
		AuthType=auth/munge
		ProctrackType=proctrack/linuxproc
		TaskPlugin=task/none
		SelectType=select/cons_tres
		SelectTypeParameters=CR_Core
		JobRequeue=1
		KillWait=60
		MpiDefault=none
		ReturnToService=2
		SlurmctldPidFile=$HOME_OF_SLURM/slurmctld.pid
		SlurmdPidFile=$HOME_OF_SLURM/slurmd.pid
		SlurmctldLogFile=$HOME_OF_SLURM/slurmctld.log
		SlurmdLogFile=$HOME_OF_SLURM/slurmd.log
		StateSaveLocation=$HOME_OF_SLURM/state
		SlurmdSpoolDir=$HOME_OF_SLURM/spool
		NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$cores State=UNKNOWN
		PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
	END
}

start() {
	for program in munged slurmctld slurmd; do
		command -v "$program" > /dev/null || { echo "$program is missing: apt-get install slurm-wlm munge"; exit 1; }
	done
	configure
	install -d -o munge -g munge /run/munge
	[ -f /etc/munge/munge.key ] || mungekey
	pgrep -x munged > /dev/null || runuser -u munge -- munged
	slurmctld -f "$SLURM_CONF"
	slurmd -f "$SLURM_CONF"
	for _ in $(seq 30); do
		sinfo --noheader --format %T 2> /dev/null | grep -q idle && { echo "export SLURM_CONF=$SLURM_CONF"; return; }
		sleep 1
	done
	echo "the node did not come up: see $HOME_OF_SLURM/*.log" >&2
	exit 1
}

stop() {
	for daemon in slurmd slurmctld munged; do
		pkill -x "$daemon" || true
		while pgrep -x "$daemon" > /dev/null; do sleep 0.2; done
	done
	rm -rf "$HOME_OF_SLURM"
}

case "${1:-}" in
	start | stop) "$1" ;;
	*) sed -n '2,3s/^# //p' "$0"; exit 2 ;;
esac
