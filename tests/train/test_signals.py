"""Signals: the first one counts, further ones lose nothing, and only a second Ctrl-C is obeyed at once."""

import os
import signal
import subprocess
import sys

import pytest

from vita_jax.base.processes import end_with
from vita_jax.train.signals import signals


@pytest.fixture
def handlers():
  """Handlers that would end the test become ones that raise, and are put back."""

  def raises(number, frame):
    raise KeyboardInterrupt(number)

  old = {n: signal.signal(n, raises) for n in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
  yield
  for number, handler in old.items():
    signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_several_signals_at_once_are_one_question(number, code, handlers):
  with signals() as asked_to_stop:
    assert asked_to_stop() == 0
    for _ in range(3):
      signal.raise_signal(number)
    signal.raise_signal(signal.SIGTERM)
    assert asked_to_stop() == code


def test_a_second_ctrl_c_is_obeyed_at_once(handlers):
  with signals() as asked_to_stop:
    signal.raise_signal(signal.SIGINT)
    assert asked_to_stop() == 130
    with pytest.raises(KeyboardInterrupt):
      signal.raise_signal(signal.SIGINT)


def test_a_hangup_stays_ignored_under_nohup(handlers):
  signal.signal(signal.SIGHUP, signal.SIG_IGN)
  with signals() as asked_to_stop:
    signal.raise_signal(signal.SIGHUP)
    assert asked_to_stop() == 0
  assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())])
print(child.pid, flush=True)
time.sleep(600)
"""
CHILD = """
import sys, time
from vita_jax.base.processes import end_with
end_with(int(sys.argv[1]))
end_with(int(sys.argv[1]))
time.sleep(600)
"""


def test_a_worker_notices_that_its_parent_was_killed():
  parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True)
  child = int(parent.stdout.readline())
  os.kill(child, 0)
  parent.kill()
  parent.stdout.read()  # the child holds the pipe, too: this ends with it
  parent.wait()
  end_with(os.getpid())  # a process is not its own worker
