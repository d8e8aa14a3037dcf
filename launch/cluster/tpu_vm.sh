#!/bin/bash
# One run over all hosts of a Cloud TPU slice: launch/cluster/tpu_vm.sh NAME ZONE --config=FILE --workdir=gs or NFS
#
# Runs the same command on every worker of the TPU VM; JAX finds the others by the metadata of the slice.
# The checkout must be in ~/vita_jax on every worker, and --workdir on a file system that they share.
set -euo pipefail
name=$1 zone=$2
shift 2
printf -v flags ' %q' "$@"
exec gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all \
  --command="cd ~/vita_jax && python launch/train.py --cluster=tpu$flags"
