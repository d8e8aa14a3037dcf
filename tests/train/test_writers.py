"""The logs: what TensorBoard reads, and files that cannot be written."""

import json
import struct

import pytest
from tensorboardX.proto import event_pb2
from tensorboardX.record_writer import masked_crc32c

from vita_jax.report.rows import read_rows
from vita_jax.train.writers import LogFile, open_logs

METRICS = {"loss": 1.0}, {"validation_loss": 2.0}


def _events(folder):
  (path,) = sorted(folder.glob("events.out.tfevents.*"))[-1:]
  data, events = path.read_bytes(), []
  while data:
    (length,) = struct.unpack("<Q", data[:8])
    assert data[8:12] == struct.pack("<I", masked_crc32c(data[:8]))
    body = data[12 : 12 + length]
    assert data[12 + length : 16 + length] == struct.pack("<I", masked_crc32c(body))
    events.append(event_pb2.Event.FromString(body))
    data = data[16 + length :]
  return events


def test_tensorboard_files_are_records_grouped_by_split(tmp_path):
  logs = open_logs(tmp_path, step=4, warn=pytest.fail)
  metrics = {"loss": [1.0, 3.0], "validation_loss": 0.5, "gone": None}
  logs.write({"stage": "fit", "at": 2, "step": 6, "split": "train", "metrics": metrics})
  logs.write({"stage": "fit", "at": 2, "step": 6, "split": "test", "metrics": {"loss": 4.0}})
  logs.close()
  version, start, *rows = _events(tmp_path / "tensorboard")
  assert version.file_version == "brain.Event:2"
  assert start.session_log.status == event_pb2.SessionLog.START and start.step == 5
  found = {(row.step, value.tag): value.simple_value for row in rows for value in row.summary.value}
  assert found == {(6, "train/loss"): 2.0, (6, "validation/loss"): 0.5, (6, "test/loss"): 4.0}


def test_a_resumed_run_writes_each_row_once(tmp_path):
  """The means up to step 4 were written at the save; what step 4 observed came later, and was lost or not."""
  means, observed = ({"stage": "fit", "at": 4, "step": 4, "split": "train", "metrics": m} for m in METRICS)
  for already in ([means], [means, observed]):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in already))
    logs = open_logs(tmp_path, step=4, warn=pytest.fail)
    logs.write(observed)
    logs.close()
    assert read_rows(tmp_path / "metrics.jsonl") == [means, observed]


def test_a_file_that_cannot_be_opened_is_told_once(tmp_path):
  (tmp_path / "file").touch()
  warnings = []
  log = LogFile(tmp_path / "file" / "below", warnings.append, root=tmp_path)
  log.append(b"a")
  log.append(b"b")
  log.close()
  assert len(warnings) == 2 and all(str(tmp_path / "file" / "below") in line for line in warnings)
  assert "lacks 2 rows" in warnings[1]
