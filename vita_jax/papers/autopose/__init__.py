"""AutoPose (arXiv 2008.07018): searched aggregation of parallel resolution branches for pose estimation.

Claim: a network for keypoints needs several resolutions side by side that exchange what they see. Which there
are and who sends to whom is searched by reinforcement learning, the operations inside of cells by gradient,
in turns. The paper's code was never released and its text is not to be had: the space and the schedule here
are definitions after its abstract, AutoPose-style, and no network here is the paper's.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from vita_jax._lazy import submodules
from vita_jax.papers.autopose.data import read_inputs
from vita_jax.papers.autopose.export import export
from vita_jax.papers.autopose.model import nets_of
from vita_jax.papers.autopose.recipe import default_config, recipe_of
from vita_jax.papers.autopose.report import evaluate_step, report
from vita_jax.papers.autopose.stages import first_state, stages
from vita_jax.train.experiment import Eval, Experiment

__all__ = ["build", "default_config", "nets_of", "read_inputs", "recipe_of"]

__getattr__, __dir__ = submodules(__name__)


def build(config: Any) -> Experiment:
  """Builds the experiment of a config.

  Raises:
    ValueError, FileNotFoundError: an unknown option, settings that do not go together, missing or unusable
      pictures, annotations or genotypes, widths that do not fit the budget.
  """
  recipe = recipe_of(config)
  inputs = read_inputs(recipe)
  nets = nets_of(recipe, inputs.skeleton.n_keypoints)
  all_stages = stages(recipe, nets, inputs)
  last = tuple(stage.name for stage in all_stages[-1:])  # before it a search has no best candidate
  return Experiment(
    init=partial(first_state, recipe, nets),
    stages=all_stages,
    params=lambda state: state["params"],
    evals={"test": Eval(inputs.test, partial(evaluate_step, recipe, nets, inputs), every=0, stages=last)},
    report=partial(report, recipe, nets, inputs),
    export=partial(export, recipe, nets, inputs),
  )
