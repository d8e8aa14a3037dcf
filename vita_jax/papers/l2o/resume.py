"""A meta-training run as a small file: what it needs to continue in another workdir, on another day."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from vita_jax.base.tree import path_name
from vita_jax.data.files import read_safetensors

# Everything but the optimizations in progress, megabytes: they, the epoch and the validation begin again.
PARTS = (
  "params",
  "kept",
  "meta",
  "curriculum",
  "phase",
  "epoch",
  "imitations",
  "validations",
  "inner_steps",
  "skipped",
  "validation",
)


def packed(state: dict[str, Any]) -> dict[str, Any]:
  """Returns the part of a state that `resumed` needs, some 150 kB."""
  return {name: state[name] for name in PARTS}


def resumed(state: dict[str, Any], path: str) -> dict[str, Any]:
  """Returns a fresh state that continues from a file of `packed`.

  Raises:
    FileNotFoundError: no such file.
    ValueError: an array is missing or of another shape: the file is of another config.
  """
  if not Path(path).is_file():
    raise FileNotFoundError(f"config.resume_from: no file {path}; launch/l2o/state.py writes one")
  saved = read_safetensors(path)

  def replace(key_path, leaf):
    name = path_name(key_path)
    if name not in saved or saved[name].shape != leaf.shape:
      found = f"has shape {saved[name].shape}" if name in saved else "is missing"
      raise ValueError(f"{path}: '{name}' should have shape {leaf.shape} and {found}: another config's file?")
    return jnp.asarray(saved[name], leaf.dtype)

  return {**state, **jax.tree_util.tree_map_with_path(replace, packed(state))}
