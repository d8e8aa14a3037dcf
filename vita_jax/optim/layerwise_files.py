"""Trained controllers of `layerwise_policy` as files: weights as safetensors, and a card beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vita_jax.base.choose import choose
from vita_jax.base.files import read_json, write_bytes
from vita_jax.base.tree import named_leaves
from vita_jax.data.files import read_safetensors
from vita_jax.nn.detectors.weights import fitted
from vita_jax.nn.policy import CategoricalPolicy, init_theta

FILE, CARD = "controller.safetensors", "controller.json"
FIRST = "controller_0.safetensors"  # of several seeds
SHIPPED = Path(__file__).parent / "weights"


def controller_names() -> tuple[str, ...]:
  """Lists the controllers that ship with the package, for `load_controller`; each has a card beside it."""
  return tuple(sorted(p.parent.name for p in SHIPPED.glob(f"*/{FILE}")))


def controller_card(name: str) -> dict[str, Any]:
  """Returns what a shipped controller was trained on, its layer groups, and what it came to.

  Raises:
    ValueError: there is none of that name.
  """
  return read_json(SHIPPED / choose("controller", name, controller_names()) / CARD)


def save_controller(folder: str | os.PathLike, theta: Mapping[str, Any], card: Mapping[str, Any]) -> None:
  """Writes controller.safetensors and controller.json.

  Args:
    folder: where; it exists.
    theta: the policy's variables.
    card: plain facts, e.g. its layer groups and what it was trained on.
  """
  for name, content in controller_files(theta, card).items():
    write_bytes(Path(folder) / name, content if isinstance(content, bytes) else content.encode())


def controller_files(theta: Mapping[str, Any], card: Mapping[str, Any]) -> dict[str, str | bytes]:
  """Returns what `save_controller` writes, file name -> content: for a report of `vita_jax.train`."""
  from safetensors.numpy import save

  arrays = {name: np.asarray(x, order="C") for name, x in named_leaves(jax.device_get(theta)).items()}
  what = {"what": "a controller of learning rates: vita_jax.optim.layerwise_policy", **card}
  return {FILE: save(arrays), CARD: json.dumps(what, indent=2) + "\n"}


def load_controller(path: str | os.PathLike, policy: CategoricalPolicy) -> dict[str, Any]:
  """Reads a trained controller, theta of `layerwise_policy`: a shipped one, a file, or its run's workdir.

  Of a run of several seeds it is that of the first; controller_1.safetensors, ... in the workdir are others.
  Of a table's row whose seeds are runs of their own, seed_<number>, it is that of the first, too.

  Args:
    path: one of `controller_names`, or where it lies; $NAME in it is that environment variable.
    policy: the network, `CategoricalPolicy(number of groups)`.

  Raises:
    FileNotFoundError: there is none.
    ValueError: a damaged file, a controller of another number of groups, or weights that are not finite.
  """
  place = Path(os.path.expandvars(path)).expanduser()
  places = [place, place / FILE, place / "export" / FILE, place / FIRST]
  places += sorted(place.glob(f"seed_*/{FILE}"), key=_number_of_seed)
  places += [SHIPPED / name / FILE for name in controller_names() if name == str(path)]
  file = next((p for p in places if p.is_file()), None)
  if file is None:
    shipped = ", ".join(controller_names())
    raise FileNotFoundError(
      f"no controller at {place}: give a run that has trained one, its {FILE}, or one that ships: {shipped}"
    )
  shapes = jax.eval_shape(lambda key: init_theta(policy, key), jax.random.key(0))
  theta = fitted(f"the controller of {file}", read_safetensors(file), shapes)
  for name, x in named_leaves(theta).items():
    if not np.isfinite(np.asarray(x)).all():
      raise ValueError(f"{file}: '{name}' is not finite: its rewards were not; train it at a lower rate")
  return theta


def _number_of_seed(file: Path) -> int:
  number = file.parent.name.removeprefix("seed_")
  return int(number) if number.isdecimal() else 2**31
