"""Tests keep their caches to themselves, and share compiled programs within a session."""

import os
import tempfile

# What the shell, the job or the make around the tests says is not for the commands under test: tracebacks in
# place of lines, other processes to join, flags of make, widths and colours, another arithmetic.
for name in (
  "VITA_DEBUG",
  "SLURM_STEP_NUM_TASKS",
  "OMPI_COMM_WORLD_SIZE",
  "TPU_WORKER_HOSTNAMES",
  "MAKEFLAGS",
  "MAKELEVEL",
  "MFLAGS",
  "COLUMNS",
  "FORCE_COLOR",
  "PYTHONWARNINGS",
  "JAX_ENABLE_X64",
  "JAX_DISABLE_JIT",
  "JAX_DEFAULT_MATMUL_PRECISION",
):
  os.environ.pop(name, None)
# Inherited by the subprocesses of the CLI tests; set before jax is imported.
os.environ.setdefault("VITA_CACHE_DIR", tempfile.mkdtemp(prefix="vita_jax_cache_"))
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Compiling is most of the time of these tests, and faster so. At level 0 replicas by `map` lose the bits
# of single runs. Set XLA_FLAGS="" to compile as users do.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")
# Programs recur from test to test: compile each once. It changes no number, only the time.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(os.environ["VITA_CACHE_DIR"], "xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
