"""The training step: expectation over bodies, angles, places, photographs and light, one step of Adam."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from vita_jax import metrics, render
from vita_jax.losses.detection import best_score
from vita_jax.losses.printability import non_printability
from vita_jax.nn.detectors import fitted
from vita_jax.papers.adv_logo.losses import roughness
from vita_jax.papers.adv_logo.model import disturbed, shown
from vita_jax.papers.adv_logo.recipe import Recipe
from vita_jax.papers.adv_logo.views import Views, dress
from vita_jax.train.experiment import Metrics, State

Scores = Callable[[Any, jax.Array], jax.Array]


def optimizer(recipe: Recipe) -> optax.GradientTransformation:
  """Returns Adam with AMSGrad, whose rate a cosine takes to a tenth."""
  rate = recipe.train.learning_rate
  schedule = optax.cosine_decay_schedule(rate, max(recipe.train.steps, 1), alpha=0.1)
  return optax.amsgrad(schedule)


def train_step(
  recipe: Recipe, detectors: Sequence[Any], state: State, batch: Mapping[str, Any], t: jax.Array
) -> tuple[State, Metrics]:
  """Trains on `train.pictures` pictures; the texture stays in [0, 1].

  Args:
    recipe: see there.
    detectors: those that train, with `name`, `size` and `scores`; their weights are in the batch.
    state: `params` {"logo": float32 [T, H, W, 3]}, `tx`, `key`.
    batch: `image` uint8 [B, N, N, 3]; `views`, the fields of `Views`; `detectors`, name -> weights.
    t: the step.
  """
  gradient = jax.grad(partial(_loss, recipe, detectors), has_aux=True)
  grads, values = gradient(state["params"], batch, jax.random.fold_in(state["key"], t))
  updates, tx_state = optimizer(recipe).update(grads, state["tx"], state["params"])
  params = optax.apply_updates(state["params"], updates)
  params = jax.tree.map(lambda x: jnp.clip(x, 0.0, 1.0), params)
  return {**state, "params": params, "tx": tx_state}, {k: metrics.once(v) for k, v in values.items()}


def rest_step(state: State, batch: Mapping[str, Any], t: jax.Array) -> tuple[State, Metrics]:
  """Changes nothing: for the textures that are not trained."""
  del batch, t
  return state, {}


def _loss(
  recipe: Recipe, detectors: Sequence[Any], params: Any, batch: Mapping[str, Any], key: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Returns the loss, and its parts by name."""
  view_key, offset_key, light_key = jax.random.split(key, 3)
  textures = disturbed(light_key, shown(params["logo"], recipe.texture.median), recipe.texture.disturbance)
  count = batch["image"].shape[0]
  all_views = Views(**batch["views"])
  chosen = jax.random.randint(view_key, (count,), 0, all_views.angle.shape[0])
  views = Views(*(jnp.asarray(x)[chosen] for x in all_views))
  offsets = jax.random.randint(offset_key, (count,), 0, recipe.scene.size - recipe.scene.body + 1)
  pictures, logos = dress(textures, views)
  images = render.paste(pictures, views.alpha, batch["image"].astype(jnp.float32) / 255, offsets)
  values, seen = {}, []
  for detector in detectors:
    scores = detector.scores(batch["detectors"][detector.name], fitted(images, detector.size))
    values[f"{detector.name}_score"] = jnp.mean(best_score(scores))
    seen.append(values[f"{detector.name}_score"])
  rough = roughness(logos, weight=recipe.loss.smoothness, floor=recipe.loss.floor)
  total = sum(seen) / len(seen) + rough
  if recipe.loss.printability:
    unprintable = jnp.mean(non_printability(textures))
    total, values["unprintable"] = total + recipe.loss.printability * unprintable, unprintable
  return total, {"loss": total, "rough": rough, **values}
