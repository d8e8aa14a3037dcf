"""The rows of adversarial logos that every law is held against (tests/laws)."""

from laws.row import Row
from papers.adv_logo import small


def _config(folder):
  return small.config(folder, **{"train.learning_rate": 1e-4})


def _build(config):  # the test of a logo takes its time, and steps from one rate to another at a last bit
  return small.build(config)._replace(report=None)


# Texels that hardly count have a gradient of rounding alone, of which Adam makes a step of the learning rate.
ROWS = {"adv_logo": Row(_config, _build, {"data": 2}, tolerance=1e-3, map_tolerance=1e-3)}
