"""The autoencoder baseline: the same encoder, trained to reconstruct its inputs and nothing else."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from vita_jax.metrics import once
from vita_jax.papers.pcal.game import Game, draw
from vita_jax.papers.pcal.model import MLP, run
from vita_jax.papers.pcal.steps import running
from vita_jax.train.experiment import Batch, Metrics, State

WIDTH = 64


def decoder(game: Game) -> MLP:
  """Makes the network m -> 64 -> p."""
  return MLP((WIDTH,), len(game.encoding.names), dtype=game.encoder.dtype)


def reconstruct(game: Game, state: State, batch: Batch, t: jax.Array) -> tuple[State, Metrics]:
  """Takes one Adam step of encoder and decoder on the mean squared error."""
  keys = jax.random.split(jax.random.fold_in(state["key"], t), 2)
  x = game.inputs(state, batch, draw(game, state, keys[0], 1)[0])

  def loss(both):
    z, found = game.training_z(both["encoder"], x, keys[1])
    return jnp.mean((run(decoder(game), both["decoder"], z) - x) ** 2), found

  both = {"encoder": state["params"]["encoder"], "decoder": state["decoder"]}
  (value, found), grads = jax.value_and_grad(loss, has_aux=True)(both)
  tx = dict(state["tx"])
  for name in both:
    updates, tx[name] = game.tx["encoder"].update(grads[name], tx[name], both[name])
    both[name] = optax.apply_updates(both[name], updates)
  params = {**state["params"], "encoder": both["encoder"]}
  moments = running(state["moments"], found)
  new = {**state, "params": params, "decoder": both["decoder"], "tx": tx, "moments": moments}
  return new, {"reconstruction_error": once(value)}


def with_decoder(game: Game, state: State) -> State:
  """Adds a new `decoder` and its optimizer to the state."""
  z = jnp.zeros((1, game.recipe.latent))
  params = decoder(game).init(jax.random.fold_in(state["key"], 3), z)["params"]
  return {**state, "decoder": params, "tx": {**state["tx"], "decoder": game.tx["encoder"].init(params)}}
