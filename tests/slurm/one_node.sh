#!/usr/bin/env bash
# A SLURM cluster of one node on this machine, from Debian's packages slurm-wlm and munge: what tests/slurm runs on.
#   one_node.sh install   install what is missing
#   one_node.sh start     do so, configure, start the daemons, wait until the node is idle
#   one_node.sh stop      end the daemons that `start` started, and remove its configuration
#   one_node.sh check     nothing but the exit code
# Exit code 77: not possible here, because this is not root, not Debian, or a machine with a SLURM of its own.
set -euo pipefail

state=/var/tmp/daso-slurm
config=/etc/slurm/slurm.conf
cluster=daso-one-node

[ "$(id -u)" = 0 ] || { echo "a SLURM for the tests needs root" >&2; exit 77; }
command -v apt-get >/dev/null || { echo "a SLURM for the tests comes from Debian's packages" >&2; exit 77; }
if [ -f "$config" ] && ! grep -q "^ClusterName=$cluster\$" "$config"; then
  echo "$config is of another cluster" >&2
  exit 77
fi

stop() {
  scancel --me 2>/dev/null || true
  for _ in $(seq 30); do # a node whose jobs cannot be ended is not taken back
    [ -n "$(squeue --me --noheader 2>/dev/null)" ] || break
    sleep 1
  done
  for daemon in slurmd slurmctld munged; do
    [ -f "$state/$daemon.pid" ] || continue
    pid=$(cat "$state/$daemon.pid")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 100); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
  done
  rm -rf "$state" "$config"
}

configure() {
  host=$(hostname -s)
  mkdir -p "$state/ctld" "$state/spool" /run/munge
  chown munge: /run/munge
  # cred_expire: a requeued job waits until its old credentials have expired, two minutes by default; a step that takes
  # longer than that to start, as on a busy machine, is refused, and its job fails.
  cat > "$config" <<CONF
ClusterName=$cluster
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=cred_expire=20
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/spool
SlurmctldLogFile=$state/slurmctld.log
SlurmdLogFile=$state/slurmd.log
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.pid
SchedulerParameters=sched_interval=5,batch_sched_delay=1
ReturnToService=2
KillWait=20
OverTimeLimit=0
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
}

install() {
  if command -v slurmctld >/dev/null && command -v munged >/dev/null; then return; fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge >/dev/null
}

start() {
  install
  configure
  pidof munged >/dev/null || { runuser -u munge -- /usr/sbin/munged && pidof munged > "$state/munged.pid"; }
  pidof slurmctld >/dev/null || slurmctld
  pidof slurmd >/dev/null || slurmd
  for _ in $(seq 60); do
    if sinfo -h -o %T 2>/dev/null | grep -qE '^(idle|mixed|allocated)'; then return; fi
    sleep 1
  done
  echo "SLURM did not come up; see $state/*.log" >&2
  exit 1
}

case "${1:-}" in
install) install ;;
start) start ;;
stop) stop ;;
check) ;;
*) echo "usage: $0 install|start|stop|check" >&2; exit 2 ;;
esac
