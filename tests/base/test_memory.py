"""Freed memory stays in the process, and comes back without page faults."""

import os
import subprocess
import sys

import pytest
from launch.commands import environment

from vita_jax.base import memory

CODE = """
import resource, sys, threading
import numpy as np
from vita_jax.base.memory import keep_freed_memory

def fill():
  np.empty(2**25).fill(1.0)  # 256 MB

def in_a_thread():
  thread = threading.Thread(target=fill)
  thread.start()
  thread.join()

kept = keep_freed_memory() if sys.argv[1] == "keep" else None
in_a_thread()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
in_a_thread()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(how, **variables):
  bare = {k: v for k, v in environment().items() if not k.startswith(("MALLOC_", "GLIBC_"))}
  command = [sys.executable, "-c", CODE, how]
  done = subprocess.run(command, env=bare | variables, capture_output=True, text=True, timeout=120)
  assert done.returncode == 0, done.stderr
  kept, faults = done.stdout.split()
  return kept, int(faults)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is the C library of Linux")
@pytest.mark.skipif(len(os.sched_getaffinity(0)) > 8, reason="it is left alone on many cores")
def test_a_block_that_was_freed_is_there_again():
  """256 MB are 65,536 pages of 4 KB, or 128 of 2 MB."""
  kept, faults = _faults("keep")
  if kept == "False":
    pytest.skip("the C library is not glibc")
  assert faults < 100
  assert _faults("keep", MALLOC_ARENA_MAX="4")[0] == "False"


@pytest.mark.parametrize("name", memory._OWN)
def test_settings_of_the_user_are_left_alone(name, monkeypatch):
  monkeypatch.setenv(name, "1")
  assert not memory.keep_freed_memory()
