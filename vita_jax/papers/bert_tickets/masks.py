"""Masks that need no search: of the pre-trained weights themselves, at random, or from a ticket's file."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax

from vita_jax import compress
from vita_jax.papers.bert_tickets.model import Start
from vita_jax.papers.bert_tickets.recipe import Recipe, percent

GivenMasks = Callable[[jax.Array, Callable[[], Any]], dict[str, compress.Masks]]
STREAM = 3  # of the streams of a seed's key, see `stages`


def given_masks(recipe: Recipe, start: Start, tree: Any) -> GivenMasks | None:
  """Returns `(key, theta0) -> {"70": masks, ...}`, where theta0() makes the weights; None for a search.

  Args:
    recipe: of the run.
    start: of the run.
    tree: shapes of the weights.

  Raises:
    FileNotFoundError, ValueError: a ticket that is missing, of other weights or of another sparsity.
  """
  if recipe.masks_from in ("none", "search"):
    return None
  ticket = _read(recipe, start, tree) if recipe.ticket else None
  return functools.partial(_make, recipe, start.select, ticket)


def _make(
  recipe: Recipe,
  select: str,
  ticket: compress.Masks | None,
  key: jax.Array,
  weights: Callable[[], Any],
) -> dict[str, compress.Masks]:
  def masks(sparsity: float) -> compress.Masks:
    if recipe.masks_from == "magnitude":
      return compress.magnitude_masks(weights(), sparsity, select=select, scope=recipe.scope)
    if recipe.masks_from == "random":
      draw = jax.random.fold_in(key, STREAM)
      return compress.random_masks(draw, weights(), sparsity, select=select, like=ticket)
    assert ticket is not None  # the only other source
    return ticket

  return {percent(sparsity): masks(sparsity) for sparsity in recipe.sparsities}


def _read(recipe: Recipe, start: Start, tree: Any) -> compress.Masks:
  masks = compress.load_ticket(recipe.ticket, params=start.pretrained or None).masks
  if other := sorted(set(masks) ^ set(compress.chosen(tree, start.select))):
    raise ValueError(f"{recipe.ticket} does not prune what this model prunes: they differ in '{other[0]}'")
  held = compress.sparsity(masks)
  if len(recipe.sparsities) > 1 or abs(held - recipe.sparsities[0]) > 1e-3:
    raise ValueError(
      f"{recipe.ticket} has sparsity {held:.4g}: set config.sparsity to it, and no config.tickets"
    )
  return masks
