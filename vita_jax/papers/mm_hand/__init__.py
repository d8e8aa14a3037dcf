"""MM-Hand (ACM MM 2020, arXiv 2010.01158): a hand in one picture, drawn again in another 3D pose.

Claim: guided by several maps of the target's 3D pose (heat maps, depth), a generator draws real-looking hands
whose pose is exactly known; a curriculum from near to far pairs of poses helps it; and estimators of hand
poses get better where its pictures are added to their training. The paper's tables were not to be had: no
number here is compared with them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from vita_jax._lazy import submodules
from vita_jax.papers.mm_hand.data import read_inputs, tested
from vita_jax.papers.mm_hand.export import export
from vita_jax.papers.mm_hand.model import nets_of
from vita_jax.papers.mm_hand.recipe import default_config, recipe_of
from vita_jax.papers.mm_hand.report import evaluate_step, report
from vita_jax.papers.mm_hand.stages import first_state, stages
from vita_jax.train.experiment import Eval, Experiment

__all__ = ["build", "default_config", "nets_of", "read_inputs", "recipe_of"]

__getattr__, __dir__ = submodules(__name__)


def build(config: Any, *, form: str = "") -> Experiment:
  """Builds the experiment of a config.

  Args:
    config: from `configs/mm_hand/*.py`; `recipe.KEYS` explains every key.
    form: of the convolutions, see `vita_jax.nn.conv`; "": the fast one, see `conv.form_for`.

  Raises:
    ValueError, FileNotFoundError: an unknown option, settings that do not go together, missing or unusable
      hands, or no weights of a network that a loss asks for.
  """
  recipe = recipe_of(config)
  recipe = recipe._replace(form=form or recipe.form)
  nets = nets_of(recipe)
  inputs = read_inputs(recipe)
  step = partial(evaluate_step, recipe, nets)
  return Experiment(
    init=partial(first_state, recipe, nets),
    stages=stages(recipe, nets, inputs),
    params=lambda state: state["params"],
    evals={name: Eval(tested(pairs), step, every=0) for name, pairs in inputs.tests.items()},
    report=partial(report, recipe, nets, inputs),
    export=partial(export, recipe, nets, inputs),
  )
