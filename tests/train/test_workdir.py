"""One process per workdir, said truly; and a workdir that goes away."""

import errno
import fcntl
import json
import os
import shutil

import pytest

from train import tiny
from train.test_writers import _events
from vita_jax import train
from vita_jax.data import Stream
from vita_jax.train import workdir as workdir_lib


def _run(folder, experiment=None):
  return train.run(experiment or tiny.experiment(), tiny.get_config(), folder)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EWOULDBLOCK])
def test_a_lock_that_is_held_is_another_process(number, tmp_path, monkeypatch):
  def flock(file, how):
    raise OSError(number, os.strerror(number))

  monkeypatch.setattr(fcntl, "flock", flock)
  with pytest.raises(train.RunError, match="another process is running in"):
    _run(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_said_and_trained_on(number, tmp_path, monkeypatch, capsys):
  def flock(file, how):
    raise OSError(number, os.strerror(number))

  monkeypatch.setattr(fcntl, "flock", flock)
  assert _run(tmp_path)["complete"]
  text = capsys.readouterr().err
  assert f"the file system of {tmp_path} has no locks ({os.strerror(number)})" in text
  assert "another process" not in text


def test_a_fresh_owner_elsewhere_keeps_the_folder_and_a_stale_one_does_not(tmp_path):
  record = tmp_path / workdir_lib.OWNER
  record.write_text(json.dumps({"host": "elsewhere", "pid": 7}))
  with pytest.raises(
    train.RunError, match="process 7 on elsewhere, heard of . s ago.*if it is gone, wait 60"
  ):
    _run(tmp_path)
  past = record.stat().st_mtime - workdir_lib.STALE_SECONDS - 1
  os.utime(record, (past, past))
  assert _run(tmp_path)["complete"] and not record.exists()


def test_the_owner_is_recorded_with_a_heartbeat_while_a_run_goes_on(tmp_path, monkeypatch):
  monkeypatch.setattr(workdir_lib, "BEAT_SECONDS", 0.01)
  record, seen = tmp_path / workdir_lib.OWNER, []

  def report(state, evaluate, sweep):
    os.utime(record, (0, 0))
    while record.stat().st_mtime == 0:
      pass
    seen.append(json.loads(record.read_text()))
    return train.Report({})

  _run(tmp_path, tiny.experiment()._replace(report=report))
  assert seen == [{"host": os.uname().nodename, "pid": os.getpid()}] and not record.exists()


def test_a_folder_that_is_not_shared_is_named(tmp_path, monkeypatch):
  monkeypatch.setattr(workdir_lib, "SEE_SECONDS", 1)
  monkeypatch.setattr(workdir_lib.cluster, "exchange", lambda text: ['{"host": "first", "pid": 3}', text])
  with pytest.raises(
    train.RunError, match="does not see what process 0 wrote.*one folder that all processes"
  ):
    _run(tmp_path)


class Rows:
  """The rows of `tiny`; `damage()` is done once, in the middle of the run."""

  def __init__(self, damage):
    self.damage, self.left = damage, 100

  def __len__(self):
    return len(tiny.ROWS)

  def __getitem__(self, i):
    self.left -= 1
    if self.left == 0:
      self.damage()
    return {"x": tiny.ROWS[i]}


@pytest.mark.parametrize("damage", ["renamed", "deleted", "replaced"])
def test_a_workdir_that_goes_away_stops_the_run_with_a_line(damage, tmp_path, capsys):
  folder = tmp_path / "W"

  def go():
    folder.rename(tmp_path / "other")
    if damage == "deleted":
      shutil.rmtree(tmp_path / "other")
    if damage == "replaced":
      folder.mkdir()

  with pytest.raises(train.RunError, match="W was renamed or deleted during the run.*resume") as error:
    _run(folder, tiny.experiment(Stream(Rows(go), 4), steps=400))
  assert "\n" not in str(error.value)
  assert "warning" not in capsys.readouterr().err or damage == "replaced"
  assert not (folder / "summary.json").exists() and not (folder / "config.json").exists()


@pytest.mark.parametrize("name", ["metrics.jsonl", "tensorboard", "config.json", "checkpoints", "everything"])
def test_a_file_that_is_deleted_during_a_run_is_named_and_begun_anew(name, tmp_path, capsys):
  names = ["metrics.jsonl", "tensorboard", "config.json", "checkpoints"] if name == "everything" else [name]

  def delete():
    # Renamed first: the run may write into a folder while `rmtree` empties it, which then fails.
    for path in names:
      gone = (tmp_path / path).rename(tmp_path / f"gone-{path}")
      gone.unlink() if gone.is_file() else shutil.rmtree(gone)

  config = tiny.get_config(log_every=1)
  summary = train.run(tiny.experiment(Stream(Rows(delete), 4), steps=60), config, tmp_path)
  lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
  assert summary["complete"]
  for path in names:
    (line,) = [
      line for line in lines if str(tmp_path / path) in line and "was deleted during the run" in line
    ]
    assert (tmp_path / path).exists()
  if "metrics.jsonl" in names:
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["step"] > 10 and rows[-1]["step"] == 60
    (end,) = [line for line in lines if "metrics.jsonl lacks" in line]
    assert lines[-1] in [line for line in lines if "lacks" in line]
  if "tensorboard" in names:
    version, start, *events = _events(tmp_path / "tensorboard")
    assert version.file_version == "brain.Event:2" and events[-1].step == 60
  if "config.json" in names:
    assert json.loads((tmp_path / "config.json").read_text())["config"]["paper"] == "tiny"


@pytest.mark.parametrize("name", [*workdir_lib.FILES, *workdir_lib.FOLDERS])
def test_a_file_in_the_place_of_a_folder_is_named_before_anything_is_written(name, tmp_path):
  wrong = tmp_path / name
  wrong.mkdir() if name in workdir_lib.FILES else wrong.touch()
  with pytest.raises(train.RunError, match=f"{name} is a (file|folder), and a run writes .*: move it away"):
    _run(tmp_path)
  assert list(tmp_path.iterdir()) == [wrong]
