"""Learned optimizers by name or from a folder: what is shipped, what it was trained on, and loading it.

A folder is what a meta-training run exports: `params.safetensors` (theta) and `config.json`, whose
`config.optimizer` says the kind and its options; shipped ones have a `card.json`, too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optax

from vita_jax.base.files import read_json
from vita_jax.data.files import read_safetensors
from vita_jax.optim import dm, mlp, rnn_prop, scale
from vita_jax.optim.leaves import Theta, check_theta

SHIPPED = Path(__file__).parent / "weights"


class Kind(NamedTuple):
  """A kind of learned optimizer.

  Attributes:
    build: `build(theta, **options) -> optax transformation`.
    init_theta: `key -> theta`, before meta-training.
    coordinatewise: no coordinate sees another, so that all parameters may be one vector.
    learns_start: the first state is partly learned and partly drawn, from the option `key` of `build`.
  """

  build: Callable[..., optax.GradientTransformationExtraArgs]
  init_theta: Callable[[jax.Array], Theta]
  coordinatewise: bool
  learns_start: bool = False


KINDS = {
  "l2o_dm": Kind(dm.l2o_dm, dm.init_theta, coordinatewise=True),
  "rnnprop": Kind(rnn_prop.rnnprop, rnn_prop.init_theta, coordinatewise=True),
  "l2o_scale": Kind(scale.l2o_scale, scale.init_theta, coordinatewise=False, learns_start=True),
  "l2o_mlp": Kind(mlp.l2o_mlp, mlp.init_theta, coordinatewise=False),
}


def learned_names() -> tuple[str, ...]:
  """The learned optimizers whose weights ship with the package."""
  return tuple(sorted(p.parent.name for p in SHIPPED.glob("*/params.safetensors")))


def learned_card(name: str) -> dict[str, Any]:
  """What a shipped optimizer was trained on, for how many steps and seeds, its evaluation, its limits.

  Raises:
    ValueError: no such optimizer; the message lists those that there are.
  """
  return read_json(_shipped(name) / "card.json")


def learned(name: str, **options: Any) -> optax.GradientTransformationExtraArgs:
  """A shipped learned optimizer: `tx = learned("rnnprop-cl-il")`; see `learned_names`.

  Args:
    name: one of `learned_names()`.
    options: of its builder, e.g. `state_dtype=jnp.bfloat16`.

  Raises:
    ValueError: no such optimizer; the message lists those that there are.
  """
  return load_learned(_shipped(name), **options)


def load_learned(folder: str | Path, **options: Any) -> optax.GradientTransformationExtraArgs:
  """The optimizer that a meta-training run exported: `tx = load_learned("runs/mine/export")`.

  Args:
    folder: with params.safetensors and config.json.
    options: of its builder; they replace those that it was trained with.

  Raises:
    FileNotFoundError: no such folder or file.
    ValueError: the files are damaged, of another kind of experiment, or hold other arrays than needed.
  """
  kind, theta, trained_with = read_learned(folder)
  return KINDS[kind].build(theta, **{**trained_with, **options})


def read_learned(folder: str | Path) -> tuple[str, Theta, dict[str, Any]]:
  """(kind, theta, options of the builder) of a folder; raises as `load_learned` does."""
  folder = Path(folder)
  for file in ("params.safetensors", "config.json"):
    if not (folder / file).is_file():
      raise FileNotFoundError(f"no {file} in {folder}: give the export/ folder of a meta-training run")
  try:
    options = dict(read_json(folder / "config.json")["config"]["optimizer"])
    kind = options.pop("kind")
  except (ValueError, KeyError, TypeError) as error:
    raise ValueError(f"{folder}/config.json does not describe a learned optimizer ({error!r})") from error
  if kind not in list(KINDS):
    raise ValueError(f"{folder}/config.json: unknown kind '{kind}', one of {', '.join(KINDS)}")
  if unknown := sorted(options.keys() - inspect.signature(KINDS[kind].build).parameters.keys()):
    raise ValueError(f"{folder}/config.json: {kind} has no option '{unknown[0]}'")
  tensors = read_safetensors(folder / "params.safetensors")
  try:
    theta = nested(tensors)
    check_theta(theta, jax.eval_shape(KINDS[kind].init_theta, jax.random.key(0)), kind=kind)
  except ValueError as error:
    raise ValueError(f"{folder}/params.safetensors: {error}") from error
  return kind, theta, options


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
  """{"a/b": x} -> {"a": {"b": x}}; ValueError when "a" is an array, too."""
  tree: dict[str, Any] = {}
  for name, array in sorted(flat.items()):
    *folders, leaf = name.split("/")
    node = tree
    for folder in folders:
      node = node.setdefault(folder, {})
      if not isinstance(node, dict):
        raise ValueError(f"'{folder}' is both an array and the first part of '{name}'")
    node[leaf] = array
  return tree


def _shipped(name: str) -> Path:
  if name not in learned_names():
    listed = ", ".join(learned_names()) or "none yet"
    raise ValueError(f"no learned optimizer '{name}' is shipped; there are: {listed}")
  return SHIPPED / name
