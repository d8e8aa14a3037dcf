"""What the tests of vita_jax/optim share: weights of every kind, and a small problem."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vita_jax.optim import KINDS

COORDINATEWISE = [name for name, kind in KINDS.items() if kind.coordinatewise]
every_kind = pytest.mark.parametrize("kind", KINDS)
# The compositions of one kind are those of another: the one that compiles longest is left to `make slow`.
every_quick_kind = pytest.mark.parametrize(
  "kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind == "l2o_scale")) for kind in KINDS]
)
every_coordinatewise_kind = pytest.mark.parametrize("kind", COORDINATEWISE)


class Documented(NamedTuple):
  """What the docstrings say of a kind: weights, numbers in the state, float options of the builder."""

  weights: int
  per_coordinate: int
  per_tensor: int = 0
  per_problem: int = 0
  options: tuple[str, ...] = ()
  has_state_dtype: bool = True
  has_odd: bool = True
  has_statistics: bool = False  # of rows and columns


# Steps taken, where a kind counts them, are one more int32.
DOCUMENTED = {
  "l2o_dm": Documented(5141, 80, options=("scale",)),
  "rnnprop": Documented(6641, 82, options=("scale", "beta1", "beta2", "eps")),
  "l2o_scale": Documented(8349, 10 + 3 + 4 + 4, per_tensor=20, per_problem=20, has_state_dtype=False),
  "l2o_mlp": Documented(1762, 6, options=("step_scale", "magnitude_scale")),
  "vita_mlp": Documented(173, 4, options=("scale",), has_odd=False, has_statistics=True),
}


# Programs here are compiled for one or two calls: half the time at this level.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@functools.cache
def theta_of(kind, seed=0):
  """Weights of a kind, none of them zero or like its neighbour, so that no term can hide."""
  theta = jit(KINDS[kind].init_theta)(jax.random.key(seed))
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda x: jnp.asarray(x + 0.1 * rng.normal(size=x.shape), jnp.float32), theta)


@functools.cache
def make(kind, seed=0, **options):
  return KINDS[kind].build(theta_of(kind, seed), **options)


def small_params(seed=0):
  rng = np.random.default_rng(seed)

  def draw(*shape):
    return jnp.asarray(rng.normal(size=shape), jnp.float32)

  return {"layer": {"w": draw(3, 4)}, "b": draw(4)}


def gradients_like(params, steps, seed=0, spread=1.0):
  """A list of trees; sizes of gradients spread over exp(spread * normal)."""
  rng = np.random.default_rng(seed)

  def draw(x):
    size = np.exp(spread * rng.normal(size=jnp.shape(x)))
    return jnp.asarray(rng.normal(size=jnp.shape(x)) * size).astype(jnp.asarray(x).dtype)

  return [jax.tree.map(draw, params) for _ in range(steps)]


def play(tx, gradients, params, state=None, *, compiled=False, **extra):
  """(the updates of every step, the last state); parameters move.

  Operation by operation unless `compiled`: for shapes that occur in many tests that is the faster way.
  """
  update = jit(tx.update) if compiled else tx.update
  state, found = tx.init(params) if state is None else state, []
  for g in gradients:
    updates, state = update(g, state, params, **extra)
    params = optax.apply_updates(params, updates)
    found.append(updates)
  return found, state


def named(tree):
  """Name -> leaf."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {jax.tree_util.keystr(path, simple=True, separator="/"): x for path, x in leaves}


def assert_close(found, expected, **tolerance):
  assert jax.tree.structure(found) == jax.tree.structure(expected)
  for (name, x), y in zip(named(found).items(), jax.tree.leaves(expected), strict=True):
    assert x.dtype == y.dtype and x.shape == y.shape, name
    x, y = (np.asarray(z.astype(jnp.float32)) for z in (x, y))
    np.testing.assert_allclose(x, y, **({"rtol": 1e-5, "atol": 1e-7} | tolerance), err_msg=name)


def shapes_and_types(tree):
  return jax.tree.map(lambda x: (x.shape, x.dtype), tree)
