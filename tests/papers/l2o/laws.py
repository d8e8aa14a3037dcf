"""The rows of L2O that every law is held against (tests/laws): meta-training, and one optimization."""

from laws.row import Row

from vita_jax import papers
from vita_jax.papers.l2o.recipe import default_config, optimize_config


def _train(kind, **overrides):
  def config(folder):
    del folder
    found = default_config(kind, "cl_il", variants=("cl_il",))
    found.optimizee.update({"name": "digits_mlp", "batch_size": 16})
    found.update({"unroll_length": 2, "stages": (4, 6), "inner_steps": 20, "log_every": 4})
    found.imitation.ratio, found.patience = (0.5,), "continue"
    found.validation.update({"every": 1, "runs": 2})
    found.final.update({"steps": 100, "runs": 1})
    found.update_from_flattened_dict(overrides)
    return found

  # Differences grow along an optimization, and theta moves by a step of Adam's whatever their size.
  # Inside the loop over replicas XLA sums the optimizee's loss in another order: its last bit differs.
  return Row(config, papers.build, {"data": 2}, tolerance=1e-4, map_tolerance=1e-6)


def _optimize(**overrides):
  def config(folder):
    del folder
    found = optimize_config("digits_mlp")
    found.optimizee.batch_size, found.run.steps, found.log_every = 16, 100, 25
    found.update_from_flattened_dict(overrides)
    return found

  return Row(config, papers.build, {"data": 2}, map_tolerance=1e-6)


_TOGETHER = {"tasks": "vmap", "meta_batch": 2, "inner_steps": 40, "save_every": 2}
_MIXTURE = {
  "variant": "plain",
  "stages": (6,),
  "imitation.ratio": (0.0,),
  "meta_batch": 2,
  "inner_steps": 40,
  "meta_loss": "log_ratio",
  "meta.gradient": "pes",
  "mixture.tasks": ("quadratic", "digits_mlp"),
  "mixture.held_out": ("digits_relu",),
  "mixture.reparametrise": 2.0,
  "mixture.staggered": True,
  "mixture.schedule": "cosine",
  "meta.schedule": "cosine",
}
ROWS = {
  "l2o_dm": _train("l2o_dm")._replace(slow=True),
  "l2o_mlp_together": _train("l2o_mlp", **_TOGETHER)._replace(slow=True),
  "l2o_mixture": _train("vita_mlp", **_MIXTURE)._replace(slow=True),
  "l2o_optimize": _optimize(),
}
