"""The figure of a run: what shares a panel, what gets none, and a picture that cannot be drawn."""

import json

import pytest

from vita_jax.report import curves, write_figures
from vita_jax.report.rows import read_rows, split_of


def _row(step, split="train", **metrics):
  return {"stage": "fit", "at": step, "step": step, "split": split, "metrics": metrics}


def test_train_and_validation_loss_share_a_panel_with_a_legend():
  rows = [_row(t, loss=1 / t, validation_loss=2 / t, epoch=3.0) for t in (1, 2, 3)]
  rows += [_row(3, "test", loss=0.9)]
  (panel,) = curves(rows).axes  # the constant has none
  assert panel.get_ylabel() == "loss" and panel.get_xlabel() == "step"
  assert [text.get_text() for text in panel.get_legend().get_texts()] == ["train", "validation", "test"]
  assert [list(line.get_xdata()) for line in panel.lines] == [[1, 2, 3], [1, 2, 3], [3]]


def test_seeds_are_a_mean_with_a_band_that_the_legend_explains():
  rows = [_row(t, loss=[float(t), 2.0 * t, None]) for t in (1, 2)]
  (panel,) = curves(rows).axes
  (text,) = panel.get_legend().get_texts()
  assert text.get_text() == "train (mean ± std, 3 seeds)" and list(panel.lines[0].get_ydata()) == [1.5, 3.0]


def test_at_most_three_panels_beside_each_other():
  rows = [_row(t, **{f"m{i}": float(t + i) for i in range(7)}) for t in (1, 2)]
  panels = curves(rows).axes
  assert len(panels) == 7 and {p.get_subplotspec().get_gridspec().ncols for p in panels} == {3}
  assert panels[0].get_subplotspec().get_gridspec().nrows == 3


def test_nothing_to_draw_is_a_figure_too():
  assert curves([]).axes == [] and curves([_row(1, loss=1.0)]).axes == []


@pytest.mark.parametrize(
  ("split", "metric", "found"),
  [
    ("train", "validation_loss", ("validation", "loss")),
    ("train", "test_accuracy", ("test", "accuracy")),
    ("train", "ss_loss", ("train", "ss_loss")),
    ("train", "validation", ("train", "validation")),
    ("held out", "test_loss", ("held out", "test_loss")),
  ],
)
def test_the_split_of_a_metric(split, metric, found):
  assert split_of(split, metric) == found


def test_a_figure_that_cannot_be_drawn_is_a_warning_and_the_others_are_drawn(tmp_path):
  def broken():
    raise ValueError("one class\nis no picture")

  warnings = []
  write_figures(tmp_path, {"embedding": broken, "good": lambda: curves([])}, warn=warnings.append)
  assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["curves.png", "good.png"]
  (line,) = warnings
  assert "embedding.png was not drawn (one class); the numbers are complete" in line


BROKEN = [b"null", b"5", b"[1]", b'{"step": 3}', b"\xff\xfe", b'{"stage": "fit", "at"', b"[" * 100_000]


@pytest.mark.parametrize("line", BROKEN, ids=range(len(BROKEN)))
def test_a_line_that_is_no_row_costs_only_itself(line, tmp_path):
  rows = [json.dumps(_row(t, loss=1.0)).encode() for t in (1, 2)]
  (tmp_path / "metrics.jsonl").write_bytes(b"\n".join([rows[0], line, rows[1], b""]))
  assert [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")] == [1, 2]
