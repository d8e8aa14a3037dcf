"""The rows of ASG that every law is held against (tests/laws)."""

from laws.row import Row
from papers.asg import small

from vita_jax import papers


def _config(folder):
  del folder
  return small.config("asg", **{"finetune.rate": 1e-3, "pretrain.rate": 1e-3})


# Slow: three stages, each a program of its own. Sums in another order may turn a draw of the controller.
ROWS = {"asg": Row(_config, papers.build, {"data": 2}, tolerance=1e-2, map_tolerance=1e-3, slow=True)}
