#!/bin/bash
# A Slurm of one node on this machine, to try launch/cluster/slurm.sbatch: local_slurm.sh start | stop
#
# Needs root and Debian's packages: apt-get install slurm-wlm munge. Everything listens on the loopback.
set -euo pipefail
folder=${SLURM_FOLDER:-/tmp/vita_jax_slurm}
case ${1:-} in
start)
  mkdir -p "$folder"/{ctld,d} /run/munge
  [ -f /etc/munge/munge.key ] || mungekey --create
  chown -R munge:munge /etc/munge /run/munge /var/lib/munge /var/log/munge
  pgrep munged > /dev/null || runuser -u munge -- munged
  cores=$(nproc)
  cat > "$folder/slurm.conf" << CONF
ClusterName=loopback
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
JobRequeue=1
KillWait=60
MpiDefault=none
StateSaveLocation=$folder/ctld
SlurmdSpoolDir=$folder/d
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$cores State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
  export SLURM_CONF=$folder/slurm.conf
  slurmctld
  slurmd
  for _ in $(seq 30); do
    sinfo --noheader 2> /dev/null | grep -q idle && break
    sleep 1
  done
  sinfo
  echo "ready: export SLURM_CONF=$SLURM_CONF"
  ;;
stop)
  pkill slurmd || true
  pkill slurmctld || true
  pkill munged || true
  rm -rf "$folder"
  ;;
*)
  echo "use: $0 start | stop" >&2
  exit 2
  ;;
esac
