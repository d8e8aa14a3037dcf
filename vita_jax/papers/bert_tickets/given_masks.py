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
  """`(key, theta0) -> {"70": masks, ...}`, where theta0() makes the weights; None where there is a search.

  Raises:
    FileNotFoundError, ValueError: a ticket that is missing, of other weights or of another sparsity.
  """
  source = MEANING[config.method][0]
  layerwise = source == "random" and config.random_masks == "layerwise"
  if source == "random" and layerwise != bool(config.ticket):
    raise ValueError(
      "config.random_masks=layerwise copies the layers of a ticket: give it and config.ticket together"
    )
  if source == "none" or (source == "search" and not config.ticket):
    return None
  ticket = _read(config, start) if config.ticket else None

  def make(key, theta0):
    def masks(sparsity):
      if source == "search":
        return ticket
      if source == "magnitude":
        return compress.magnitude_masks(theta0(), sparsity, select=select, scope=config.pruning.scope)
      draw = jax.random.fold_in(key, MASKS)
      return compress.random_masks(draw, theta0(), sparsity, select=select, like=ticket)

    return {percent(s): masks(s) for s in sorted({*config.tickets, config.sparsity})}

  return make


def _read(config, start):
  digest = compress.weights_sha256(start.pretrained["bert"]) if start.pretrained else ""
  masks = compress.load_ticket(config.ticket, start=digest).masks
  held = compress.sparsity(masks)
  if config.tickets or abs(held - config.sparsity) > 1e-3:
    raise ValueError(
      f"{config.ticket} has sparsity {held:.4g}: set config.sparsity to it, and no config.tickets"
    )
  return masks
