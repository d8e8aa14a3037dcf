"""Which channels stay: by trained scales, filters, chance or evolution, all brought to one budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.tree import named_leaves, path_name
from vita_jax.compress import (
  cec_fitness,
  channel_widths,
  empty_channels,
  evolve,
  filter_norms,
  keep_channels,
  layer_bytes,
  search_threshold,
)
from vita_jax.compress.budget import floor_counts
from vita_jax.nn.gan import score
from vita_jax.papers.gan_slimming.data import to_floats
from vita_jax.papers.gan_slimming.model import Nets, macs, shapes_of, stored
from vita_jax.papers.gan_slimming.recipe import Recipe

Kept = dict[str, np.ndarray]
Counts = Mapping[str, int]


def relative_cost(recipe: Recipe, nets: Nets, counts: Counts) -> float:
  """Computes what a student of so many channels costs, as a share of the budget: at most 1 meets it."""
  small, shares = nets.student.resized(counts), [0.0]
  if recipe.budget.macs:
    shares.append(macs(small) / macs(nets.teacher) / recipe.budget.macs)
  if recipe.budget.bytes:
    size = layer_bytes(small.layers, **stored(recipe)) / layer_bytes(nets.teacher.layers)
    shares.append(size / recipe.budget.bytes)
  return max(shares)


def check_floor(recipe: Recipe, nets: Nets) -> None:
  """Checks that the student with the fewest channels of every group meets the budget.

  Raises:
    ValueError: it does not; the floor is named.
  """
  if recipe.channels == "all" or not (recipe.budget.macs or recipe.budget.bytes):
    return
  params = shapes_of(nets.student)["params"]
  small = nets.student.resized(floor_counts(params, nets.graph, round_to=recipe.budget.round_to))
  floors = {
    "macs": macs(small) / macs(nets.teacher),
    "bytes": layer_bytes(small.layers, **stored(recipe)) / layer_bytes(nets.teacher.layers),
  }
  for name, floor in floors.items():
    wanted = getattr(recipe.budget, name)
    if wanted and floor > wanted:
      raise ValueError(
        f"config.budget.{name} is {wanted:g}, below the floor of {floor:.3f}: that much is left with every"
        f" group at its fewest channels (config.round_to={recipe.budget.round_to}; the residual stream is a"
        " group with config.generator.stream=True)"
      )


def choose_channels(recipe: Recipe, nets: Nets, state: Mapping[str, Any], key: jax.Array, look: Any) -> Kept:
  """Chooses the channels that stay, by the recipe's rule, within its budget; host code.

  "scale": the smallest threshold of |scale| that meets the budget (all that are exactly 0 go in any case).
  The others rank what the teacher has: "magnitude" by the mean |w| of each filter, "random" by chance,
  "evolution" by the search of CEC, whose individuals are each brought to the budget: channels whose bit is 1
  come first, and larger filters before smaller ones.

  Args:
    recipe: the settings.
    nets: the networks.
    state: `params` {"generator", "discriminator"}.
    key: for chance.
    look: uint8 pictures [n, h, w, 3], training ones, that evolution judges by.

  Returns:
    group -> bool [channels].

  Raises:
    ValueError: see `vita_jax.compress.keep_channels`.
  """
  params, round_to = jax.device_get(state["params"]["generator"]), recipe.budget.round_to
  widths = channel_widths(params, nets.graph)
  if recipe.channels == "all":
    return {name: np.ones(width, bool) for name, width in widths.items()}
  within = partial(_within, recipe, nets, params)
  if recipe.channels == "scale":
    if recipe.budget.macs or recipe.budget.bytes:
      scales = named_leaves(params)
      return within({group.name: np.asarray(scales[str(group.scale)]) for group in nets.graph})
    return keep_channels(params, nets.graph, round_to=round_to)
  seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
  if recipe.channels == "random":
    rng = np.random.default_rng(seed)
    return within({name: 1.0 - rng.random(width) for name, width in widths.items()})
  norms = filter_norms(params, nets.graph)
  if recipe.channels == "magnitude":
    return within(norms)
  return _evolved(recipe, nets, params, state["params"]["discriminator"], seed, look, norms, within)


def _within(recipe: Recipe, nets: Nets, params: Any, scores: Mapping[str, np.ndarray]) -> Kept:
  """The channels with the largest scores that meet the budget: scores take the place of scales."""
  places = {group.scale: scores[group.name] for group in nets.graph}
  judged = jax.tree_util.tree_map_with_path(lambda path, x: places.get(path_name(path), x), params)
  cost = partial(relative_cost, recipe, nets)
  _, kept = search_threshold(judged, nets.graph, cost, 1.0, round_to=recipe.budget.round_to)
  return kept


def _evolved(
  recipe: Recipe,
  nets: Nets,
  params: Any,
  discriminator: Any,
  seed: int,
  look: np.ndarray,
  norms: Mapping[str, np.ndarray],
  within: Callable[[Mapping[str, np.ndarray]], Kept],
) -> Kept:
  images = jnp.asarray(to_floats(look))
  full = score(
    nets.discriminator.apply({"params": discriminator}, nets.teacher.apply({"params": params}, images))
  )

  @jax.jit
  def gap(kept: Mapping[str, jax.Array]) -> jax.Array:
    given = nets.teacher.apply({"params": empty_channels(params, nets.graph, kept)}, images)
    return jnp.sum(jnp.square(score(nets.discriminator.apply({"params": discriminator}, given)) - full))

  largest = max(float(x.max()) for x in norms.values()) + 1e-9

  def budgeted(bits: Mapping[str, np.ndarray]) -> Kept:
    return within({name: bits[name] + norms[name] / largest for name in norms})

  def fitness(bits: Mapping[str, np.ndarray]) -> float:
    kept = budgeted(bits)
    removed = sum(int((~mask).sum()) for mask in kept.values())
    return cec_fitness(float(gap(kept)), removed)

  found = evolve(
    fitness,
    nets.graph,
    channel_widths(params, nets.graph),
    seed=seed,
    population=recipe.population,
    generations=recipe.generations,
  )
  return budgeted(found.kept)
