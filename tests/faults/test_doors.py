"""A hundred of the hostile files of doors.py; `python tests/faults/doors.py --examples=1000` makes more."""

import subprocess
import sys

from launch.commands import ROOT, environment


def test_hostile_files_end_in_one_clear_line():
  command = [sys.executable, "tests/faults/doors.py", "--examples=100"]
  done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
  assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
  assert not done.stderr
  assert int(done.stdout.split()[-3]) > 50  # bad files
