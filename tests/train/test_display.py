"""What a terminal and a log show of a run: everything that must be known fits, and silence is broken."""

import time

import jax
import pytest

from train import tiny
from vita_jax import train
from vita_jax.train import display, loop
from vita_jax.train.display import Plain, StageProgress, progress_line, shown

METRICS = {"accuracy": 0.912345, "adversary_loss": [1.0, 2.0], "loss": 0.123456, "validation_accuracy": 0.9}


def _pace(at, steps, metrics=METRICS, seconds=10.0):
  pace = StageProgress(0, steps)
  pace.move(at // 2, {})
  pace.move(at, metrics)
  last = pace._marks.pop()
  pace._marks.append((pace._marks[0][0] + seconds, last[1]))
  return pace


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("steps", [9, 31, 100_000, 1_000_000_000])
@pytest.mark.parametrize("stage", ["train", "a_stage_with_a_rather_long_name"])
def test_step_total_rate_and_time_left_always_fit(width, steps, stage):
  at = steps // 3
  line = progress_line(stage, _pace(at, steps), width)
  assert len(line) <= width
  assert f"{at}/{steps}" in line or width < 45
  if width >= 60:
    assert ("/s" in line or "s each" in line) and ":" in line and "━" in line


def test_at_80_columns_the_most_important_metrics_are_shown_by_short_names():
  line = progress_line("train", _pace(400, 1000), 80)
  assert "400/1000" in line and "20/s" in line and "0:30" in line
  assert "  loss 0.1235" in line and "validation" not in line
  assert "acc 0.9123" in progress_line("train", _pace(400, 1000), 110)
  assert "val_acc 0.9" in progress_line("train", _pace(400, 1000), 140)


def test_a_terminal_without_unicode_gets_a_bar_of_its_own():
  line = progress_line("train", _pace(500, 1000), 80, plain=True)
  assert line.isascii() and "#" in line


def test_compiling_is_shown_until_the_first_step():
  pace = StageProgress(0, 100)
  assert progress_line("train", pace, 80) == "train step 0/100: compiling, 0 s"
  assert progress_line("preparing data", StageProgress(0, 0), 80) == "preparing data, 0 s"


def test_slow_steps_are_told_in_seconds_each():
  assert "2.0 s each" in progress_line("train", _pace(20, 40, seconds=20.0), 80)


def test_only_finite_metrics_are_shown_and_skipped_ones_when_there_are_any():
  assert shown({"loss": float("nan"), "skipped": 0.0, "a": None, "b": [1.0, 3.0]}) == "b 2"
  assert shown({"skipped": 2.0}) == "skipped 2"


def _wait_for(text, capsys):
  printed, end = "", time.monotonic() + 60
  while text not in printed and time.monotonic() < end:
    printed += capsys.readouterr().err
    time.sleep(0.01)
  assert text in printed
  return printed


def test_plain_output_breaks_its_silence(capsys):
  lines = Plain(between=1e9, silence=0.05)
  try:
    lines.begin("train", 0, 10)
    assert "[train] step 0/10: compiling" in capsys.readouterr().err
    _wait_for("[train] step 0/10: compiling\n", capsys)
    lines.update("train", 3, 10, {"loss": 0.5})
    assert "[train] step 3/10  loss 0.5\n" in capsys.readouterr().err
    _wait_for("[train] step 3/10  loss 0.5\n", capsys)  # not "(0 s)", as if it stood still
    lines.busy("writing the report")
    _wait_for("writing the report  (1 s)", capsys)
  finally:
    lines.close()


def test_the_first_numbers_after_compiling_are_printed_at_once(capsys):
  lines = Plain(between=1e9, silence=1e9)
  lines.begin("train", 0, 10)
  lines.update("train", 1, 10, {"loss": 0.5})
  lines.update("train", 2, 10, {"loss": 0.4})
  lines.close()
  assert capsys.readouterr().err.splitlines() == [
    "[train] step 0/10: compiling",
    "[train] step 1/10  loss 0.5",
  ]


def test_waiting_says_nothing_of_what_is_quick(capsys):
  with display.waiting("preparing data"):
    pass
  assert capsys.readouterr().err == ""


class _Recorder(display.Silent):
  """Keeps what a run tells its display, and when the transition into a stage was computed."""

  def __init__(self):
    self.told = []

  def begin(self, stage, at, steps):
    self.told.append(f"begin {stage}")

  def busy(self, what):
    self.told.append(what)


def test_the_way_into_a_stage_is_not_called_compiling(tmp_path, monkeypatch):
  recorder = _Recorder()

  def slow(x):
    recorder.told.append("entered")
    return x

  def enter(state, sweep):
    w = state["params"]["w"]
    return {**state, "params": {"w": jax.pure_callback(slow, jax.ShapeDtypeStruct(w.shape, w.dtype), w)}}

  whole = tiny.experiment()
  later = whole.stages[0]._replace(name="again", enter=enter)
  monkeypatch.setattr(loop, "open_display", lambda quiet: recorder)
  train.run(whole._replace(stages=(*whole.stages, later)), tiny.get_config(), tmp_path)
  assert recorder.told == ["begin fit", "entering again", "entered", "begin again", "writing the report"]


def test_the_bar_leaves_no_line_of_what_is_over(capsys):
  bar = display.Bar()
  bar.busy("entering again")
  bar.begin("again", 0, 4)
  assert list(bar._stages) == ["again"] == list(bar._tasks)
  bar.close()
