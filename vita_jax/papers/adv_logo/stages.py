"""Training as one stage, over photographs in shuffled order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from vita_jax.data.resident import Resident
from vita_jax.papers.adv_logo.data import Inputs
from vita_jax.papers.adv_logo.recipe import Recipe
from vita_jax.papers.adv_logo.steps import rest_step, train_step
from vita_jax.train.experiment import Stage


def stages(recipe: Recipe, inputs: Inputs, detectors: Sequence[Any]) -> tuple[Stage, ...]:
  """Returns the only stage; a texture that is not trained has one step, which does nothing."""
  pictures = inputs.backgrounds.pictures
  count = min(recipe.train.pictures, len(pictures))
  backgrounds = Resident({"image": pictures}, count, remainder="drop")
  if not recipe.train.steps:
    return (Stage("rest", 1, rest_step, backgrounds),)
  also = {
    "views": Resident(inputs.train._asdict(), None),
    "detectors": Resident({detector.name: detector.variables for detector in detectors}, None),
  }
  return (Stage("train", recipe.train.steps, partial(train_step, recipe, detectors), backgrounds, also),)
