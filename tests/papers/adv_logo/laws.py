"""The rows of adversarial logos that every law is held against (tests/laws)."""

from laws.row import Row
from papers.adv_logo import small


def _build(config):  # the test of a logo takes its time, and steps from one rate to another at a last bit
  return small.build(config)._replace(report=None)


# Where two locations score alike the gradient takes one of them; Adam makes of it a step of its own size.
ROWS = {"adv_logo": Row(small.config, _build, {"data": 2}, tolerance=1e-3, map_tolerance=1e-4)}
