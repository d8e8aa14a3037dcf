"""Self-PU: Self Boosted and Calibrated Positive-Unlabeled Training (ICML 2020, arXiv 2006.11280).

Claim: on top of the non-negative PU risk a network can supervise itself. It trusts the unlabelled rows it is
surest of and examines them again (self-paced), weighs nnPU against entropy row by row with a gradient on a
few validation rows (self-calibrated), and two students of different pace teach each other, each led by the
average of its own past (self-distillation).
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax._lazy import submodules
from vita_jax.data.pu_batches import fitting_batch_size
from vita_jax.data.pu_split import DRAWN, Sizes, draw_split, sizes
from vita_jax.data.resident import Resident
from vita_jax.papers.self_pu import choose
from vita_jax.papers.self_pu.calibrate import calibration_weights
from vita_jax.papers.self_pu.data import estimated_prior, read_inputs
from vita_jax.papers.self_pu.export import make_export
from vita_jax.papers.self_pu.model import make_model, make_network
from vita_jax.papers.self_pu.recipe import Recipe, default_config, recipe_of
from vita_jax.papers.self_pu.report import report, test_step, validation_step
from vita_jax.papers.self_pu.schedule import phases, trusted_fraction
from vita_jax.papers.self_pu.selection import select_trusted
from vita_jax.papers.self_pu.stages import stages, start_selection
from vita_jax.papers.self_pu.steps import optimizer
from vita_jax.train.experiment import Eval, Experiment, State

__all__ = [
  "build",
  "calibration_weights",
  "default_config",
  "read_inputs",
  "recipe_of",
  "select_trusted",
  "trusted_fraction",
]

__getattr__, __dir__ = submodules(__name__)


def build(config: Any) -> Experiment:
  """Builds the experiment of a config.

  Args:
    config: from `configs/self_pu/*.py`; `recipe.KEYS` explains every key.

  Raises:
    ValueError, FileNotFoundError, ImportError: an unknown option, settings that do not go together,
      missing or unusable data.
  """
  recipe = recipe_of(config)
  inputs = read_inputs(recipe)
  estimate = estimated_prior(inputs, recipe.data.scenario) if recipe.prior == 0 else None
  if estimate:
    recipe = recipe._replace(prior=estimate.prior)
  scenario = DRAWN if inputs.labelled is None else recipe.data.scenario
  candidates = inputs.rows["positive"] > 0 if inputs.labelled is None else inputs.labelled
  found = _sizes(recipe, candidates, scenario)
  if not recipe.batch_size:
    recipe = recipe._replace(batch_size=fitting_batch_size(found.labelled, found.unlabelled))
  model, tx = make_model(recipe), optimizer(recipe)
  network = make_network(model, inputs.prepare)
  phased = phases(recipe, found.unlabelled)
  example = inputs.prepare(jax.tree.map(lambda x: jnp.asarray(x[:2]), inputs.rows["x"]))
  selections = sum(phase.selects for phase in phased)

  def init(key: jax.Array) -> State:
    rows_key, order_key, *student_keys = jax.random.split(key, 2 + recipe.students)
    variables = jax.vmap(lambda k: model.init(k, example, train=True))(jnp.stack(student_keys))
    params, stats = variables["params"], variables["batch_stats"]
    return {
      **choose.start({"params": params, "batch_stats": stats}),
      "tx": jax.vmap(tx.init)(params),
      "order": jax.random.bits(order_key, (), jnp.uint32),
      "key": key,
      **draw_split(rows_key, candidates, found, scenario=scenario),
      **start_selection(recipe, found.unlabelled, selections),
    }

  judged = partial(validation_step, network, recipe.batch_size)
  evals = {"validation": Eval(Resident(inputs.rows), judged, every=0)}
  if inputs.test is not None:
    chunk = min(recipe.batch_size, len(inputs.test["positive"]))
    evals["test"] = Eval(Resident(inputs.test, chunk, order="rows"), partial(test_step, network), every=0)
  return Experiment(
    init=init,
    stages=stages(recipe, network, inputs.rows, found, phased),
    params=_kept,
    evals=evals,
    report=partial(report, recipe, inputs.test is not None, phased[-1].distils, estimate),
    export=lambda state: make_export(recipe, network, inputs, _kept(state)),
  )


def _kept(state: State) -> Any:
  return state["kept"]


def _sizes(recipe: Recipe, candidates: np.ndarray, scenario: str) -> Sizes:
  """Computes the sizes of the split, and warns of a prior that they cannot have."""
  found = sizes(
    len(candidates),
    int(candidates.sum()),
    n_labelled=recipe.data.n_labelled,
    validation_rows=recipe.validation_rows,
    validation_labelled=recipe.validation_labelled,
    scenario=scenario,
  )
  if scenario != "case_control" and recipe.prior < (share := found.labelled / found.unlabelled):
    warnings.warn(
      f"config.prior {recipe.prior} is below the labelled share ({found.labelled} of {found.unlabelled},"
      f" {share:.3f}), which cannot be where labelled rows are part of the sample: or is"
      " config.data.scenario case_control?",
      stacklevel=3,
    )
  return found
