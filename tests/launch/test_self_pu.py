"""A user's own table through the scripts: trained, predicted, and refused in one line."""

import json

import numpy as np
import pytest

from launch.commands import launch, refused, succeeded

CONFIG = "configs/self_pu/tabular.py:nnpu"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  """(rows, schema, new rows without labels, their true classes)."""
  folder = tmp_path_factory.mktemp("table")
  random = np.random.default_rng(0)
  positive = random.random(500) < 0.5
  a, labelled = np.where(positive, 2.0, -2.0) + random.normal(size=500), positive & (random.random(500) < 0.3)
  rows = [f"{x:.3f},{'uv'[i % 2]},{int(k)}" for i, (x, k) in enumerate(zip(a, labelled, strict=True))]
  (folder / "rows.csv").write_text("a,kind,label\n" + "\n".join(rows[:400]) + "\n")
  new = [row.rsplit(",", 1)[0] for row in rows[400:]]
  (folder / "new.csv").write_text("a,kind\n" + "\n".join(new) + "\n")
  schema = {"numeric": ["a"], "categorical": ["kind"], "labelled": "label == 1"}
  (folder / "schema.json").write_text(json.dumps(schema))
  return *(str(folder / name) for name in ("rows.csv", "schema.json", "new.csv")), positive[400:]


def _flags(files, workdir, **changes):
  named = {"data.path": files[0], "data.schema": files[1], "prior": 0.5, "batch_size": 64, "epochs": 20}
  settings = [
    f"--config.{name}={value}" for name, value in {**named, "validation.rows": 60, **changes}.items()
  ]
  return [f"--config={CONFIG}", f"--workdir={workdir}", *settings]


@pytest.mark.slow
def test_train_evaluate_and_predict(files, tmp_path):
  workdir, out = tmp_path / "run", tmp_path / "P.npz"
  succeeded(launch("train", *_flags(files, workdir)))
  succeeded(launch("evaluate", f"--workdir={workdir}"))
  succeeded(launch("predict", f"--workdir={workdir}", f"--data={files[2]}", f"--out={out}"))
  with np.load(out) as found:
    assert (found["labels"] == files[3]).mean() > 0.85
    np.testing.assert_array_equal(found["labels"], found["probabilities"] > 0.5)


@pytest.mark.slow
def test_what_cannot_be_is_one_line(files, tmp_path):
  workdir = tmp_path / "run"
  refused(launch("train", *_flags(files, workdir, prior=1.5)), "config.prior is 1.5")
  refused(launch("train", *_flags(files, workdir, batch_size=2)), "smaller than the interleave")
  schema = tmp_path / "schema.json"
  schema.write_text(json.dumps({"numeric": ["a"], "labelled": "label == 1"}))
  refused(launch("train", *_flags(files, workdir, **{"data.schema": schema})), "columns without a role: kind")
  assert not workdir.exists()
