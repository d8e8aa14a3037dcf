"""Masks that need no search: of the pre-trained weights themselves, at random, or from a ticket's file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from vita_jax import compress
from vita_jax.papers.bert_tickets.config import MEANING
from vita_jax.papers.bert_tickets.inputs import Start
from vita_jax.papers.bert_tickets.trainings import MASKS, percent


def given_masks(
  config: Any, start: Start, select: str
) -> Callable[[jax.Array, Callable[[], Any]], dict[str, compress.Masks]] | None:
  """`(key, theta0) -> {"70": masks, ...}`, where theta0() makes the weights; None where masks are searched
  for.

  Raises:
    FileNotFoundError, ValueError: a ticket that is missing, of other weights or of another sparsity.
  """
  source, config_ticket = MEANING[config.method][0], config.ticket
  sparsities = {percent(s): s for s in sorted({*config.tickets, config.sparsity})}
  if source == "none" or (source == "search" and not config_ticket):
    return None
  if source == "magnitude":

    def make(key, theta0):
      del key
      weights, scope = theta0(), config.pruning.scope
      cut = lambda s: compress.magnitude_masks(weights, s, select=select, scope=scope)  # noqa: E731
      return {name: cut(s) for name, s in sparsities.items()}

    return make
  layerwise = source == "random" and config.random_masks == "layerwise"
  if source == "random" and layerwise != bool(config_ticket):
    raise ValueError(
      "config.random_masks=layerwise copies the layers of a ticket: give it and config.ticket together"
    )
  if source == "random" and not layerwise:

    def make(key, theta0):
      weights, draw = theta0(), jax.random.fold_in(key, MASKS)
      return {n: compress.random_masks(draw, weights, s, select=select) for n, s in sparsities.items()}

    return make
  found = _read(config, start)

  def make(key, theta0):
    name = percent(config.sparsity)
    if not layerwise:
      return {name: found.masks}
    draw = jax.random.fold_in(key, MASKS)
    return {name: compress.random_masks(draw, theta0(), config.sparsity, select=select, like=found.masks)}

  return make


def _read(config, start):
  digest = compress.weights_sha256(start.pretrained["bert"]) if start.pretrained else ""
  found = compress.load_ticket(config.ticket, start=digest)
  held = compress.sparsity(found.masks)
  if config.tickets or abs(held - config.sparsity) > 1e-3:
    raise ValueError(
      f"{config.ticket} has sparsity {held:.4g}: set config.sparsity to it, and no config.tickets"
    )
  return found
