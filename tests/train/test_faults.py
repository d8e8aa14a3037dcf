"""The fault commands of tests/faults, in small; at length: see vita_jax/train/README.md."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from faults import damage

FOLDER = Path(__file__).parents[1] / "faults"


def test_no_damage_of_any_file_of_a_checkpoint_restores_another_state():
  counts = damage.main(flips=1, rows=("digits_stream",))
  outcomes = {what for _, what in counts}
  assert outcomes == {"restored exactly", "named, the one before restored"}
  assert {name for name, _ in counts} == {"truncated", "emptied", "zeroed", "removed", "bit flipped"}


COMMANDS = (
  "kills.py --kills=6",
  "signals.py --signals=5 --runs digits_stream",
  "full_disk.py --moments=1",
  "disagreements.py",
  "fuzz.py --examples=60",
)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_the_longer_commands_find_nothing(command):
  environment = {**os.environ, "PYTHONPATH": str(FOLDER.parents[1])}
  name, *flags = command.split()
  arguments = [sys.executable, FOLDER / name, *flags]
  done = subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=580)
  assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
