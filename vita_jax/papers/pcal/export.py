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
from vita_jax.papers.pcal.game import Game
from vita_jax.papers.pcal.model import Moments, normalize, record_noise
from vita_jax.train.experiment import Exported, State


def released(state: State) -> dict[str, Any]:
  """Returns the arrays to take away: `scaler`, `encoder`, `moments`, `head`, `noise_seed` (uint32 [2])."""
  seed = jax.random.key_data(jax.random.fold_in(state["noise_key"], 0))
  moments = {"mean": state["moments"].mean, "variance": state["moments"].variance}
  weights = {name: state["params"][name] for name in ("encoder", "head")}
  return {"scaler": state["scaler"], **weights, "moments": moments, "noise_seed": seed}


def represent(game: Game, params: Mapping[str, Any], numbers: jax.Array, codes: jax.Array) -> jax.Array:
  """Computes z float32 [n, m] of rows: raw `numbers` float32 [n, a] and `codes` int32 [n, b].

  Noise, where there is any, is a function of the record: asking again gives the same draw.
  """
  encoding = game.encoding._replace(**params["scaler"])
  x = tabular.features(encoding, numbers, codes, xp=jnp)
  h = game.encoder.apply({"params": params["encoder"]}, x)
  z = normalize(h, Moments(**params["moments"]))
  if game.recipe.noise == 0:
    return z
  return z + game.recipe.noise * record_noise(params["noise_seed"], numbers, codes, game.recipe.latent)


def encode(
  game: Game, params: Mapping[str, Any], *, numbers: jax.Array, codes: jax.Array
) -> dict[str, jax.Array]:
  """Computes `z` (see `represent`) and the head's `probability` float32 [n] of the target's class 1."""
  z = represent(game, params, numbers, codes)
  return {"z": z, "probability": jax.nn.softmax(game.head.apply({"params": params["head"]}, z))[:, 1]}


def exported(game: Game, state: State) -> Exported:
  """Returns what a user takes away: z and the probability of default from raw numbers and category codes."""
  encoding, schema = game.encoding, game.encoding.schema
  learned = encoding._replace(**{k: np.asarray(v) for k, v in state["scaler"].items()})
  learned = learned._replace(schema=schema._replace(target=None, private=()), classes={})

  def read(path: str) -> dict[str, np.ndarray]:
    return tabular.raw_inputs(learned, read_table(path))

  return Exported(
    params=released(state),
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
      "is not": "differential privacy; see the audit for what attackers that were tried still find",
    },
    write=_write_transform,
  )


def _write_transform(folder: Path) -> None:
  (folder / "transform.py").write_text(TRANSFORM)


TRANSFORM = '''\
"""Encodes the rows of a CSV file: python transform.py IN.csv OUT.npz

Needs jax, flatbuffers, safetensors and numpy, and the two files beside it: params.safetensors (scaler,
categories and weights) and program.jax.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
from jax import export
from safetensors import safe_open
from safetensors.numpy import load_file

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "?")
HERE = Path(__file__).parent


def main(source, target):
  with safe_open(HERE / "params.safetensors", "numpy") as file:
    encoding = json.loads(file.metadata()["card"])["encoding"]
  schema = encoding["schema"]
  with open(source, encoding="utf-8-sig", newline="") as file:
    rows = list(csv.DictReader(file))
  columns = schema["numeric"] + schema["log_numeric"]
  absent = [c for c in columns + schema["categorical"] if rows and c not in rows[0]]
  if absent:
    sys.exit(f"error: {source} has no column {absent}")

  def number(row, column):
    text = row[column].strip()
    if text in MISSING and schema["missing"] == "error":
      sys.exit(f"error: column '{column}' has no value")
    return float("nan") if text in MISSING else float(text)

  def code(row, column):
    text = row[column].strip()
    text = "" if text in MISSING else text
    text = schema["merge"].get(column, {}).get(text, text)
    known = encoding["categories"][column]
    if text not in known and schema["unseen"] == "error":
      sys.exit(f"error: column '{column}' has the unknown category '{text}'")
    return known.index(text) if text in known else -1

  numbers = [[number(row, c) for c in columns] for row in rows]
  codes = [[code(row, c) for c in schema["categorical"]] for row in rows]
  inputs = {
    "numbers": np.array(numbers, np.float32).reshape(len(rows), len(columns)),
    "codes": np.array(codes, np.int32).reshape(len(rows), len(schema["categorical"])),
  }
  program = export.deserialize(bytearray((HERE / "program.jax").read_bytes()))
  outputs = program.call(load_file(HERE / "params.safetensors"), inputs)
  np.savez_compressed(target, **{name: np.asarray(x) for name, x in outputs.items()})


if __name__ == "__main__":
  main(*sys.argv[1:])
'''
