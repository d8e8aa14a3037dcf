"""Tests keep their caches to themselves, and share compiled programs within a session."""

import ctypes
import gc
import os
import signal
import sys
import tempfile
from importlib.metadata import version

import pytest

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
# Compiling is most of the time of these tests: with LLVM at level 1 and without XLA's own emitters of fusions
# it takes a third. At level 0 replicas by `map` lose the bits of single runs. XLA_FLAGS="" compiles fully.
_FLAGS = ["--xla_backend_optimization_level=1"]
if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):  # then unknown, which ends the process
  _FLAGS.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(_FLAGS))
# Programs recur from test to test: compile each once. It changes no number, only the time.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(os.environ["VITA_CACHE_DIR"], "xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

# Under nohup, and in the background of a script, commands would inherit that hang-ups and Ctrl-C are ignored.
if hasattr(signal, "SIGHUP"):
  signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
  signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers(config) -> int:
  """One worker more than there are cores: some tests wait most of their time for other processes."""
  return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items) -> None:
  """Begins with the tests that wait for watchdogs: at the end, all would wait for them."""
  items.sort(key=lambda item: "multiprocess" not in item.path.parts)


LARGE = 1200 * 2**20  # bytes


@pytest.fixture(autouse=True, scope="module")
def _programs_are_forgotten():
  """Frees the compiled programs after a file of tests, once they fill memory: JAX keeps them for good."""
  yield
  jax = sys.modules.get("jax")
  if jax and _memory() > LARGE:
    jax.clear_caches()
    gc.collect()
    if sys.platform == "linux":
      ctypes.CDLL(None).malloc_trim(0)


def _memory() -> int:
  """Bytes of memory that this process holds now; 0 where /proc does not tell."""
  try:
    with open("/proc/self/statm") as file:
      return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
  except OSError:
    return 0
