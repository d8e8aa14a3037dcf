"""Families of small problems to train general optimizers on: seconds per thousand steps, no data to fetch.

Networks on scikit-learn's digits (several activations, widths, depths and first weights), a small
convolution, sequences for a transformer and a GRU, logistic regression, quadratics with eigenvalues over six
decades, and the factorisation of a matrix. They are entries of `optimizees.OPTIMIZEES`, by the names of
`FAMILIES`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from vita_jax.nn.conv import convolve

Tree = Any
SYMBOLS, LENGTH = 16, 16  # of the sequences
WIDTH = 16  # of the transformer and of the GRU


def digits_mlp_logits(activation: Callable, params: Tree, images: jax.Array) -> jax.Array:
  """Computes logits of dense layers {"linear_i": {"w", "b"}}: images [n, 8, 8, 1] -> [n, 10]."""
  x = images.reshape(images.shape[0], -1)
  for i in range(1, len(params)):
    x = activation(x @ params[f"linear_{i}"]["w"] + params[f"linear_{i}"]["b"])
  return x @ params[f"linear_{len(params)}"]["w"] + params[f"linear_{len(params)}"]["b"]


def init_dense(sizes: tuple[int, ...], gain: float, key: jax.Array) -> Tree:
  """Draws weights N(0, gain / inputs), biases 0: gain 2 is He's, 1 is LeCun's."""
  keys = jax.random.split(key, len(sizes) - 1)
  return {
    f"linear_{i + 1}": {
      "w": math.sqrt(gain / a) * jax.random.normal(keys[i], (a, b)),
      "b": jnp.zeros(b),
    }
    for i, (a, b) in enumerate(zip(sizes[:-1], sizes[1:], strict=True))
  }


def _init_cnn(key: jax.Array) -> Tree:
  keys = jax.random.split(key, 3)
  kernel = {"w": math.sqrt(2 / 9) * jax.random.normal(keys[0], (3, 3, 1, 8)), "b": jnp.zeros(8)}
  second = {"w": math.sqrt(2 / 72) * jax.random.normal(keys[1], (3, 3, 8, 16)), "b": jnp.zeros(16)}
  return {"conv_1": kernel, "conv_2": second, **init_dense((64, 10), 1.0, keys[2])}


def _cnn_logits(params: Tree, images: jax.Array) -> jax.Array:
  x = images
  for name in ("conv_1", "conv_2"):
    x = jax.nn.relu(convolve(x, params[name]["w"], stride=2, padding="SAME") + params[name]["b"])
  return digits_mlp_logits(jax.nn.relu, {"linear_1": params["linear_1"]}, x)


def sample_sequences(arrays: Any, key: jax.Array, batch_size: int) -> jax.Array:
  """Draws int32 [batch_size / 4, 17] from a fixed chain of order 2 over 16 symbols, nearly predictable.

  A quarter, rounded up: each has 16 symbols to predict, and these problems would take most of a training.
  """
  del arrays
  n = -(-batch_size // 4)
  chances = jax.nn.softmax(2.0 * jax.random.normal(jax.random.key(0), (SYMBOLS, SYMBOLS, SYMBOLS)))
  below = jnp.cumsum(chances, axis=-1)[..., :-1]

  def step(carry, u):
    before, last = carry
    new = jnp.sum(u[:, None] > below[before, last], axis=-1, dtype=jnp.int32)
    return (last, new), new

  of_start, of_rest = jax.random.split(key)
  start = jax.random.randint(of_start, (2, n), 0, SYMBOLS)
  return jax.lax.scan(step, (start[0], start[1]), jax.random.uniform(of_rest, (LENGTH + 1, n)))[1].T


def _sequence_loss(logits: Callable, params: Tree, batch: jax.Array) -> jax.Array:
  found = logits(params, batch[:, :-1])
  return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(found, batch[:, 1:]))


def _init_gru(key: jax.Array) -> Tree:
  keys = jax.random.split(key, 3)
  return {
    "embed": jax.random.normal(keys[0], (SYMBOLS, WIDTH)),
    "gates": init_dense((2 * WIDTH, 2 * WIDTH), 1.0, keys[1])["linear_1"],
    "candidate": init_dense((2 * WIDTH, WIDTH), 1.0, keys[2])["linear_1"],
    "out": {"w": jnp.zeros((WIDTH, SYMBOLS)), "b": jnp.zeros(SYMBOLS)},
  }


def _gru_logits(params: Tree, symbols: jax.Array) -> jax.Array:
  def dense(layer, x):
    return x @ layer["w"] + layer["b"]

  def step(h, x):
    r, u = jnp.split(jax.nn.sigmoid(dense(params["gates"], jnp.concatenate([x, h], -1))), 2, -1)
    h = u * h + (1 - u) * jnp.tanh(dense(params["candidate"], jnp.concatenate([x, r * h], -1)))
    return h, dense(params["out"], h)

  x = jnp.swapaxes(params["embed"][symbols], 0, 1)
  return jnp.swapaxes(jax.lax.scan(step, jnp.zeros(x.shape[1:]), x, unroll=4)[1], 0, 1)


def _init_transformer(key: jax.Array) -> Tree:
  keys = jax.random.split(key, 6)
  return {
    "embed": 0.5 * jax.random.normal(keys[0], (SYMBOLS, WIDTH)),
    "position": 0.5 * jax.random.normal(keys[1], (LENGTH, WIDTH)),
    "attention": init_dense((WIDTH, 3 * WIDTH), 1.0, keys[2])["linear_1"],
    "mix": init_dense((WIDTH, WIDTH), 1.0, keys[3])["linear_1"],
    "dense": init_dense((WIDTH, 2 * WIDTH, WIDTH), 2.0, keys[4]),
    "scales": {"first": jnp.ones(WIDTH), "second": jnp.ones(WIDTH), "last": jnp.ones(WIDTH)},
    "out": init_dense((WIDTH, SYMBOLS), 0.1, keys[5])["linear_1"],
  }


def _transformer_logits(params: Tree, symbols: jax.Array) -> jax.Array:
  """One block, one head: attention to what came before, and two dense layers, each behind an RMS norm."""

  def norm(name, x):
    return params["scales"][name] * x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6)

  x = params["embed"][symbols] + params["position"]
  y = norm("first", x) @ params["attention"]["w"] + params["attention"]["b"]
  q, k, v = jnp.split(y, 3, -1)
  scores = jnp.einsum("bid,bjd->bij", q, k) / math.sqrt(WIDTH)
  scores = jnp.where(jnp.tril(jnp.ones((LENGTH, LENGTH), bool)), scores, -1e9)
  x = x + jax.nn.softmax(scores) @ v @ params["mix"]["w"] + params["mix"]["b"]
  y, dense = norm("second", x), params["dense"]
  y = jax.nn.relu(y @ dense["linear_1"]["w"] + dense["linear_1"]["b"])
  x = x + y @ dense["linear_2"]["w"] + dense["linear_2"]["b"]
  return norm("last", x) @ params["out"]["w"] + params["out"]["b"]


DIMENSION = 32


def quadratic_loss(params: Tree, batch: jax.Array) -> jax.Array:
  """Computes mean_b (x - xi_b)' H (x - xi_b) / 2, H rotated, eigenvalues log-uniform from 1e-4 to 1e2."""
  rotation = jnp.linalg.qr(jax.random.normal(jax.random.key(1), (DIMENSION, DIMENSION)))[0]
  eigenvalues = jnp.exp(jnp.linspace(math.log(1e-4), math.log(1e2), DIMENSION))
  moved = (params["x"][None] - batch) @ rotation
  return 0.5 * jnp.mean(jnp.sum(eigenvalues * moved * moved, -1))


def _sample_noise(arrays: Any, key: jax.Array, batch_size: int) -> jax.Array:
  del arrays
  return 0.01 * jax.random.normal(key, (batch_size, DIMENSION))


ROWS, RANK = 32, 4


def factorisation_loss(params: Tree, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
  """Computes the mean squared error of entries of u v', beside a fixed matrix of rank 4; u, v [32, 8]."""
  of_u, of_v = jax.random.split(jax.random.key(2))
  u, v = (jax.random.normal(key, (ROWS, RANK)) for key in (of_u, of_v))
  i, j = batch
  found = jnp.sum(params["u"][i] * params["v"][j], -1)
  return jnp.mean((found - jnp.sum(u[i] * v[j], -1)) ** 2)


def _sample_entries(arrays: Any, key: jax.Array, batch_size: int) -> tuple[jax.Array, jax.Array]:
  del arrays
  i, j = jax.random.randint(key, (2, batch_size), 0, ROWS)
  return i, j


def _init_factors(key: jax.Array) -> Tree:
  u, v = jax.random.split(key)
  return {
    "u": 0.3 * jax.random.normal(u, (ROWS, 2 * RANK)),
    "v": 0.3 * jax.random.normal(v, (ROWS, 2 * RANK)),
  }


FAR = 100.0


def init_far(key: jax.Array) -> Tree:
  """Starts a linear regression at zero."""
  del key
  return {"w": jnp.zeros(8), "b": jnp.zeros(())}


def far_loss(params: Tree, batch: jax.Array) -> jax.Array:
  """Computes the mean squared error of x w + b, x [n, 8], beside sum x + 100: b must travel far."""
  return jnp.mean((batch @ params["w"] + params["b"] - jnp.sum(batch, -1) - FAR) ** 2)


def sample_far(arrays: Any, key: jax.Array, batch_size: int) -> jax.Array:
  """Draws x, normal [batch_size, 8]."""
  del arrays
  return jax.random.normal(key, (batch_size, 8))


def _init_x(key: jax.Array) -> Tree:
  return {"x": jax.random.normal(key, (DIMENSION,))}


# name -> (sizes, activation, gain of the first weights)
_DENSE = {
  "family_relu": ((64, 32, 10), jax.nn.relu, 2.0),
  "family_tanh_wide": ((64, 96, 10), jnp.tanh, 1.0),
  "family_gelu_deep": ((64, 24, 24, 24, 10), jax.nn.gelu, 2.0),
  "family_sigmoid_small": ((64, 16, 10), jax.nn.sigmoid, 0.25),
  "family_swish_large_start": ((64, 32, 32, 10), jax.nn.silu, 4.0),
  "family_logistic": ((64, 10), jax.nn.relu, 1e-6),
}
CLASSIFIERS = {
  name: (functools.partial(init_dense, sizes, gain), functools.partial(digits_mlp_logits, activation))
  for name, (sizes, activation, gain) in _DENSE.items()
} | {"family_cnn": (_init_cnn, _cnn_logits)}
# name -> (init, loss, sample); no images
OTHERS: dict[str, tuple[Callable, Callable, Callable]] = {
  "family_transformer": (
    _init_transformer,
    functools.partial(_sequence_loss, _transformer_logits),
    sample_sequences,
  ),
  "family_gru": (_init_gru, functools.partial(_sequence_loss, _gru_logits), sample_sequences),
  "family_quadratic": (_init_x, quadratic_loss, _sample_noise),
  "family_factorisation": (_init_factors, factorisation_loss, _sample_entries),
}
FAMILIES = (*CLASSIFIERS, *OTHERS)
