"""SIGTERM, Ctrl-C and a full disk: the run ends with its exit code, and the same command goes on."""

import shutil
import signal

import pytest

from launch.commands import launch, refused, start, succeeded, training, wait_for
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
