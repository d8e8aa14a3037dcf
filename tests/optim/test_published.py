"""The released weights of two learned optimizers, run on digits: the losses that they are known to reach."""

import functools
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.data import load_images
from vita_jax.optim import KINDS
from vita_jax.optim.library import nested
from vita_jax.optim.optimizees import late_log_loss, optimize, optimizee

FILES = {"l2o_dm": "dm.npz", "rnnprop": "rnnprop.npz"}


def _theta(kind):
  if "VITA_DATA_DIR" not in os.environ:
    pytest.skip("the released weights are read from $VITA_DATA_DIR/l2o_published, which is not set")
  path = Path(os.environ["VITA_DATA_DIR"]) / "l2o_published" / FILES[kind]
  if not path.is_file():
    pytest.skip(f"no {FILES[kind]} in {path.parent}")
  with np.load(path, allow_pickle=False) as file:
    return nested(dict(file))


def _late_log_losses(kind, problem, seeds):
  """Per seed, the mean ln loss of the last 100 of 1000 steps."""
  tx, found = KINDS[kind].build(_theta(kind)), optimizee(problem)
  digits = jax.tree.map(jnp.asarray, load_images("digits").train)

  def run(key):
    start, steps = jax.random.split(key)
    loss = lambda x, key: found.loss(x, found.sample(digits, key, 128))  # noqa: E731
    return late_log_loss(optimize(tx, loss, found.init(start), steps, steps=1000)[1])

  # One after the other: their states stay in a CPU's caches.
  keys = jax.random.split(jax.random.key(0), seeds)
  return np.asarray(jax.jit(functools.partial(jax.lax.map, run))(keys))


@pytest.mark.slow
@pytest.mark.parametrize(
  "kind, problem, expected, tolerance",
  [
    ("l2o_dm", "digits_mlp", -5.2, 0.5),
    ("l2o_dm", "digits_relu", -0.7, 0.3),
    ("rnnprop", "digits_mlp", -5.5, 0.4),
  ],
)
def test_ten_runs_end_where_released_weights_do(kind, problem, expected, tolerance):
  found = _late_log_losses(kind, problem, 10)
  print(kind, problem, found.mean(), found.round(2))
  assert abs(found.mean() - expected) < tolerance, found


@pytest.mark.parametrize("kind, at_most", [("l2o_dm", -4.0), ("rnnprop", -4.7)])
def test_one_run_learns_what_it_has_never_seen(kind, at_most):
  """Four deviations of a seed above the mean; a wrong cell or feature does not come below -1."""
  (found,) = _late_log_losses(kind, "digits_mlp", 1)
  assert found < at_most
