"""SIGTERM, Ctrl-C and a full disk: the run ends with its exit code, and the same command goes on."""

import os
import shutil
import signal
import sys
import threading
from pathlib import Path

import pytest

from launch.commands import launch, refused, start, succeeded, training, wait_for
from vita_jax import _early
from vita_jax.train.checkpoint import good_steps

EPOCHS = 400
LIMIT = 500_000  # bytes a file may have: enough for logs and figures, too little for these weights


def _flags(graph, workdir):
  # Wide, so that a checkpoint is big and an epoch takes about a millisecond.
  settings = {"epochs": EPOCHS, "protocol": "best_validation", "hidden": 8_000, "features": "dense"}
  return training(graph, workdir, **settings, steps_per_call=5, log_every=20)


@pytest.fixture(scope="module")
def weights(graph, tmp_path_factory):
  """The bytes of params.safetensors of the uninterrupted run."""
  workdir = tmp_path_factory.mktemp("whole")
  succeeded(launch("train", *_flags(graph, workdir)))
  return (workdir / "export" / "params.safetensors").read_bytes()


def _interrupt(graph, workdir, number):
  log = workdir / "metrics.jsonl"
  for _ in range(5):  # on a busy machine the run may end before this process gets its turn
    process = start("train", *_flags(graph, workdir))
    wait_for(lambda: log.exists() and log.stat().st_size > 0, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=600)
    if not (workdir / "summary.json").exists():
      break
    shutil.rmtree(workdir)
  (step,) = good_steps(workdir / "checkpoints")
  assert f"stopped at step {step}, saved in {workdir}: the same command resumes it" in errors.splitlines()
  assert "Traceback" not in errors and 20 <= step < EPOCHS
  return process.returncode, step


INTERRUPTIONS = [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]


@pytest.mark.parametrize(("number", "code"), INTERRUPTIONS)
def test_an_interrupted_run_saves_and_the_same_command_ends_it(number, code, graph, weights, tmp_path):
  returned, step = _interrupt(graph, tmp_path, number)
  assert returned == code
  if number == signal.SIGTERM:  # and now the disk is full
    cache = {"VITA_CACHE_DIR": str(tmp_path / "cache")}  # half a file must not get into the shared one
    done = launch("train", *_flags(graph, tmp_path), largest_file=LIMIT, env=cache)
    refused(done, "could not write a checkpoint", "File too large", f"is step {step}; free some space")
    assert good_steps(tmp_path / "checkpoints") == [step]
  done = launch("train", *_flags(graph, tmp_path))
  succeeded(done)
  assert f"resuming {tmp_path} at step {step}" in done.stderr
  assert (tmp_path / "export" / "params.safetensors").read_bytes() == weights


def _catches(process, number):
  """Whether a process has a handler for a signal."""
  status = Path(f"/proc/{process.pid}/status").read_text()
  (mask,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")]
  return int(mask, 16) >> (number - 1) & 1


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells when the handlers are there")
@pytest.mark.parametrize(
  ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_a_signal_during_the_imports_is_one_line(number, code, graph, tmp_path):
  process = start("train", *training(graph, tmp_path / "W"))
  wait_for(lambda: _catches(process, signal.SIGTERM), process)  # the imports take seconds from here on
  process.send_signal(number)
  _, errors = process.communicate(timeout=600)
  assert (process.returncode, errors) == (code, "stopped before it began; nothing was written\n")
  assert not (tmp_path / "W").exists()


@pytest.fixture
def handlers():
  """Signals are as they were once the test is over."""
  before = {number: signal.getsignal(number) for number in _early.NUMBERS}
  yield
  for number, handler in before.items():
    signal.signal(number, handler)
  _early.ends(_early.BEFORE)


def test_a_signal_outside_the_loop_unwinds_and_has_its_exit_code(handlers):
  _early.raises()
  for number, code in ((signal.SIGTERM, 143), (signal.SIGHUP, 129)):
    with pytest.raises(_early.Stopped) as error:
      os.kill(os.getpid(), number)
      threading.Event().wait(60)
    assert error.value.exit_code == code
  with pytest.raises(KeyboardInterrupt):
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait(60)


def test_a_fork_of_a_command_dies_of_a_signal_as_any_process(handlers, capfd):
  _early.raises()
  ready, told = os.pipe()
  child = os.fork()
  if child == 0:
    os.write(told, b"x")  # before this Python drops signals: it tidies up after the fork
    threading.Event().wait(60)
    os._exit(0)
  os.read(ready, 1)
  os.kill(child, signal.SIGTERM)
  _, status = os.waitpid(child, 0)
  assert os.WTERMSIG(status) == signal.SIGTERM and capfd.readouterr().err == ""


def test_what_is_ignored_stays_ignored(handlers):
  signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
  _early.raises()
  os.kill(os.getpid(), signal.SIGHUP)
  assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_nothing_is_installed_in_a_process_that_runs_no_script():
  assert not _early._runs_a_script() and signal.getsignal(signal.SIGTERM) is not _early._handle
