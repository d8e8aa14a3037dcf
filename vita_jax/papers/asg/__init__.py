"""Automated Synthetic-to-Real Generalization (ICML 2020, arXiv 2007.06965): keep what a pretrained net knows.

Claim: a network that is fine-tuned on synthetic pictures alone does better on real ones if it keeps solving
ImageNet's task as its frozen teacher does (a KL term on the old head), and if the rate of each group of
layers is chosen by a controller that reinforcement learning has trained, not by hand.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from vita_jax._lazy import submodules
from vita_jax.papers.asg.data import evaluated, read_inputs
from vita_jax.papers.asg.export import export
from vita_jax.papers.asg.model import nets_of
from vita_jax.papers.asg.recipe import default_config, recipe_of
from vita_jax.papers.asg.report import choice_step, evaluate_step, report
from vita_jax.papers.asg.stages import first_state, stages
from vita_jax.train.experiment import Eval, Experiment

__all__ = ["build", "default_config", "nets_of", "read_inputs", "recipe_of"]

__getattr__, __dir__ = submodules(__name__)


def build(config: Any) -> Experiment:
  """Builds the experiment of a config.

  Raises:
    ValueError, FileNotFoundError: an unknown option, settings that do not go together, missing or unusable
      pictures or weights, a class on one side alone, layer groups that do not fit.
  """
  recipe = recipe_of(config)
  inputs = read_inputs(recipe)
  nets = nets_of(recipe, len(inputs.classes), inputs.old_groups)
  given, found = (recipe, nets, inputs.classes, inputs.old_groups), stages(recipe, nets, inputs)
  step = partial(evaluate_step, *given)
  alone: Any = {"every": 0, "stages": ("report",)}  # no stage's: seen once
  return Experiment(
    init=partial(first_state, recipe, nets),
    stages=found,
    params=lambda state: state["params"],
    evals={
      "real": Eval(inputs.real, step, **alone),
      "held_out": Eval(evaluated(inputs.held_out), step, **alone),
      "choices": Eval(inputs.real, partial(choice_step, *given), **alone),
    },
    report=partial(report, recipe, nets, inputs),
    export=partial(export, recipe, nets, inputs),
  )
