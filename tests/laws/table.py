"""The experiments that every law is held against: one row per distinct program, small enough for seconds."""

from collections.abc import Callable
from typing import Any, NamedTuple

from laws import digits
from laws.small_graph import write_small_graph
from laws.small_texts import small_config, write_texts
from vita_jax import papers
from vita_jax.papers.l2o.recipe import default_config as l2o_config
from vita_jax.papers.l2o.recipe import optimize_config
from vita_jax.papers.pcal.recipe import default_config as pcal_config
from vita_jax.papers.self_pu.recipe import default_config as self_pu_config
from vita_jax.papers.ss_gcn.recipe import default_config


class Row(NamedTuple):
  """`config(folder)` makes a small config (files go to `folder`); `build(config)` the experiment.

  `mesh` is the layout of two devices that the experiment is tried on; `tolerance` what float
  reductions in another order may do to its metrics; `map_tolerance` the same for replicas by `map`, whose
  bits are else those of single runs. A `slow` row, minutes of compiling, is held to the laws by `make slow`.
  """

  config: Callable[[Any], Any]
  build: Callable[[Any], Any]
  mesh: dict[str, int]
  tolerance: float = 1e-5
  map_tolerance: float = 0.0
  slow: bool = False


def _digits(**overrides):
  def config(folder):
    del folder
    found = digits.get_config()
    found.update({"steps": 20, "log_every": 5, **overrides})
    return found

  return Row(config, digits.build, {"data": 2})


def _ss_gcn(task, **overrides):
  tasks = {"cluster": (0.8, 0), "partition": (0.8, 4), "completion": (0.5, 5)}

  def config(folder):
    found = default_config("", task, dict.fromkeys(("gcn", "gin", "gat"), tasks))
    found.update({"epochs": 16, "log_every": 4, "cache_dir": str(folder)})
    found.data.path = write_small_graph(folder / "graph.npz")
    found.update_from_flattened_dict(overrides)
    if task == "cluster":
      found.clustering.n_clusters = 12
    return found

  return Row(config, papers.build, {"seed": 2, "data": 1})


def _l2o(kind, **overrides):
  def config(folder):
    del folder
    found = l2o_config(kind, "cl_il", variants=("cl_il",))
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


def _l2o_optimize(**overrides):
  def config(folder):
    del folder
    found = optimize_config("digits_mlp")
    found.optimizee.batch_size, found.run.steps, found.log_every = 16, 100, 25
    found.update_from_flattened_dict(overrides)
    return found

  return Row(config, papers.build, {"data": 2}, map_tolerance=1e-6)


def _self_pu(method):
  """Two phases: nnPU alone, then every block of the method at once."""

  def config(folder):
    del folder
    found = self_pu_config("digits", method, prior=0.496, batch_size=160, validation__rows=150)
    found.data.n_labelled, found.validation.labelled = 40, 15
    found.model.hidden, found.log_every = (8,), 3
    found.epochs, found.distillation.start = 2, 1
    found.self_paced.update({"start": 0, "stop": 1, "every": 1, "increasing": False})
    found.calibration.update({"start": 1, "stop": 2})
    return found

  # Adam makes of a last bit in a gradient a step of its own size; `map` sums the last layer in another order.
  return Row(config, papers.build, {"data": 2}, tolerance=1e-4, map_tolerance=1e-6)


def _pcal(**overrides):
  def config(folder):
    del folder
    found = pcal_config("credit/german", ("age", "sex"))
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


def _bert_tickets(method, **overrides):
  def config(folder):
    # The gradient of a key's bias is nothing but rounding, which Adam turns into a step of the learning rate.
    return small_config(write_texts(folder), method, learning_rate=1e-5, **overrides)

  return Row(config, papers.build, {"data": 2}, tolerance=2e-4, map_tolerance=2e-4, slow=True)


ROWS = {
  "bert_tickets_imp": _bert_tickets("imp", sparsity=0.1),
  "digits_resident": _digits(),
  "digits_stream": _digits(kind="stream"),
  "digits_bfloat16": _digits(dtype="bfloat16")._replace(tolerance=2e-2),
  "l2o_dm": _l2o("l2o_dm")._replace(slow=True),
  "l2o_mlp_together": _l2o("l2o_mlp", tasks="vmap", meta_batch=2, inner_steps=40, save_every=2)._replace(
    slow=True
  ),
  "l2o_optimize": _l2o_optimize(),
  # The selection between phases and the choice at the end, by default; every other block is within a step.
  "self_pu_self_paced": _self_pu("self_paced"),
  "self_pu": _self_pu("self_pu")._replace(slow=True),
  "pcal": _pcal(select="validation", noise=0.1)._replace(slow=True),
  "ss_gcn_partition": _ss_gcn("partition"),
  "ss_gcn_completion_best": _ss_gcn("completion", protocol="best_validation", features="dense"),
  "ss_gcn_gin_cluster": _ss_gcn("cluster", host="gin")._replace(slow=True),
  "ss_gcn_gat_released": _ss_gcn("completion", host="gat", faithful_to_code=True)._replace(slow=True),
  "ss_gcn_pretrain": _ss_gcn("partition", mechanism="pretrain", **{"pretrain.epochs": 6})._replace(slow=True),
  "ss_gcn_self_training": _ss_gcn(
    "cluster",
    mechanism="self_training",
    **{"self_training.rounds": 2, "self_training.per_class": 4, "self_training.n_clusters": 8},
  )._replace(slow=True),
}
