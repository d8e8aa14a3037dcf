"""Trained controllers of `layerwise_policy` as files: weights as safetensors, and a card beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.files import write_bytes, write_json
from vita_jax.base.tree import named_leaves
from vita_jax.data.files import read_safetensors
from vita_jax.nn.detectors.weights import fitted
from vita_jax.nn.policy import CategoricalPolicy

FILE, CARD = "controller.safetensors", "controller.json"


def save_controller(folder: str | os.PathLike, theta: Mapping[str, Any], card: Mapping[str, Any]) -> None:
  """Writes controller.safetensors and controller.json.

  Args:
    folder: where; it exists.
    theta: the policy's variables.
    card: plain facts, e.g. its layer groups and what it was trained on.
  """
  from safetensors.numpy import save

  arrays = {name: np.asarray(x, order="C") for name, x in named_leaves(jax.device_get(theta)).items()}
  write_bytes(Path(folder) / FILE, save(arrays))
  what = {"what": "a controller of learning rates: vita_jax.optim.layerwise_policy", **card}
  write_json(Path(folder) / CARD, json.loads(json.dumps(what)))


def load_controller(path: str | os.PathLike, policy: CategoricalPolicy) -> dict[str, Any]:
  """Reads a trained controller, theta of `layerwise_policy`: a file, its folder, or the workdir of its run.

  Args:
    path: where.
    policy: the network, `CategoricalPolicy(number of groups)`.

  Raises:
    FileNotFoundError: there is none.
    ValueError: a damaged file, a controller of another number of groups, or weights that are not finite.
  """
  place = Path(path).expanduser()
  places = [place, place / FILE, place / "export" / FILE]
  file = next((p for p in places if p.is_file()), None)
  if file is None:
    raise FileNotFoundError(f"no controller at {path}: give a run that has trained one, or its export/{FILE}")
  zeros = jnp.zeros(policy.observations), jnp.zeros(policy.groups), policy.initial_state()
  shapes = jax.eval_shape(policy.init, jax.random.key(0), *zeros)
  theta = fitted(f"the controller of {file}", read_safetensors(file), shapes)
  for name, x in named_leaves(theta).items():
    if not np.isfinite(np.asarray(x)).all():
      raise ValueError(f"{file}: '{name}' is not finite: its rewards were not; train it at a lower rate")
  return theta
