#!/bin/bash
# One run over the processes of Open MPI: launch/cluster/mpirun.sh 16 --config=FILE --workdir=DIR
#
# Reads the machines from $HOSTFILE, if set (see `man mpirun`), and starts the given number of processes,
# one per GPU. MPI only starts them: they talk by JAX's own service.
set -euo pipefail
processes=$1
shift
where=()
if [ -n "${HOSTFILE:-}" ]; then where=(--hostfile "$HOSTFILE"); fi
exec mpirun -n "$processes" "${where[@]}" --tag-output --bind-to none \
  -x PATH -x PYTHONPATH -x VITA_DATA_DIR -x VITA_CACHE_DIR \
  "${PYTHON:-python}" launch/train.py "$@"
