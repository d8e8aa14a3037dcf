"""The rows of MM-Hand that every law is held against (tests/laws)."""

from laws.row import Row
from papers.mm_hand import small

from vita_jax import papers


def _config(folder):
  # Little steps, so that sums in another order change nothing much; without dropout for the same reason.
  own = {"train.rate": 1e-5, "depth.source": "learned", "depth.steps": 3, "train.steps": 5}
  return small.config(folder, "mm_hand", **own)


# Slow: two judges, each on two sets of pictures, are minutes of compiling.
ROWS = {"mm_hand": Row(_config, papers.build, {"data": 2}, tolerance=1e-2, map_tolerance=1e-2, slow=True)}
