"""Self-PU: Self Boosted and Calibrated Positive-Unlabeled Training (ICML 2020, arXiv 2006.11280)

Claim: on top of the non-negative PU risk a network can supervise itself. It trusts the unlabelled rows it is
surest of and examines them again (self-paced), weighs nnPU against entropy row by row with a gradient on a
few validation rows (self-calibrated), and two students of different pace teach each other, each led by the
average of its own past (self-distillation).
"""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.data.resident import Resident
from vita_jax.papers.self_pu import choose
from vita_jax.papers.self_pu.calibrate import calibration_weights
from vita_jax.papers.self_pu.class_prior import best_bin_estimate, estimate_prior
from vita_jax.papers.self_pu.config import check
from vita_jax.papers.self_pu.export import exported
from vita_jax.papers.self_pu.inputs import Inputs, read_inputs
from vita_jax.papers.self_pu.model import make_model
from vita_jax.papers.self_pu.network import make_network
from vita_jax.papers.self_pu.report import make_report, test_step, validation_step
from vita_jax.papers.self_pu.schedule import phases, ramp_up, trusted_fraction
from vita_jax.papers.self_pu.selection import select_trusted
from vita_jax.papers.self_pu.split import DRAWN, draw_split, sizes
from vita_jax.papers.self_pu.stages import stages, start_selection
from vita_jax.papers.self_pu.steps import optimizer
from vita_jax.train.experiment import Eval, Experiment

__all__ = [
  "best_bin_estimate",
  "build",
  "calibration_weights",
  "estimate_prior",
  "ramp_up",
  "read_inputs",
  "select_trusted",
  "trusted_fraction",
]


def build(config: Any) -> Experiment:
  """The experiment of a config.

  Args:
    config: from `configs/self_pu/*.py`; every field is explained in `papers/self_pu/config.py`.

  Raises:
    ValueError, FileNotFoundError, ImportError: an unknown option, settings that do not go together,
      missing or unusable data.
  """
  check(config)
  inputs = read_inputs(config)
  scenario = DRAWN if inputs.labelled is None else config.data.scenario
  estimated = config.prior == 0
  if estimated:
    config = with_estimated_prior(config, inputs)
  candidates = inputs.rows["positive"] > 0 if scenario == DRAWN else inputs.labelled
  _check_truth(config, inputs)
  found = sizes(
    len(candidates),
    int(candidates.sum()),
    n_labelled=config.data.n_labelled,
    validation_rows=config.validation.rows,
    validation_labelled=config.validation.labelled,
    scenario=scenario,
  )
  if scenario != "case_control" and config.prior < (share := found.labelled / found.unlabelled):
    warnings.warn(
      f"config.prior {config.prior} is below the labelled share ({found.labelled} of {found.unlabelled},"
      f" {share:.3f}), which cannot be where labelled rows are part of the sample: or is"
      " config.data.scenario case_control?",
      stacklevel=2,
    )
  model, tx, n_students = make_model(config), optimizer(config), len(config.self_paced.paces)
  network = make_network(model, inputs.prepare)
  phased = phases(config, found.unlabelled)
  example = inputs.prepare(jax.tree.map(lambda x: jnp.asarray(x[:2]), inputs.rows["x"]))

  def init(key):
    rows_key, order_key, *student_keys = jax.random.split(key, 2 + n_students)
    split = draw_split(rows_key, candidates, found, scenario=scenario)
    variables = jax.vmap(lambda k: model.init(k, example, train=True))(jnp.stack(student_keys))
    params, stats = variables["params"], variables["batch_stats"]
    return {
      **choose.start({"params": params, "batch_stats": stats}),
      "tx": jax.vmap(tx.init)(params),
      "order": jax.random.bits(order_key, (), jnp.uint32),
      "key": key,
      **split,
      **start_selection(config, n_students, found.unlabelled, sum(phase.selects for phase in phased)),
    }

  def params_of(state):
    return state["kept"]

  evals = {"validation": Eval(Resident(inputs.rows), validation_step(network, config.batch_size), every=0)}
  if inputs.test is not None:
    chunk = min(config.batch_size, len(inputs.test["positive"]))
    evals["test"] = Eval(Resident(inputs.test, chunk, order="rows"), test_step(network), every=0)
  return Experiment(
    init=init,
    stages=stages(config, network, inputs.rows, found, phased),
    params=params_of,
    evals=evals,
    report=make_report(
      config, has_test=inputs.test is not None, distils=phased[-1].distils, estimated_prior=estimated
    ),
    export=lambda state: exported(config, network, inputs, params_of(state)),
  )


def with_estimated_prior(config: Any, inputs: Inputs) -> Any:
  """A copy of the config with the prior that best bin estimation finds for the user's rows.

  Raises:
    ValueError: rows that are no flat features, or an estimate of 0 or 1.
  """
  x, labelled = inputs.rows["x"], inputs.labelled
  if not isinstance(x, np.ndarray) or x.ndim != 2:
    raise ValueError(
      "config.prior is 0: a prior is estimated for tables only; give it, e.g. --config.prior=0.4"
    )
  estimate = estimate_prior(x[labelled], x[~labelled]).prior
  if config.data.scenario == "single_training_set":  # there the labelled rows are unlabelled ones, too
    estimate = (labelled.sum() + estimate * (~labelled).sum()) / len(labelled)
  if not 0 < estimate < 1:
    raise ValueError(f"the estimated prior is {estimate}, which cannot be: give config.prior")
  found = config.copy_and_resolve_references()
  found.prior = float(estimate)
  return found


def _check_truth(config: Any, inputs: Inputs) -> None:
  """What needs true classes has to have them.

  Raises:
    ValueError: an option that reads them, and rows without.
  """
  if (inputs.rows["positive"] >= 0).all():
    return
  wanted = {
    "config.risk.kind=oracle": config.risk.kind == "oracle",
    "config.choose.criterion=clean_accuracy": config.choose.criterion == "clean_accuracy",
    "config.calibration.meta=clean": config.calibration.enabled and config.calibration.meta == "clean",
  }
  if option := next((name for name, asked in wanted.items() if asked), None):
    remedy = "; --config.calibration.meta=entropy needs none" if "meta" in option else ""
    raise ValueError(
      f"{option} needs the true classes of the rows, and this data has none (schema: target){remedy}"
    )
