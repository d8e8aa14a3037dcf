"""The transfer matrix as text, numbers and picture."""

import csv
import io

from vita_jax.papers.bert_tickets.transfer import Cell, comma_separated, figure, markdown

FULL = (0.90, 0.92)
CELLS = [
  Cell("a", "a", "70", "accuracy", (0.91, 0.93), FULL),
  Cell("b", "a", "70", "accuracy", (0.80, 0.80), FULL),
  Cell("a", "b", "70", "matthews", (0.50,), (0.40,)),
  Cell("a", "a", "50", "accuracy", (0.95, 0.95), FULL),
]


def test_each_sparsity_is_a_matrix_of_differences():
  text = markdown(CELLS)
  parts = text.split("## Tickets of ")[1:]
  assert [part.split(" %")[0] for part in parts] == ["70", "50"]
  assert "| a (accuracy, full 91.00) | b (matthews, full 40.00) |" in parts[0]
  assert "| a | **+1.00 ± 1.00** | +10.00 ± 0.00 |" in parts[0]  # one seed has no spread: not marked
  assert "| b | -11.00 ± 0.00 |  |" in parts[0]
  assert "**+4.00 ± 0.00**" in parts[1]


def test_all_values_are_in_the_csv_and_all_cells_in_the_picture():
  rows = list(csv.DictReader(io.StringIO(comma_separated(CELLS))))
  assert [row["matching"] for row in rows] == ["True", "False", "", "True"]
  assert rows[1]["values"] == "0.8 0.8"
  assert abs(float(rows[1]["difference"]) + 0.11) < 1e-12
  drawing = figure(CELLS)
  texts = [t.get_text() for axes in drawing.axes[:2] for t in axes.texts]
  assert sorted(texts) == ["+1.0", "+10.0", "+4.0", "-11.0"]
