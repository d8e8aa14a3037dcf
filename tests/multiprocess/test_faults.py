"""What happens to all processes of a run when something happens to one of them."""

import signal
import socket

import pytest
from launch.commands import succeeded, wait_for

from multiprocess.processes import WATCHDOG, alone, end, finished, has_line, worker
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
  codes, errors = end(processes, timeout=20 * WATCHDOG)
  assert codes == [143, 143], errors
  step = good_steps(tmp_path / "run" / "checkpoints")[-1]
  assert has_line(errors[0], f"stopped at step {step}, saved in "), errors[0]
  assert "the same command resumes it" in errors[0]
  again = _running("digits_stream", tmp_path / "run")
  again[1 - victim].send_signal(signal.SIGTERM)
  codes, errors = end(again, timeout=20 * WATCHDOG)
  assert codes == [143, 143] and f"at step {step}" in errors[0]


@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_killed_process_ends_the_others_and_a_restart_resumes(victim, tmp_path):
  processes = _running("digits_resident", tmp_path / "run")
  processes[victim].kill()
  codes, errors = end(processes, timeout=20 * WATCHDOG)
  assert codes[victim] == -signal.SIGKILL and codes[1 - victim] not in (0, 143)
  assert any(words in errors[1 - victim] for words in ENDED), errors[1 - victim][-2000:]
  step = good_steps(tmp_path / "run" / "checkpoints")[-1]
  again = _running("digits_resident", tmp_path / "run")
  again[0].send_signal(signal.SIGTERM)
  codes, errors = end(again, timeout=20 * WATCHDOG)
  assert codes == [143, 143] and f"resuming {tmp_path / 'run'} at step {step}" in errors[0]


@pytest.mark.slow  # the next one watches the same clock
def test_a_process_that_hangs_is_lost_after_the_watchdog_time(tmp_path):
  processes = _running("digits_resident", tmp_path / "run")
  processes[1].send_signal(signal.SIGSTOP)
  try:
    _, error = processes[0].communicate(timeout=20 * WATCHDOG)
  finally:
    processes[1].kill()
  assert has_line(error, f"error: process 1 was not heard from for {WATCHDOG} s"), error[-2000:]


def test_a_process_that_lives_and_makes_no_step_ends_all(tmp_path):
  """Its heart beats, and the others wait for it in a collective: only progress tells."""
  processes = worker("digits_stream", tmp_path / "run", each={1: ["--stall_at=2000"]}, **LONG)
  codes, errors = end(processes, timeout=20 * WATCHDOG)
  assert codes == [1, 1], errors
  assert all("no process made a step for" in text or "process" in text for text in errors), errors
  assert any(has_line(text, "error: no process made a step for") for text in errors), errors


@pytest.mark.slow
@pytest.mark.parametrize("place", ["evaluate", "report"])
def test_a_process_that_hangs_in_what_has_no_steps_ends_all(place, tmp_path):
  """A heart that beats and the word "busy" are not enough for ever."""
  flags = {i: [f"--busy_seconds={2 * WATCHDOG}"] for i in (0, 1)}
  flags[1] = [*flags[1], f"--stall_in={place}"]
  processes = worker("digits_resident", tmp_path / "run", each=flags, mesh__data=4)
  codes, errors = end(processes, timeout=40 * WATCHDOG)
  assert codes == [1, 1], errors
  told = [text for text in errors if has_line(text, f"error: no progress for {2 * WATCHDOG} s")]
  assert told and f"process 1 is busy with '{place}'" in told[0], errors


@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_error_of_one_process_ends_the_others_with_its_message(victim, tmp_path):
  processes = worker("digits_stream", tmp_path, each={victim: ["--fail_at=200"]}, **LONG)
  codes, errors = end(processes, timeout=20 * WATCHDOG)
  assert codes == [1, 1], errors
  assert has_line(errors[victim], "error: the disk of this process is gone"), errors[victim]
  other = f"error: process {victim} ended: the disk of this process is gone"
  assert has_line(errors[1 - victim], other), errors[1 - victim]


@pytest.mark.slow
def test_a_process_that_comes_late_is_waited_for(tmp_path):
  finished(worker("digits_resident", tmp_path / "run", each={1: ["--late=10"]}, mesh__data=4))
  assert (tmp_path / "run" / "summary.json").exists()


def test_processes_that_never_come_or_are_misnumbered_are_told_in_one_line(tmp_path):
  wrong = {0: ["--num_processes=3", "--join_seconds=20"], 1: ["--num_processes=3", "--join_seconds=20"]}
  for process in worker("digits_resident", tmp_path / "run", each=wrong):
    _, error = process.communicate(timeout=20 * WATCHDOG)
    assert process.returncode == 1 and has_line(error, "error: the processes of this run did not all join"), (
      error
    )
  done = worker("digits_resident", tmp_path / "run", n=1, each={0: ["--process_id=1"]})
  codes, errors = end(done)
  assert codes == [1] and "--process_id=1 is not in 0 ... 0" in errors[0]
  assert not (tmp_path / "run").exists()


def test_a_port_that_is_in_use_is_told_in_one_line(tmp_path):
  with socket.socket() as taken:
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    flags = [f"--coordinator=127.0.0.1:{taken.getsockname()[1]}"]
    codes, errors = end(worker("digits_resident", tmp_path / "run", n=1, each={0: flags}))
  assert codes == [1] and "that port is in use; choose another one" in errors[0]


UNLIKE = {
  "config.hidden": (
    ['--overrides={"hidden": 16, "mesh.data": 4}'],
    "config.hidden is 16 in process 1 and 32",
  ),
  "the data": (["--unlike=data"], "the data 'train' is"),
  "config.seed": (['--overrides={"seed": 5, "mesh.data": 4}'], "config.seed is 5 in process 1 and 0"),
  "config.steps": (['--overrides={"steps": 9, "mesh.data": 4}'], "config.steps is 9 in process 1 and 20"),
  "a version": (["--unlike=version"], "the version of jax is 0.0.1 in process 1"),
  "the code": (["--unlike=code"], "the code of vita_jax is 0000000000000000 in process 1"),
}


@pytest.mark.parametrize(
  "kind", [k if i < 1 else pytest.param(k, marks=pytest.mark.slow) for i, k in enumerate(UNLIKE)]
)
def test_processes_that_do_not_run_the_same_are_refused_by_name(kind, tmp_path):
  flags, words = UNLIKE[kind]
  codes, errors = end(worker("digits_resident", tmp_path / "run", each={1: flags}, mesh__data=4))
  assert codes == [1, 1], errors
  assert all("the processes do not run the same" in text and words in text for text in errors), errors
  assert not (tmp_path / "run").exists()


def test_a_refusal_of_the_main_process_is_everyones(tmp_path):
  succeeded(alone("digits_resident", tmp_path / "run"))
  processes = worker("digits_resident", tmp_path / "run", steps=30, mesh__data=4)
  codes, errors = end(processes)
  assert codes == [1, 1]
  assert "holds the run of another config (they differ in steps)" in errors[0]
  assert has_line(errors[1], "error: process 0 ended: ") and "another config" in errors[1]


def test_a_layout_that_cannot_be_is_refused_by_all_in_one_line(tmp_path):
  codes, errors = end(worker("digits_resident", tmp_path / "run", mesh__data=4, batch_size=126))
  assert codes == [1, 1] and all("batch size 126" in text for text in errors), errors
  assert not (tmp_path / "run").exists()
