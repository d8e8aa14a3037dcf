"""What happens to all processes of a run when something happens to one of them."""

import signal
import time

import pytest
from launch.commands import succeeded, wait_for

from multiprocess.processes import WATCHDOG, alone, end, finished, last_line, worker
from vita_jax.train.checkpoint import good_steps

LONG = {"steps": 10**6, "save_seconds": 0.5, "mesh__data": 4}
ENDED = ("is gone", "was not heard of", "another task died")  # the last is JAX's, where process 0 was killed


def _running(row, workdir):
  """A run over two processes that has saved since it was started."""
  before = good_steps(workdir / "checkpoints")
  processes = worker(row, workdir, **LONG)
  wait_for(lambda: set(good_steps(workdir / "checkpoints")) - set(before), processes[0])
  return processes


@pytest.mark.parametrize("victim", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_sigterm_to_any_process_stops_all_at_the_same_step(victim, tmp_path):
  processes = _running("digits_stream", tmp_path / "run")
  processes[victim].send_signal(signal.SIGTERM)
  codes, errors = end(processes, timeout=60)
  assert codes == [143, 143], errors
  step = good_steps(tmp_path / "run" / "checkpoints")[-1]
  assert last_line(errors[0]).startswith(f"stopped at step {step}, saved in ")
  assert "the same command resumes it" in errors[0]
  again = _running("digits_stream", tmp_path / "run")
  again[1 - victim].send_signal(signal.SIGTERM)
  codes, errors = end(again, timeout=60)
  assert codes == [143, 143] and f"at step {step}" in errors[0]


@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_killed_process_ends_the_others_and_a_restart_resumes(victim, tmp_path):
  processes = _running("digits_resident", tmp_path / "run")
  processes[victim].kill()
  began = time.monotonic()
  codes, errors = end(processes, timeout=10 * WATCHDOG)
  assert time.monotonic() - began < 2 * WATCHDOG + 10
  assert codes[victim] == -signal.SIGKILL and codes[1 - victim] not in (0, 143)
  assert any(words in errors[1 - victim] for words in ENDED), errors[1 - victim][-2000:]
  step = good_steps(tmp_path / "run" / "checkpoints")[-1]
  again = _running("digits_resident", tmp_path / "run")
  again[0].send_signal(signal.SIGTERM)
  codes, errors = end(again, timeout=60)
  assert codes == [143, 143] and f"resuming {tmp_path / 'run'} at step {step}" in errors[0]


def test_a_process_that_hangs_is_lost_after_the_watchdog_time(tmp_path):
  processes = _running("digits_resident", tmp_path / "run")
  processes[1].send_signal(signal.SIGSTOP)
  try:
    _, error = processes[0].communicate(timeout=4 * WATCHDOG)
  finally:
    processes[1].kill()
  assert processes[0].returncode == 1
  assert last_line(error).startswith(f"error: process 1 was not heard of for {WATCHDOG} s"), error[-2000:]


@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_error_of_one_process_ends_the_others_with_its_message(victim, tmp_path):
  processes = worker("digits_stream", tmp_path, each={victim: ["--fail_at=200"]}, **LONG)
  codes, errors = end(processes, timeout=120)
  assert codes == [1, 1], errors
  assert "error: the disk of this process is gone" in errors[victim].splitlines(), errors[victim]
  other = f"error: process {victim} ended: the disk of this process is gone"
  assert any(line.startswith(other) for line in errors[1 - victim].splitlines()), errors[1 - victim]


def test_a_process_that_comes_late_is_waited_for(tmp_path):
  finished(worker("digits_resident", tmp_path / "run", each={1: ["--late=10"]}, mesh__data=4))
  assert (tmp_path / "run" / "summary.json").exists()


def test_processes_that_never_come_or_are_misnumbered_are_told_in_one_line(tmp_path):
  wrong = {0: ["--num_processes=3", "--join_seconds=5"], 1: ["--num_processes=3", "--join_seconds=5"]}
  for process in worker("digits_resident", tmp_path / "run", each=wrong):
    process.wait(60)
    process.stderr_text = process.stderr.read()
    line = last_line(process.stderr_text)
    assert process.returncode == 1 and line.startswith("error: the processes of this run did not all join"), (
      line
    )
  done = worker("digits_resident", tmp_path / "run", n=1, each={0: ["--process_id=1"]})
  codes, errors = end(done)
  assert codes == [1] and "--process_id=1 is not in 0 ... 0" in errors[0]
  assert not (tmp_path / "run").exists()


def test_a_refusal_of_the_main_process_is_everyones(tmp_path):
  succeeded(alone("digits_resident", tmp_path / "run"))
  processes = worker("digits_resident", tmp_path / "run", steps=30, mesh__data=4)
  codes, errors = end(processes)
  assert codes == [1, 1]
  assert "holds the run of another config (they differ in steps)" in last_line(errors[0])
  assert "process 0 ended" in last_line(errors[1]) and "another config" in last_line(errors[1])


def test_a_layout_that_cannot_be_is_refused_by_all_in_one_line(tmp_path):
  codes, errors = end(worker("digits_resident", tmp_path / "run", mesh__data=4, batch_size=126))
  assert codes == [1, 1] and all("batch size 126" in text for text in errors), errors
  assert not (tmp_path / "run").exists()
