"""Small charts and Markdown tables: what is in them."""

import numpy as np

from vita_jax.report.charts import bars, heat_maps, lines
from vita_jax.report.tables import grid


def test_charts_show_every_value():
  figure = lines({"a": [(50, 0.8), (20, 0.9)], "b": [(50, 0.5)]}, x="pruned", y="accuracy")
  drawn = figure.axes[0].lines
  assert drawn[0].get_xydata().tolist() == [[20, 0.9], [50, 0.8]] and drawn[1].get_label() == "b"
  assert [bar.get_width() for bar in bars({"one": 3, "two": 4}, x="n").axes[0].patches] == [3, 4]
  grids = {"first": np.array([[1.0, np.nan]]), "second": np.array([[-2.0, 0.5]])}
  figure = heat_maps(grids, ["r"], ["c", "d"], x="x", y="y", unit="points")
  assert [t.get_text() for axes in figure.axes[:2] for t in axes.texts] == ["+1.0", "-2.0", "+0.5"]
  assert figure.axes[2].get_ylabel() == "points"


def test_a_grid_keeps_the_order_and_leaves_missing_cells_empty():
  found = grid({("b", "x"): "1", ("a", "y"): "2"}, corner="of \\ on")
  assert found == "| of \\ on | x | y |\n| --- | --- | --- |\n| b | 1 |  |\n| a |  | 2 |\n"
