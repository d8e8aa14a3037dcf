"""The rows of GAN Slimming that every law is held against (tests/laws)."""

from laws.row import Row
from papers.gan_slimming import small

from vita_jax import papers


def _config(folder):
  # Little steps: a scale that is within rounding of its threshold would be pruned in one order of sums only.
  own = {"teacher.rate": 1e-4, "slim.rate": 1e-4, "slim.discriminator_rate": 1e-4, "finetune.rate": 1e-4}
  return small.config(folder, "gs8", **own)


ROWS = {
  "gan_slimming": Row(_config, papers.build, {"data": 2}, tolerance=1e-2, map_tolerance=1e-2, slow=True)
}
