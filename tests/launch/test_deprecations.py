"""Nothing in the package uses what jax, flax or optax has deprecated."""

import subprocess
import sys

from launch.commands import environment, training

# Attributed to the caller, so that what those libraries do among themselves is not ours to answer for.
CODE = """
import importlib, pkgutil, runpy, sys, warnings
for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
  warnings.filterwarnings("error", category=category, module=r"vita_jax(\\.|$)")
import vita_jax
for module in pkgutil.walk_packages(vita_jax.__path__, "vita_jax."):
  if not module.name.endswith("__main__"):
    importlib.import_module(module.name)
sys.argv = ["launch/train.py", *sys.argv[1:]]
runpy.run_path("launch/train.py", run_name="__main__")
"""


def test_imports_and_a_run_meet_no_deprecation(graph, tmp_path):
  flags = training(graph, tmp_path, "completion", epochs=4, seeds=2, ss__gcn__n_outputs=5)
  done = subprocess.run(
    [sys.executable, "-c", CODE, *flags],
    cwd=environment()["PYTHONPATH"].partition(":")[0],
    env=environment(VITA_DEBUG="1"),
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  assert "complete: ss_gcn" in done.stdout
