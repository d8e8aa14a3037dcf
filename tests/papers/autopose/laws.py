"""The rows of AutoPose that every law is held against (tests/laws)."""

from laws.row import Row
from papers.autopose import small

from vita_jax import papers


def _trained(folder):
  del folder
  return small.config("retrain:all_edges", **{"train.rate": 1e-4})


def _searched(folder):
  # Network level and cells are searched, of plain cells: few programs. Little steps, so that sums in another
  # order turn no draw of the controller.
  del folder
  own = {"search.rate": 1e-4, "controller.rate": 1e-4}
  return small.config("network_only", **own)


# Slow: a supernet is minutes of compiling, and under vmap its conds are selects.
ROWS = {
  "autopose_trained": Row(_trained, papers.build, {"data": 2}, tolerance=1e-2, map_tolerance=1e-2, slow=True),
  "autopose_searched": Row(
    _searched, papers.build, {"data": 2}, tolerance=1e-2, map_tolerance=1e-2, slow=True
  ),
}
