"""Can 3D adversarial logos cloak humans? (arXiv 2006.14655): logos on a body's surface against detectors.

Claim: a logo that is a texture of the body, trained through a renderer over bodies, angles and photographs,
hides a person from a detector under rotations where a patch pasted into the picture does not; through a chart
of the surface (the logo transformation) one texture serves every body, shape and place. The scope is digital
rendering, for testing detectors.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax

from vita_jax._lazy import submodules
from vita_jax.nn import detectors
from vita_jax.papers.adv_logo.charts import Chart, Landmarks, Place, logo_transformation, make_chart
from vita_jax.papers.adv_logo.data import read_inputs
from vita_jax.papers.adv_logo.export import export
from vita_jax.papers.adv_logo.model import start_texture
from vita_jax.papers.adv_logo.recipe import default_config, recipe_of
from vita_jax.papers.adv_logo.report import report
from vita_jax.papers.adv_logo.shapes import shape_mask
from vita_jax.papers.adv_logo.stages import stages
from vita_jax.papers.adv_logo.steps import optimizer
from vita_jax.train.experiment import Experiment, State

__all__ = [
  "Chart",
  "Landmarks",
  "Place",
  "build",
  "default_config",
  "logo_transformation",
  "make_chart",
  "read_inputs",
  "recipe_of",
  "shape_mask",
]

__getattr__, __dir__ = submodules(__name__)


def build(config: Any, *, load: Callable[[str], Any] = detectors.load_to_look) -> Experiment:
  """Builds the experiment of a config.

  Args:
    config: from `configs/adv_logo/*.py`; `recipe.KEYS` explains every key.
    load: name -> detector; for detectors of one's own (see `vita_jax.nn.detectors.Detector`).

  Raises:
    ValueError, FileNotFoundError: an unknown option, settings that do not go together, missing or unusable
      data or weights.
  """
  recipe = recipe_of(config)
  names = dict.fromkeys((*recipe.detectors_train, *recipe.detectors_test))
  loaded = {name: load(name) for name in names}
  inputs = read_inputs(recipe)

  def init(key: jax.Array) -> State:
    texture_key, key = jax.random.split(key)
    start, size = recipe.texture.start, recipe.texture.size
    params = {"logo": start_texture(texture_key, start, count=inputs.n_textures, size=size)}
    return {"params": params, "tx": optimizer(recipe).init(params), "key": key}

  return Experiment(
    init=init,
    stages=stages(recipe, inputs, [loaded[name] for name in recipe.detectors_train]),
    params=lambda state: state["params"],
    report=partial(report, recipe, inputs, [loaded[name] for name in recipe.detectors_test]),
    export=lambda state: export(recipe, inputs, state["params"]),
  )
