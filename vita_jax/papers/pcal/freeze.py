"""What becomes of an encoder when its training is over: exact moments, no weights that nothing trained."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from vita_jax.papers.pcal.game import Game
from vita_jax.papers.pcal.model import Moments, moments
from vita_jax.train.experiment import State


def exact_moments(game: Game, state: State, arrays: Any, *, block: int = 4096) -> Moments:
  """Computes the moments of the encoder's outputs over all training rows, in blocks."""
  rows = state["rows"][: game.sizes.train]

  def hidden(row):
    return game.hidden(state["params"]["encoder"], game.inputs(state, arrays, row[None]))[0]

  return moments(jax.lax.map(hidden, rows, batch_size=min(block, game.sizes.train)))


def without_constants(game: Game, state: State, arrays: Any) -> Any:
  """Returns the encoder with zero weights for inputs that no training row varies, e.g. an absent category.

  Such weights were never trained; rows that have the category later would be encoded at random.
  """
  x = game.inputs(state, arrays, state["rows"][: game.sizes.train])
  varies = jnp.max(x, axis=0) > jnp.min(x, axis=0)
  encoder = dict(state["params"]["encoder"])
  first = encoder["Dense_0"]
  cut = {**first, "kernel": first["kernel"] * varies[:, None]}
  if "bias" in first:  # a constant that is not 0 has its effect in training; it is the bias's from now on
    cut["bias"] = first["bias"] + jnp.where(varies, 0.0, x[0]) @ first["kernel"]
  encoder["Dense_0"] = cut
  return encoder
