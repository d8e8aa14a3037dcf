"""The suite of the table: what its rows ask for, and what its bars say of numbers that were made up."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from vita_jax.cli.rows import row_config
from vita_jax.papers.gan_slimming.recipe import check

SUITE = runpy.run_path(str(Path(__file__).parents[3] / "configs" / "gan_slimming" / "table.py"))


def summary(psnr, **metrics):
  """Three seeds around a PSNR; further metrics have the same number for each."""
  values = {"psnr": [psnr - 0.01, psnr, psnr + 0.01], **{name: [x] * 3 for name, x in metrics.items()}}
  found = {k: {"mean": float(np.mean(v)), "values": v, "diverged": 0} for k, v in values.items()}
  return {"seeds": [0, 1, 2], "metrics": found}


def after(bits, psnr, ratio):
  return {f"ptq{bits}_psnr": psnr, f"ptq{bits}_bytes_ratio": ratio, f"ptq{bits}_kernel_mobilenet_v2": 0.5}


@pytest.fixture
def summaries():
  kernel = {"kernel_mobilenet_v2": 0.2}
  return {
    "teacher": summary(20.0, identity_psnr=13.5, histogram_psnr=14.5, mse_target=0.040),
    "35 % GS-32": summary(19.8, mse_target=0.041, bytes_ratio=3.8, pruned_by_training=0.66, macs_share=0.347),
    "20 % GS-32": summary(19.5, macs_share=0.199),
    "35 % GS-8": summary(19.7, mse_target=0.042, bytes_ratio=14.9, pruned_by_training=0.05, **kernel),
    "20 times smaller GS-8": summary(19.2, mse_target=0.045, bytes_ratio=20.1, **kernel),
    "35 % stack": summary(
      19.0, macs_share=0.25, **after(8, 18.9, 14.8), **after(6, 17.0, 20.2), **after(4, 12.0, 29.0)
    ),
    "35 % random": summary(18.0, macs_share=0.348),
    "35 % CP": summary(19.9, macs_share=0.345),
  }


def test_every_row_is_a_config_that_holds():
  rows = SUITE["get_suite"]()
  for row in rows:
    config = row_config(row, None)
    check(config)
    assert config.seeds == (1 if row.label == "teacher" else 3)
  assert len({row.label for row in rows}) == len(rows)
  baselines = {row.label: row.baseline for row in rows}
  assert baselines["20 % random"] == "20 % GS-32" and baselines["35 % CEC"] == "35 % GS-32"
  assert baselines["35 % GS-32"] == baselines["full D"] == baselines["20 times smaller GS-8"] == ""
  runs = {row.label: row.folder for row in rows}
  assert runs["35 % stack, 4 bits after"] == runs["35 % stack"] != runs["35 % GS-32, 4 bits after"]


def test_bars_compare_what_has_as_many_bytes(summaries, tmp_path):
  text = SUITE["finish"](summaries, tmp_path)
  assert "over the identity map +6.50 dB (bar 2), over histogram matching +5.50 (1)" in text
  assert "35 % GS-32: distance to target +2.5 % of the teacher's, 3.8 times smaller" in text
  assert "35 % GS-32 - CP at 34%: -0.10 [-0.10, -0.10], 20 % GS-32 - stack at 25%: +0.50 [+0.50" in text
  assert "35 % GS-32 - random at 35%: +1.80" in text
  assert "above 0 for 2 of 3 (bar 3 of 4)" in text
  assert "35 % GS-8 (14.9 times) minus 35 % stack, 8 bits after (14.8): psnr +0.800" in text
  assert "20 times smaller GS-8 (20.1 times) minus 35 % stack, 6 bits after (20.2): psnr +2.200" in text
  assert "kernel_mobilenet_v2 -0.300" in text
  assert "35 % stack, 4 bits after (29.0 times smaller): no row of GS-8 is as small" in text
  assert "5 % at least, in 35 % GS-8 (bar 10 %)" in text and "diverged: none" in text
  assert (tmp_path / "bytes.png").exists() and not (tmp_path / "pictures.png").exists()


def test_seeds_that_diverged_do_not_stop_a_table(summaries, tmp_path):
  for entry in summaries["35 % GS-8"]["metrics"].values():
    entry.update({"mean": None, "values": [None] * 3, "diverged": 3})
  text = SUITE["finish"](summaries, tmp_path)
  assert "diverged: 35 % GS-8 (3)" in text and "distance to target +nan %" in text


def test_one_sheet_shows_all_methods(summaries, tmp_path):
  folder = tmp_path / "35_stack" / "seed_0"
  folder.mkdir(parents=True)
  names = ("input", "target", "teacher", "method", "ptq8", "ptq6", "ptq4")
  np.savez(folder / "crops.npz", **{name: np.full((2, 8, 8, 3), i, np.uint8) for i, name in enumerate(names)})
  rows = [{"stage": "slim", "at": t, "step": t, "split": "train", "metrics": {"loss": 1 / t}} for t in (1, 2)]
  (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  summaries["35 % stack, 4 bits after"] = summaries["35 % stack"]
  columns = SUITE["_columns"](summaries, tmp_path)
  assert {name: int(x[0, 0, 0, 0]) for name, x in columns.items()} == {
    "input": 0,
    "target": 1,
    "teacher": 2,
    "stack": 3,
    "stack, 4 bits after": 6,
  }
  SUITE["finish"](summaries, tmp_path)
  assert (tmp_path / "pictures.png").exists() and (tmp_path / "losses.png").exists()
  assert SUITE["_losses"](summaries, tmp_path) == {"stack": [(1, 1.0), (2, 0.5)]}
