"""The row of PCAL that every law is held against (tests/laws)."""

from laws.row import Row

from vita_jax import papers
from vita_jax.papers.pcal.recipe import default_config


def _row(**overrides):
  def config(folder):
    del folder
    found = default_config("credit/german", ("age", "sex"))
    found.update({"encoder_widths": (8,), "latent": 2, "head_widths": (4,), "batch_size": 16})
    found.update({"pretrain_steps": 4, "steps": 12, "refit_steps": 4, "eval_every": 4, "log_every": 4})
    found.adversary.update({"widths": ((), (4,)), "steps": 2})
    found.restart.update({"every": 4, "steps": 2})
    found.update_from_flattened_dict(overrides)
    return found

  def build(config):  # an audit takes its time, and rests on scikit-learn's last bits
    return papers.build(config)._replace(report=None)

  # Adam moves a weight by its step, whatever the size of a gradient that differs in its last bit.
  return Row(config, build, {"seed": 2, "data": 1}, tolerance=1e-3, map_tolerance=1e-4)


ROWS = {"pcal": _row(select="validation", noise=0.1)._replace(slow=True)}
