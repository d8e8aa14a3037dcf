"""Small problems that optimizers are trained and compared on, and whole optimizations of them.

    problem = optimizee("digits_mlp")                    # scikit-learn's digits, 64-20-10, sigmoid
    digits = load_images(problem.data).train
    loss = lambda x, key: problem.loss(x, problem.sample(digits, key, 128))
    x, losses = optimize(optax.adam(0.01), loss, problem.init(key), key, steps=1000)

Those on MNIST and CIFAR-10 are the ones of "Training Stronger Baselines for Learning to Optimize" (2020),
section 4; the digits are cheap ones of the same form. `families` has those that general optimizers learn on.
A problem of your own: `OPTIMIZEES["mine"] = Optimizee("", init, loss, sample)`, or its name as
"package.module:function", of a function without arguments that returns an `Optimizee`.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vita_jax.base.choose import choose
from vita_jax.nn.conv import convolve
from vita_jax.nn.norm import batch_norm
from vita_jax.nn.pool import average_pool_same, max_pool
from vita_jax.optim import families
from vita_jax.optim.leaves import COUNT, check_number

Tree = Any
CLASSES = 10
WINDOW = 100  # steps at the end of an optimization whose mean is its final loss
FLOOR = 1e-12  # inside the logarithm of a loss: on small data it reaches exactly zero


class Optimizee(NamedTuple):
  """A problem as pure functions of its parameters.

  Attributes:
    data: name of its images for `vita_jax.data.load_images`; "" for a problem without.
    init: `key -> params`.
    loss: `(params, batch) -> float32 scalar`.
    sample: `(arrays, key, batch_size) -> batch`; a fresh minibatch for every key, with replacement.
    logits: `(params, images float32 [n, h, w, c]) -> [n, 10]`; None where nothing is classified.
  """

  data: str
  init: Callable[[jax.Array], Tree]
  loss: Callable[[Tree, Any], jax.Array]
  sample: Callable[[Any, jax.Array, int], Any]
  logits: Callable[[Tree, jax.Array], jax.Array] | None = None


def optimizee(name: str, *, logit_relu: bool = False) -> Optimizee:
  """Returns the problem of a name in `OPTIMIZEES`, e.g. "mnist_mlp".

  Args:
    name: see `OPTIMIZEES`; or "package.module:function".
    logit_relu: ends the convolutional networks in a ReLU, as released. Started at 0.01 such a network is
      often dead: its loss stays at ln 10.

  Raises:
    ValueError: unknown name, or a function that cannot be found or gives something else.
  """
  found = _of_function(name) if ":" in name else OPTIMIZEES[choose("optimizee", name, tuple(OPTIMIZEES))]
  logits = found.logits
  if logits is None or not logit_relu or not name.endswith(("conv", "nas")):
    return found
  return _classifier(found.data, found.init, lambda params, x: jax.nn.relu(logits(params, x)))


def check_optimizee(name: str) -> None:
  """Checks that there is a problem of this name, and reads none of its data.

  Raises:
    ValueError: unknown name, or a function that cannot be found.
  """
  if ":" in name:
    _function(name)
  else:
    choose("optimizee", name, tuple(OPTIMIZEES))


def _function(name: str) -> Callable[[], Any]:
  module, _, function = name.partition(":")
  try:
    return getattr(importlib.import_module(module), function)
  except (ImportError, AttributeError) as error:
    raise ValueError(f"optimizee '{name}': {error}; give it as package.module:function") from error


def _of_function(name: str) -> Optimizee:
  found = _function(name)()
  if not isinstance(found, Optimizee):
    raise ValueError(f"optimizee '{name}' gave {type(found).__name__}: return a vita_jax.optim.Optimizee")
  return found


def sample_images(arrays: dict, key: jax.Array, batch_size: int) -> dict:
  """Draws rows of {"image" uint8 [n, h, w, c], "label" [n]} with replacement; images as float32 in [0, 1].

  Raises:
    ValueError: `batch_size` is no whole number from 1 on.
  """
  check_number("batch_size", batch_size, COUNT)
  rows = jax.random.randint(key, (batch_size,), 0, arrays["label"].shape[0])
  images, labels = jnp.asarray(arrays["image"]), jnp.asarray(arrays["label"])
  return {"image": as_float(images[rows]), "label": labels[rows]}


def as_float(images: jax.Array) -> jax.Array:
  """Converts uint8 images to float32 in [0, 1]."""
  return images.astype(jnp.float32) / 255.0


def _classifier(data: str, init: Callable, logits: Callable) -> Optimizee:
  def loss(params, batch):
    found = logits(params, batch["image"])
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(found, batch["label"]))

  return Optimizee(data, init, loss, sample_images, logits)


def _mlp(
  data: str,
  n_pixels: int,
  *hidden: int,
  activation: Callable[[jax.Array], jax.Array],
  by_inputs: bool = False,
) -> Optimizee:
  """Dense layers, all weights and biases N(0, 0.01^2); `by_inputs`: weights N(0, 1 / inputs), biases 0."""
  sizes = (n_pixels, *hidden, CLASSES)
  layers = [(f"linear_{i}", a, b) for i, (a, b) in enumerate(zip(sizes[:-1], sizes[1:], strict=True), 1)]

  def init(key):
    if by_inputs:
      return families.init_dense(sizes, 1.0, key)
    keys = iter(jax.random.split(key, 2 * len(layers)))

    def draw(*shape):
      return 0.01 * jax.random.normal(next(keys), shape)

    return {name: {"w": draw(a, b), "b": draw(b)} for name, a, b in layers}

  def logits(params, images):
    x = images.reshape(images.shape[0], -1)
    for name, *_ in layers[:-1]:
      x = activation(x @ params[name]["w"] + params[name]["b"])
    return x @ params[layers[-1][0]]["w"] + params[layers[-1][0]]["b"]

  return _classifier(data, init, logits)


def _init_convs(key: jax.Array, layers: tuple, features: int) -> Tree:
  """Weights N(0, 0.01), biases 0, scales 1; then the dense layer [features, 10]."""
  keys = iter(jax.random.split(key, len(layers) + 1))
  params = {}
  for name, size, inputs, outputs in layers:
    w = 0.01 * jax.random.normal(next(keys), (size, size, inputs, outputs))
    params[name] = {"w": w, "b": jnp.zeros(outputs), "scale": jnp.ones(outputs), "offset": jnp.zeros(outputs)}
  w = 0.01 * jax.random.normal(next(keys), (features, CLASSES))
  return {**params, "linear": {"w": w, "b": jnp.zeros(CLASSES)}}


def _conv_norm_relu(layer: Tree, x: jax.Array, **options: Any) -> jax.Array:
  """Convolution with bias, the batch's own statistics (always, as released), ReLU."""
  x = convolve(x, layer["w"], **options) + layer["b"]
  return jax.nn.relu(batch_norm(x, layer["scale"], layer["offset"]))


def _conv(data: str, channels: int, *, features: int, second: int = 5, **options: Any) -> Optimizee:
  """conv 3x3x16, conv 5x5x32, each with batch norm, ReLU and max-pool 2; then dense."""
  layers = (("conv_1", 3, channels, 16), ("conv_2", second, 16, 32))

  def logits(params, images):
    x = images
    for name, *_ in layers:
      x = max_pool(_conv_norm_relu(params[name], x, **options), 2)
    return x.reshape(x.shape[0], -1) @ params["linear"]["w"] + params["linear"]["b"]

  return _classifier(data, lambda key: _init_convs(key, layers, features), logits)


def _nas(data: str, channels: int) -> Optimizee:
  """A searched cell: n0 = C(x), n1 = C(n0), n2 = pool(n1) + C(n0), n3 = n2 + C(n1) + n0."""
  edges = ("x_0", "0_1", "0_2", "1_3")
  layers = tuple((f"conv_{e}", 3, channels if e == "x_0" else 16, 16) for e in edges)

  def logits(params, images):
    def c(edge, x):
      return _conv_norm_relu(params[f"conv_{edge}"], x, padding="SAME")

    n0 = c("x_0", images)
    n1 = c("0_1", n0)
    n2 = average_pool_same(n1, 3) + c("0_2", n0)
    n3 = n2 + c("1_3", n1) + n0
    return jnp.mean(n3, axis=(1, 2)) @ params["linear"]["w"] + params["linear"]["b"]

  return _classifier(data, lambda key: _init_convs(key, layers, 16), logits)


def _quadratic(n: int = 128, dimension: int = 10) -> Optimizee:
  """mean_b |W_b x_b - y_b|^2 with fixed W, y ~ U(0, 1): deterministic."""

  def loss(params, batch):
    return jnp.mean(jnp.sum((jnp.einsum("bij,bj->bi", batch["w"], params["x"]) - batch["y"]) ** 2, axis=-1))

  def sample(arrays, key, batch_size):
    del arrays, key, batch_size
    w, y = jax.random.split(jax.random.key(0))
    return {
      "w": jax.random.uniform(w, (n, dimension, dimension)),
      "y": jax.random.uniform(y, (n, dimension)),
    }

  return Optimizee("", lambda key: {"x": 0.01 * jax.random.normal(key, (n, dimension))}, loss, sample)


_sigmoid_mlp = functools.partial(_mlp, activation=jax.nn.sigmoid)
_relu_mlp = functools.partial(_mlp, activation=jax.nn.relu)
_tanh_mlp = functools.partial(_mlp, activation=jnp.tanh)
OPTIMIZEES = {
  "digits_mlp": _sigmoid_mlp("digits", 64, 20),
  "digits_relu": _relu_mlp("digits", 64, 20),
  "digits_deeper": _sigmoid_mlp("digits", 64, 20, 20),
  "digits_conv": _conv("digits", 1, second=3, padding="SAME", features=128),  # not the paper's: cheap
  "mnist_mlp": _sigmoid_mlp("mnist", 784, 20),
  "mnist_relu": _relu_mlp("mnist", 784, 20),
  "mnist_tanh": _tanh_mlp("mnist", 784, 20),
  "mnist_mlp_by_inputs": _sigmoid_mlp("mnist", 784, 20, by_inputs=True),
  "mnist_relu_by_inputs": _relu_mlp("mnist", 784, 20, by_inputs=True),
  "mnist_tanh_by_inputs": _tanh_mlp("mnist", 784, 20, by_inputs=True),
  "mnist_deeper": _sigmoid_mlp("mnist", 784, 20, 20),
  "mnist_conv": _conv("mnist", 1, stride=1, features=512),
  "cifar10_conv": _conv("cifar10", 3, stride=2, features=32),
  "cifar10_nas": _nas("cifar10", 3),
  "mnist_wide": _relu_mlp("mnist", 784, 1200, 400, by_inputs=True),  # 1.4 million parameters
  "quadratic": _quadratic(),
  "far_regression": Optimizee("", families.init_far, families.far_loss, families.sample_far),
  **{name: _classifier("digits", *functions) for name, functions in families.CLASSIFIERS.items()},
  **{name: Optimizee("", init, loss, sample) for name, (init, loss, sample) in families.OTHERS.items()},
}


def optimize(
  tx: optax.GradientTransformation,
  loss: Callable[[Tree, jax.Array], jax.Array],
  x: Tree,
  key: jax.Array,
  *,
  steps: int,
) -> tuple[Tree, jax.Array]:
  """Runs a whole optimization.

  Args:
    tx: updates are added.
    loss: `(x, key of the minibatch) -> scalar`.
    x: where it starts.
    key: of all minibatches.
    steps: how many.

  Returns:
    x after `steps` steps, and the losses float32 [steps]: after every step on a fresh minibatch, which then
    also gives the next step's gradient.

  Raises:
    ValueError: `steps` is no whole number from 1 on.
  """
  check_number("steps", steps, COUNT)

  def step(carry, key):
    x, state, gradient = carry
    delta, state = tx.update(gradient, state, x)
    x = optax.apply_updates(x, delta)
    value, gradient = jax.value_and_grad(loss)(x, key)
    return (x, state, gradient), value

  keys = jax.random.split(key, steps + 1)
  first = jax.grad(loss)(x, keys[0])
  (x, _, _), losses = jax.lax.scan(step, (x, tx.init(x), first), keys[1:])
  return x, losses


def late_log_loss(losses: jax.Array, *, window: int = WINDOW) -> jax.Array:
  """Computes the mean of ln(loss + 1e-12) over the last `window` steps (or all): [..., steps] -> [...].

  Raises:
    ValueError: `window` is no whole number from 1 on.
  """
  check_number("window", window, COUNT)
  return jnp.mean(jnp.log(losses[..., -window:] + FLOOR), axis=-1)
