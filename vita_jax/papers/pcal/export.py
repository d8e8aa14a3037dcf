"""The encoder as one object: scaler, categories, weights and noise seed, and the program that applies them.

Without any of them the others are of no use: an encoder is only private with the scaling it was trained with.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.data import tabular
from vita_jax.data.tables import read_table
from vita_jax.data.transform_script import transform_script
from vita_jax.nn.record_noise import record_noise
from vita_jax.papers.pcal.game import Game
from vita_jax.papers.pcal.model import Moments, normalize, run
from vita_jax.train.experiment import Exported, State


def final_params(state: State) -> dict[str, Any]:
  """Returns the arrays to take away: `scaler`, `encoder`, `moments`, `head`, `noise_seed` (uint32 [2])."""
  seed = jax.random.key_data(jax.random.fold_in(state["noise_key"], 0))
  moments = {"mean": state["moments"].mean, "variance": state["moments"].variance}
  weights = {name: state["params"][name] for name in ("encoder", "head")}
  return {"scaler": state["scaler"], **weights, "moments": moments, "noise_seed": seed}


def represent(game: Game, params: Mapping[str, Any], numbers: jax.Array, codes: jax.Array) -> jax.Array:
  """Computes z float32 [n, m] of rows: raw `numbers` float32 [n, a] and `codes` int32 [n, b].

  Noise, where there is any, is a function of the record's bits: see `record_noise`.
  """
  encoding = tabular.scaled_by(game.encoding, params["scaler"])
  x = tabular.features(encoding, numbers, codes, xp=jnp)
  z = normalize(game.hidden(params["encoder"], x), Moments(**params["moments"]))
  if game.recipe.noise == 0:
    return z
  return z + game.recipe.noise * record_noise(params["noise_seed"], numbers, codes, game.recipe.latent)


def encode(
  game: Game, params: Mapping[str, Any], *, numbers: jax.Array, codes: jax.Array
) -> dict[str, jax.Array]:
  """Computes `z` (see `represent`) and the head's `probability` float32 [n] of the target's class 1."""
  z = represent(game, params, numbers, codes)
  return {"z": z, "probability": jax.nn.softmax(run(game.head, params["head"], z))[:, 1]}


def make_export(game: Game, state: State) -> Exported:
  """Returns what a user takes away: z and the probability of default from raw numbers and category codes."""
  encoding, schema = game.encoding, game.encoding.schema
  learned = tabular.scaled_by(encoding, jax.device_get(state["scaler"]))
  learned = learned._replace(schema=schema._replace(target=None, private=()), classes={})

  def read(path: str) -> dict[str, np.ndarray]:
    return tabular.raw_inputs(learned, read_table(path))

  return Exported(
    params=final_params(state),
    program=functools.partial(encode, game),
    inputs={
      "numbers": (f"rows, {len(schema.numbers)}", "float32"),
      "codes": (f"rows, {len(schema.categorical)}", "int32"),
    },
    read=read,
    card={
      "encoding": tabular.to_json(learned),
      "inputs": {
        "numbers": f"raw values of {', '.join(schema.numbers) or 'no column'}; NaN where missing",
        "codes": f"position of the category of {', '.join(schema.categorical) or 'no column'}; -1: unknown",
      },
      "outputs": {
        "z": f"float32 [rows, {game.recipe.latent}]",
        "probability": "float32 [rows], of the target",
      },
      "hides": [label.name for label in schema.private],
      "gamma": float(game.recipe.gamma),
      "noise": float(game.recipe.noise),
      "noise is": "one draw per record, bit for bit; variants of a record get others, which can be averaged",
      "is not": "differential privacy; see the audit for what attackers that were tried still find",
    },
    write=_write_transform,
  )


def _write_transform(folder: Path) -> None:
  (folder / "transform.py").write_text(transform_script())
