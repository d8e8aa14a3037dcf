"""GAN Slimming (ECCV 2020, arXiv 2008.11062): one objective that distils, prunes and quantises a generator.

Claim: the adversarial loss, the distance to a dense teacher, a proximal L1 penalty on the scales of norms
(channel pruning) and 8-bit quantisation, optimised together, shrink a generator of images further than each
alone, any two of them, or one after the other. What is taken away is a smaller program, not a mask.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from vita_jax._lazy import submodules
from vita_jax.papers.gan_slimming.data import held_out, read_inputs
from vita_jax.papers.gan_slimming.export import export
from vita_jax.papers.gan_slimming.model import extracted, nets_of
from vita_jax.papers.gan_slimming.recipe import default_config, recipe_of
from vita_jax.papers.gan_slimming.report import evaluate_step, look, report
from vita_jax.papers.gan_slimming.stages import first_state, stages
from vita_jax.train.experiment import Eval, Experiment

__all__ = ["build", "default_config", "extracted", "nets_of", "read_inputs", "recipe_of"]

__getattr__, __dir__ = submodules(__name__)


def build(config: Any, *, form: str = "") -> Experiment:
  """Builds the experiment of a config.

  Args:
    config: from `configs/gan_slimming/*.py`; `recipe.KEYS` explains every key.
    form: of the convolutions, see `vita_jax.nn.conv`; "": the fast one, see `conv.form_for`.

  Raises:
    ValueError, FileNotFoundError, ImportError: an unknown option, settings that do not go together, missing
      or unusable pictures, teacher or weights of features, a budget below the floor.
  """
  recipe = recipe_of(config)
  recipe = recipe._replace(form=form or recipe.form)
  nets = nets_of(recipe)
  inputs = read_inputs(recipe)
  return Experiment(
    init=partial(first_state, recipe, nets),
    stages=stages(recipe, nets, inputs),
    params=lambda state: state["params"],
    evals={"held_out": Eval(held_out(inputs), partial(evaluate_step, recipe, nets), every=0)},
    report=partial(report, recipe, nets, inputs, partial(look, nets)),
    export=partial(export, recipe, nets, inputs),
  )
