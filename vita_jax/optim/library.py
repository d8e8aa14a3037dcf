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

from vita_jax.base.choose import choose
from vita_jax.base.files import read_json
from vita_jax.data.files import read_safetensors
from vita_jax.optim import dm, mlp, rnn_prop, vita
from vita_jax.optim import scale as l2o_scale
from vita_jax.optim.leaves import Theta, check_theta
from vita_jax.optim.outputs import with_rate

SHIPPED = Path(__file__).parent / "weights"


class Kind(NamedTuple):
  """A kind of learned optimizer.

  Attributes:
    build: `build(theta, **options) -> optax transformation`.
    init_theta: `key -> theta`, before meta-training.
    coordinatewise: no coordinate sees another, so that all parameters may be one vector.
    learns_start: the first state is partly learned and partly drawn, from the option `key` of `build`.
    needs_rate: steps are of one size whatever the gradients, so that a user gives a rate, as for Adam.
  """

  build: Callable[..., optax.GradientTransformationExtraArgs]
  init_theta: Callable[[jax.Array], Theta]
  coordinatewise: bool
  learns_start: bool = False
  needs_rate: bool = False


KINDS = {
  "l2o_dm": Kind(dm.l2o_dm, dm.init_theta, coordinatewise=True),
  "rnnprop": Kind(rnn_prop.rnnprop, rnn_prop.init_theta, coordinatewise=True),
  "l2o_scale": Kind(l2o_scale.l2o_scale, l2o_scale.init_theta, coordinatewise=False, learns_start=True),
  "l2o_mlp": Kind(mlp.l2o_mlp, mlp.init_theta, coordinatewise=False),
  "vita_mlp": Kind(vita.vita_mlp, vita.init_vita_mlp, coordinatewise=False, needs_rate=True),
}


def learned_names() -> tuple[str, ...]:
  """Lists the learned optimizers whose weights ship with the package."""
  return tuple(sorted(p.parent.name for p in SHIPPED.glob("*/params.safetensors")))


def learned_card(name: str) -> dict[str, Any]:
  """Returns what a shipped optimizer was trained on, its evaluation, its limits, and when not to use it.

  Raises:
    ValueError: no such optimizer; the message lists those that there are.
  """
  return read_json(_shipped(name) / "card.json")


# The options of all builders are written out: `optax.inject_hyperparams` looks for them in the signature.
def learned(
  name: str,
  learning_rate: Any = 1.0,
  weight_decay: Any = 0.0,
  odd: bool = False,
  *,
  scale: Any = None,
  beta1: Any = None,
  beta2: Any = None,
  eps: Any = None,
  step_scale: Any = None,
  magnitude_scale: Any = None,
  key: jax.Array | None = None,
  state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
  """Loads a shipped learned optimizer: `tx = learned("rnnprop-cl-il")`; see `learned_names`.

  update = learning_rate (m(g) - weight_decay p). A schedule for another option, or to set the rate between
  steps: `optax.inject_hyperparams(learned)("rnnprop-cl-il", scale=schedule)`; `update` then needs `params`.

  Args:
    name: one of `learned_names()`.
    learning_rate: a factor of the updates, or a schedule of it; 1.0 is what it was trained with. Of the
      general optimizer it is the rate itself, and must be given.
    weight_decay: decoupled, as AdamW's; with one `update` needs `params`.
    odd: True takes (m(g) - m(-g)) / 2, so that parameters without gradient stay where they are, at twice the
      memory and time. One that was trained so is odd anyway.
    scale: of the output. This and what follows are options of its builder, where it has them; None leaves
      what it was trained with.
    beta1: decay of the first moment.
    beta2: decay of the second moment.
    eps: added to the root.
    step_scale: see `mlp.l2o_mlp`.
    magnitude_scale: see `mlp.l2o_mlp`.
    key: draws the first learning rates of `scale.l2o_scale`.
    state_dtype: of the carried state.

  Raises:
    ValueError: no such optimizer, or an option that it does not have; the message lists those that exist.
  """
  return _load(
    _shipped(name),
    learning_rate,
    weight_decay,
    odd=odd or None,
    scale=scale,
    beta1=beta1,
    beta2=beta2,
    eps=eps,
    step_scale=step_scale,
    magnitude_scale=magnitude_scale,
    key=key,
    state_dtype=state_dtype,
  )


def load_learned(
  folder: str | Path,
  learning_rate: Any = 1.0,
  weight_decay: Any = 0.0,
  odd: bool = False,
  *,
  scale: Any = None,
  beta1: Any = None,
  beta2: Any = None,
  eps: Any = None,
  step_scale: Any = None,
  magnitude_scale: Any = None,
  key: jax.Array | None = None,
  state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
  """Loads the optimizer that a meta-training run exported: `tx = load_learned("runs/mine/export")`.

  Args:
    folder: with params.safetensors and config.json. All else are the arguments of `learned`.

  Raises:
    FileNotFoundError: no such folder or file.
    ValueError: the files are damaged, of another kind of experiment, or hold other arrays than needed; or an
      option that the kind does not have.
  """
  return _load(
    folder,
    learning_rate,
    weight_decay,
    odd=odd or None,
    scale=scale,
    beta1=beta1,
    beta2=beta2,
    eps=eps,
    step_scale=step_scale,
    magnitude_scale=magnitude_scale,
    key=key,
    state_dtype=state_dtype,
  )


def _load(
  folder: str | Path, learning_rate: Any, weight_decay: Any, **options: Any
) -> optax.GradientTransformationExtraArgs:
  kind, theta, trained_with = read_learned(folder)
  given = {name: value for name, value in options.items() if value is not None}
  known = list(inspect.signature(KINDS[kind].build).parameters)[1:]
  for name in given:
    choose(f"option of {kind}", name, known)
  if KINDS[kind].needs_rate and "scale" not in given:
    if isinstance(learning_rate, float) and learning_rate == 1.0:
      raise ValueError(
        f"{kind} has no rate of its own: give learning_rate, a number (as for Adam) or a schedule"
      )
    given["scale"] = 1.0
  return with_rate(KINDS[kind].build(theta, **{**trained_with, **given}), learning_rate, weight_decay)


def read_learned(folder: str | Path) -> tuple[str, Theta, dict[str, Any]]:
  """Reads (kind, theta, options of the builder) from a folder; raises as `load_learned` does."""
  folder = Path(folder)
  for file in ("params.safetensors", "config.json"):
    if not (folder / file).is_file():
      raise FileNotFoundError(f"no {file} in {folder}: give the export/ folder of a meta-training run")
  try:
    optimizer = dict(read_json(folder / "config.json")["config"]["optimizer"])
    kind, options = optimizer["kind"], options_of(optimizer)
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


def options_of(optimizer: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the options of the builder in a config's `optimizer`: what is set, without the kind.

  Examples:
    >>> options_of({"kind": "rnnprop", "scale": 0.0, "odd": True})
    {'odd': True}
  """
  unset = {"scale": 0.0, "odd": False}
  return {n: v for n, v in optimizer.items() if n != "kind" and (n not in unset or v != unset[n])}


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
  """Nests {"a/b": x} to {"a": {"b": x}}; ValueError when "a" is an array, too."""
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
