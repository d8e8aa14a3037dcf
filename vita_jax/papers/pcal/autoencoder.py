"""The autoencoder baseline: the same encoder, trained to reconstruct its inputs and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from vita_jax.papers.pcal.game import MOMENTUM, Game, draw
from vita_jax.papers.pcal.model import MLP
from vita_jax.train.experiment import State

WIDTH = 64


def decoder(game: Game) -> MLP:
  """m -> 64 -> p."""
  return MLP((WIDTH,), len(game.encoding.names), dtype=game.encoder.dtype)


def make_autoencoder_step(game: Game) -> Callable:
  """`step(state, batch, t)`: one Adam step of encoder and decoder on the mean squared error."""

  def step(state: State, batch, t):
    keys = jax.random.split(jax.random.fold_in(state["key"], t), 2)
    x = game.inputs(state, batch, draw(game, state, keys[0], 1)[0])

    def loss(both):
      z, found = game.training_z(both["encoder"], x, keys[1])
      return jnp.mean((decoder(game).apply({"params": both["decoder"]}, z) - x) ** 2), found

    both = {"encoder": state["params"]["encoder"], "decoder": state["decoder"]}
    (value, found), grads = jax.value_and_grad(loss, has_aux=True)(both)
    tx = dict(state["tx"])
    for name in both:
      updates, tx[name] = game.tx["encoder"].update(grads[name], tx[name], both[name])
      both[name] = optax.apply_updates(both[name], updates)
    running = jax.tree.map(lambda old, new: MOMENTUM * old + (1 - MOMENTUM) * new, state["moments"], found)
    params = {**state["params"], "encoder": both["encoder"]}
    new = {**state, "params": params, "decoder": both["decoder"], "tx": tx, "moments": running}
    return new, {"reconstruction_error": (value, jnp.asarray(1.0))}

  return step


def with_decoder(game: Game, state: State) -> State:
  """The state with a new `decoder` and its optimizer."""
  z = jnp.zeros((1, game.config.latent))
  params = decoder(game).init(jax.random.fold_in(state["key"], 3), z)["params"]
  return {**state, "decoder": params, "tx": {**state["tx"], "decoder": game.tx["encoder"].init(params)}}
