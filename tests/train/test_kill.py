"""kill -9 at any moment, then the same command: the weights of an uninterrupted run, bit for bit."""

import os
import random
import signal
import time

import pytest
from launch.commands import launch, start, succeeded, training, wait_for
from laws.small_graph import write_small_graph

from vita_jax.train.checkpoint import good_steps

EPOCHS = 20_000  # enough that no kill comes too late


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
  """workdir -> flags of a run of some seconds that saves five times a second."""
  graph = write_small_graph(tmp_path_factory.mktemp("graph") / "graph.npz")
  settings = {"epochs": EPOCHS, "protocol": "best_validation", "save_seconds": 0.2, "log_every": 500}
  return lambda workdir: training(graph, workdir, **settings, steps_per_call=100)


@pytest.fixture(scope="module")
def weights(flags, tmp_path_factory):
  """The bytes of params.safetensors of the uninterrupted run."""
  workdir = tmp_path_factory.mktemp("whole")
  succeeded(launch("train", *flags(workdir)))
  return (workdir / "export" / "params.safetensors").read_bytes()


def _unfinished(workdir):
  """A checkpoint that is being written: orbax gives it its plain number only at the end."""
  return [p for p in (workdir / "checkpoints").glob("*") if not p.name.isdigit()]


def _stop_inside_a_save(process, workdir):
  """Stops the process where it stands, in a save; how busy the machine is does not matter then."""
  while True:
    wait_for(lambda: _unfinished(workdir), process)
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)  # until it stands
    if _unfinished(workdir):
      return
    process.send_signal(signal.SIGCONT)  # the save had ended between the look and the signal


def _kill(process):
  process.kill()
  process.communicate()
  assert process.returncode == -9


def test_killed_at_any_moment_and_inside_a_save_and_resumed(flags, weights, tmp_path):
  moments = random.Random(0)
  checkpoints, reached = tmp_path / "checkpoints", [0]
  for _ in range(2):
    process = start("train", *flags(tmp_path))
    wait_for(lambda: good_steps(checkpoints)[-1:] > reached[-1:], process)
    time.sleep(moments.uniform(0, 0.3))
    _kill(process)
    reached.append(good_steps(checkpoints)[-1])
  assert reached == sorted(set(reached)) and reached[-1] < EPOCHS
  process = start("train", *flags(tmp_path))
  wait_for(lambda: good_steps(checkpoints)[-1:] > reached[-1:], process)
  _stop_inside_a_save(process, tmp_path)
  _kill(process)
  assert _unfinished(tmp_path)
  assert not (tmp_path / "summary.json").exists()
  succeeded(launch("train", *flags(tmp_path)))
  assert (tmp_path / "export" / "params.safetensors").read_bytes() == weights
  assert not _unfinished(tmp_path) and not (tmp_path / "damaged").exists()
