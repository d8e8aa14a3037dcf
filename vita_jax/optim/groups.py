"""Learning rates of layer groups: multipliers that stand in the optimizer's state and may change at any time.

    GROUPS = {"stem": r"^stem/", "low": r"^block_[0-2]/", "head": r"^head/", FROZEN: r"^old_head/"}
    tx = velocity_sgd(1e-4, scale_by_group(group_by_pattern(GROUPS)), weight_decay=5e-4)
    state = tx.init(params)
    state = set_multipliers(state, [0.0, 0.1, 1.0])   # same shapes: nothing is compiled again

`layerwise_policy` is a controller that stands in the place of `scale_by_group` and sets them itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vita_jax.base.choose import hint
from vita_jax.base.keys import above, at_least, half_open
from vita_jax.base.tree import named_leaves, path_name
from vita_jax.optim.leaves import check_number

Tree = Any
FROZEN = "frozen"  # the label of leaves that never move and have no multiplier
Labels = Any  # a tree of group names, or a function '/'-joined path -> group name


class Patterns(NamedTuple):
  """A function '/'-joined path -> name of the first group whose regular expression finds the path."""

  names: tuple[str, ...]
  patterns: tuple[str, ...]

  def __call__(self, path: str) -> str:
    """Returns the name of the group.

    Raises:
      ValueError: no pattern finds the path.
    """
    for name, pattern in zip(self.names, self.patterns, strict=True):
      if re.search(pattern, path):
        return name
    known = ", ".join(f"{n} {p!r}" for n, p in zip(self.names, self.patterns, strict=True))
    raise ValueError(
      f"parameter '{path}' matches no group: add it to a pattern, or to '{FROZEN}'; they are {known}"
    )


def group_by_pattern(patterns: Mapping[str, str]) -> Patterns:
  """Returns labels of `scale_by_group` from group name -> regular expression, as `re.search` takes it.

  The order is that of the multipliers; the first pattern that finds a path has it. The name `FROZEN` is for
  leaves that never move.

  Raises:
    ValueError: no patterns, or one that is no regular expression.

  Examples:
    >>> group_by_pattern({"stem": "^stem/", "rest": ""})("block_0/kernel")
    'rest'
  """
  if not patterns:
    raise ValueError("there are no groups: give at least one, name -> regular expression")
  for name, pattern in patterns.items():
    try:
      re.compile(pattern)
    except re.error as error:
      raise ValueError(
        f"the pattern of group '{name}', '{pattern}', is not a regular expression: {error}"
      ) from error
  return Patterns(tuple(patterns), tuple(patterns.values()))


class ScaleByGroupState(NamedTuple):
  """What is carried: the multipliers, float32 [groups], in the order of `group_names`."""

  multipliers: jax.Array


def group_names(labels: Labels, groups: Sequence[str] | None = None) -> tuple[str, ...]:
  """Returns the names of the groups in the order of the multipliers, `FROZEN` left out.

  Args:
    labels: as in `scale_by_group`.
    groups: the order, where it is given.

  Raises:
    ValueError: labels are a function that does not say, and `groups` is not given; or a name given twice.
  """
  if groups is None and isinstance(labels, Patterns):
    groups = labels.names
  elif groups is None and callable(labels):
    raise ValueError(
      "labels are a function: give the names of the groups in the order of the multipliers, groups="
    )
  elif groups is None:
    groups = sorted({str(name) for name in jax.tree.leaves(labels)})
  names = tuple(name for name in groups if name != FROZEN)
  if len(set(names)) < len(names) or not names:
    raise ValueError(f"groups are {names}: give at least one name, and none twice")
  return names


def labels_of(labels: Labels, params: Tree) -> dict[str, str]:
  """Returns the group of every leaf: '/'-joined path -> name.

  Raises:
    ValueError: a leaf without label.
  """
  if callable(labels):
    return {path: labels(path) for path in named_leaves(params)}
  known = named_leaves(labels)
  found = {}
  for path in named_leaves(params):
    # A label may stand on a branch of the tree: then it is that of every leaf below.
    places = ["/".join(path.split("/")[:n]) for n in range(len(path.split("/")), -1, -1)]
    label = next((known[place] for place in places if place in known), None)
    if label is None:
      raise ValueError(f"parameter '{path}' has no label{hint(path, known)}: label it, e.g. with '{FROZEN}'")
    found[path] = str(label)
  return found


def scale_by_group(
  labels: Labels, *, groups: Sequence[str] | None = None
) -> optax.GradientTransformationExtraArgs:
  """Multiplies the updates of each group of leaves by the group's multiplier, which is 1 at first.

  A multiplier of exactly 0 gives updates of exactly 0, whatever they were, NaN too. What comes before in the
  chain (weight decay) is frozen with them; a momentum that comes after still coasts: see `velocity_sgd` and
  `torch_sgd`.

  Args:
    labels: a tree of group names like the parameters, of which a name may stand for a whole branch; or a
      function of the '/'-joined path, e.g. `group_by_pattern`. Leaves labelled `FROZEN` get updates of 0.
    groups: the names in the order of the multipliers; default: the order of the patterns, else sorted.

  Raises:
    ValueError: a leaf without label or of an unknown group, or (in `init`) a group without leaves.

  Examples:
    >>> tx = scale_by_group({"body": "low", "head": "high"}, groups=("low", "high"))
    >>> params = {"body": jnp.ones(2), "head": jnp.ones(2)}
    >>> state = set_multipliers(tx.init(params), [0.0, 0.5])
    >>> updates, _ = tx.update(params, state)
    >>> updates["body"].tolist(), updates["head"].tolist()
    ([0.0, 0.0], [0.5, 0.5])
  """
  names = group_names(labels, groups)

  def init(params: Tree) -> ScaleByGroupState:
    check_groups(labels, names, params)
    return ScaleByGroupState(jnp.ones(len(names), jnp.float32))

  def update(
    updates: Tree, state: ScaleByGroupState, params: Tree = None, **extra: Any
  ) -> tuple[Tree, ScaleByGroupState]:
    del params, extra
    return scaled_by_group(updates, state.multipliers, labels, names), state

  return optax.GradientTransformationExtraArgs(init, update)


def check_groups(labels: Labels, names: Sequence[str], params: Tree) -> None:
  """Checks that every leaf is of a known group and every group has a leaf.

  Raises:
    ValueError: names the leaf or the group.
  """
  found = labels_of(labels, params)
  for path, name in found.items():
    if name not in (*names, FROZEN):
      raise ValueError(
        f"parameter '{path}' is of group '{name}'{hint(name, names)}: the groups are {', '.join(names)}"
      )
  if empty := [name for name in names if name not in found.values()]:
    raise ValueError(f"group '{empty[0]}' has no parameters: correct its pattern or labels, or leave it out")


def scaled_by_group(updates: Tree, multipliers: jax.Array, labels: Labels, names: Sequence[str]) -> Tree:
  """Multiplies leaves by the multiplier [groups] of their group; of 0 and of `FROZEN`, zeros."""
  of_leaf, index = labels_of(labels, updates), {name: i for i, name in enumerate(names)}

  def one(path: tuple[Any, ...], u: jax.Array) -> jax.Array:
    name = of_leaf[path_name(path)]
    if name == FROZEN:
      return jnp.zeros_like(u)
    m = multipliers[index[name]]
    return jnp.where(m == 0, jnp.zeros_like(u), (u * m).astype(u.dtype))

  return jax.tree_util.tree_map_with_path(one, updates)


def set_multipliers(state: Tree, values: Any) -> Tree:
  """Returns an optimizer's state with other multipliers, wherever in it `scale_by_group` has its own.

  Args:
    state: of `scale_by_group`, `layerwise_policy`, or a chain with one, under `optax.inject_hyperparams` too.
    values: [groups], floating; may be traced.

  Raises:
    ValueError: there are none in the state, their number differs, or one is negative or not finite.
  """
  values = jnp.asarray(values, jnp.float32)
  old = multipliers_of(state)
  if values.shape != old.shape:
    raise ValueError(f"multipliers must be [{old.size}], one for each group; they are {list(values.shape)}")
  if not isinstance(values, jax.core.Tracer) and not (
    np.isfinite(values).all() and (np.asarray(values) >= 0).all()
  ):
    raise ValueError(
      f"multipliers are {np.asarray(values).tolist()}: each must be a finite number, at least 0"
    )
  return jax.tree.map(
    lambda x: x._replace(multipliers=values) if _is_scale(x) else x, state, is_leaf=_is_scale
  )


def multipliers_of(state: Tree) -> jax.Array:
  """Returns the multipliers, float32 [groups], that stand in an optimizer's state.

  Raises:
    ValueError: there are none, or those of several transformations.
  """
  found = [x for x in jax.tree.leaves(state, is_leaf=_is_scale) if _is_scale(x)]
  if len(found) != 1:
    raise ValueError(f"the state has {len(found)} states of scale_by_group: it must have one")
  return found[0].multipliers


def _is_scale(x: Any) -> bool:
  return isinstance(x, ScaleByGroupState)


def velocity_sgd(
  learning_rate: Any,
  scale: optax.GradientTransformation | None = None,
  *,
  momentum: float = 0.9,
  weight_decay: float = 0.0,
) -> optax.GradientTransformationExtraArgs:
  """Builds SGD with the rate inside the velocity: v <- momentum v + rate m (g + decay w), w <- w - v.

  A group whose multiplier m becomes 0 coasts on its old velocity.

  Args:
    learning_rate: a number, or an optax schedule.
    scale: gives m: `scale_by_group(...)` or `layerwise_policy(...)`; None: 1.
    momentum: of the velocity.
    weight_decay: added to the gradient, of every leaf.

  Raises:
    ValueError: a number out of its range.
  """
  _check_sgd(learning_rate, momentum, weight_decay)
  parts = [
    optax.add_decayed_weights(weight_decay),
    optax.identity() if scale is None else scale,
    optax.scale_by_learning_rate(learning_rate, flip_sign=False),
    optax.trace(momentum),
    optax.scale(-1.0),
  ]
  return optax.with_extra_args_support(optax.chain(*parts))


def torch_sgd(
  learning_rate: Any,
  scale: optax.GradientTransformation | None = None,
  *,
  momentum: float = 0.9,
  weight_decay: float = 0.0,
) -> optax.GradientTransformationExtraArgs:
  """Builds torch.optim.SGD: v <- momentum v + g + decay w, w <- w - rate m v.

  A group whose multiplier m becomes 0 stops at once; its velocity goes on gathering gradients. Arguments and
  errors as in `velocity_sgd`.
  """
  _check_sgd(learning_rate, momentum, weight_decay)
  parts = [
    optax.add_decayed_weights(weight_decay),
    optax.trace(momentum),
    optax.identity() if scale is None else scale,
    optax.scale_by_learning_rate(learning_rate),
  ]
  return optax.with_extra_args_support(optax.chain(*parts))


def torch_adam(
  learning_rate: Any, *, betas: tuple[float, float] = (0.9, 0.999), weight_decay: float = 0.0
) -> optax.GradientTransformation:
  """Builds torch.optim.Adam, whose weight decay is added to the gradient (not AdamW's).

  Args:
    learning_rate: a number, or an optax schedule.
    betas: of the averages of the gradient and of its square.
    weight_decay: of every leaf.

  Examples:
    >>> tx, w = torch_adam(0.1, weight_decay=0.5), jnp.array([2.0, -3.0])
    >>> updates, _ = tx.update(jnp.zeros(2), tx.init(w), w)
    >>> [round(float(u), 4) for u in updates]
    [-0.1, 0.1]
  """
  return optax.chain(
    optax.add_decayed_weights(weight_decay),
    optax.scale_by_adam(*betas),
    optax.scale_by_learning_rate(learning_rate),
  )


def _check_sgd(learning_rate: Any, momentum: Any, weight_decay: Any) -> None:
  if not callable(learning_rate):
    check_number("learning_rate", learning_rate, at_least(0))
  check_number("momentum", momentum, half_open(0, 1))
  check_number("weight_decay", weight_decay, at_least(0))


def layer_decay(groups: int, *, factor: float = 2.6) -> np.ndarray:
  """Computes the multipliers of discriminative fine-tuning: factor^-(groups - 1 - g), 1 for the last group.

  Howard and Ruder, ACL 2018 (ULMFiT), whose factor is 2.6.

  Returns:
    float32 [groups].

  Raises:
    ValueError: no groups, or a factor that is not above 0.

  Examples:
    >>> layer_decay(3, factor=2.0).tolist()
    [0.25, 0.5, 1.0]
  """
  check_number("factor", factor, above(0))
  if groups < 1:
    raise ValueError(f"groups is {groups}: it must be a whole number, at least 1")
  return np.float32(factor) ** -np.arange(groups - 1, -1, -1, dtype=np.float32)
