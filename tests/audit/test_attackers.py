"""Attackers train in processes of their own, which end with the audit, however that ends."""

import os
import signal
import subprocess
import sys
import time

import pytest

AUDIT = """
import os, pathlib, sys, time
import numpy as np
from vita_jax.audit.attackers import Attacker, run_all

class Endless:
  def fit(self, *data):
    (pathlib.Path(sys.argv[1]) / str(os.getpid())).touch()
    time.sleep(600)

class Rows:
  z = y = None

fields = {name: None for name in Attacker._fields}
attacker = Attacker(**{**fields, "model": Endless(), "family": "linear"})
run_all([(attacker, Rows(), 2)] * 2, n_jobs=2)
"""


def _lives(pid):
  try:
    with open(f"/proc/{pid}/stat") as file:
      return file.read().rpartition(")")[2].split()[0] != "Z"
  except OSError:
    return False


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="there is no /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_an_audit_that_is_killed(number, tmp_path):
  script = AUDIT.replace("sys.argv[1]", repr(str(tmp_path)))
  audit = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
  end = time.monotonic() + 300
  while len(workers := os.listdir(tmp_path)) < 2 and time.monotonic() < end:
    assert audit.poll() is None, audit.stderr.read()
    time.sleep(0.05)
  audit.send_signal(number)
  audit.wait()
  while any(map(_lives, workers)) and time.monotonic() < end:
    time.sleep(0.05)
  assert not [pid for pid in workers if _lives(pid)]
  assert "leaked" not in audit.stderr.read()
