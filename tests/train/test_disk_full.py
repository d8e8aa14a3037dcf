"""A disk that fills up: logs and pictures are left out with a warning, all else ends in one line."""

import json

import pytest

from train import tiny
from train.disks import fill, small_disk
from vita_jax import train
from vita_jax.data import Stream
from vita_jax.train.checkpoint import good_steps

STEPS = 200  # rows of logs beyond the page that a file on a full tmpfs still has


class Filling:
  """The rows of `tiny`; the disk is full once row number `at` was read."""

  def __init__(self, disk, at):
    self.disk, self.left = disk, at

  def __len__(self):
    return len(tiny.ROWS)

  def __getitem__(self, i):
    self.left -= 1
    if self.left == 0:
      fill(self.disk)
    return {"x": tiny.ROWS[i]}


def _run(workdir, disk, capsys, *, at=60, report=None, **overrides):
  """(summary, lines on stderr) of a run whose disk fills up in its middle."""
  experiment = tiny.experiment(Stream(Filling(disk, at), 4), steps=STEPS)
  if report:
    experiment = experiment._replace(report=report)
  config = tiny.get_config(log_every=1, **overrides)
  summary = train.run(experiment, config, workdir)
  return summary, capsys.readouterr().err.splitlines()


def _warnings(lines, path):
  return [line for line in lines if line.startswith(f"warning: cannot write {path}")]


def test_full_tensorboard_folder(tmp_path, capsys):
  with small_disk(tmp_path / "W" / "tensorboard", kilobytes=64) as disk:
    summary, lines = _run(tmp_path / "W", disk, capsys)
    (line,) = _warnings(lines, disk)
  assert summary["complete"] and "No space left on device" in line and "the run goes on" in line
  rows = [json.loads(line) for line in (tmp_path / "W" / "metrics.jsonl").read_text().splitlines()]
  assert [row["step"] for row in rows if row["split"] == "train"] == list(range(1, STEPS + 1))


def test_full_disk_of_metrics_jsonl(tmp_path, capsys):
  with small_disk(tmp_path / "small", kilobytes=64) as disk:
    (tmp_path / "W").mkdir()
    (disk / "metrics.jsonl").touch()
    log = tmp_path / "W" / "metrics.jsonl"
    log.symlink_to(disk / "metrics.jsonl")
    summary, lines = _run(tmp_path / "W", disk, capsys)
    assert summary["complete"] and len(_warnings(lines, log)) == 1
    assert sum(f"{log} lacks" in line for line in lines) == 1
    rows = [json.loads(line) for line in log.read_text().splitlines()]  # whole lines only
    assert 0 < rows[-1]["step"] < STEPS


def test_full_disk_of_the_figures(tmp_path, capsys):
  with small_disk(tmp_path / "W" / "figures", kilobytes=64) as disk:
    summary, lines = _run(tmp_path / "W", disk, capsys)
    (line,) = [line for line in lines if "curves.png was not drawn" in line]
    assert "No space left" in line and summary["complete"]
    assert list(disk.iterdir()) == [disk / "filler"]
  assert (tmp_path / "W" / "summary.json").exists()


def test_full_disk_at_the_end(tmp_path, capsys):
  """summary.json cannot be written: one line; after making room the same command writes it."""
  with small_disk(tmp_path / "W") as disk:
    (tmp_path / "export").mkdir()
    (disk / "export").symlink_to(tmp_path / "export")
    filled = []

    def report(state, evaluate, sweep):
      if not filled:
        filled.append(fill(disk))
      return train.Report({})

    with pytest.raises(train.RunError, match=r"could not be written.*summary.json.*No space left") as error:
      _run(disk, disk, capsys, at=-1, report=report)
    assert "\n" not in str(error.value) and not (disk / "summary.json").exists()
    filled[0].unlink()
    assert _run(disk, disk, capsys, at=-1, report=report)[0]["complete"]


def test_full_disk_of_the_checkpoints(tmp_path, capsys):
  """One line with the last good step; a restart on the full disk names a file; with room it resumes."""
  with small_disk(tmp_path / "W") as disk:
    with pytest.raises(train.RunError, match="could not write a checkpoint to .*No space left") as error:
      _run(disk, disk, capsys, save_seconds=0.0)
    assert "\n" not in str(error.value)
    last = good_steps(disk / "checkpoints")[-1]
    assert f"The last good checkpoint is step {last}" in str(error.value)
    with pytest.raises((train.RunError, OSError), match=f"write .*{disk}/.*No space left"):
      _run(disk, disk, capsys, at=-1, save_seconds=0.0)
    (disk / "filler").unlink()
    summary, lines = _run(disk, disk, capsys, at=-1, save_seconds=0.0)
    assert summary["complete"] and f"resuming {disk} at step {last}" in lines
