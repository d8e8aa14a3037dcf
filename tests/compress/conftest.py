"""Small generators with drawn parameters, and what pruning does to them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.base.tree import path_name
from vita_jax.nn.gan import CartoonGenerator, ResnetGenerator, cartoon_widths, resnet_widths


def drawn(net, seed=0):
  """Parameters of the shapes of the network: kernels of unit gain, scales around 1, shifts around 0."""
  rng = np.random.default_rng(seed)

  def draw(path, x):
    name = path_name(path).rsplit("/", 1)[-1]
    center, spread = {"scale": (1, 0.3), "stream_scale": (1, 0.3), "clip": (4, 0)}.get(name, (0, 0.3))
    spread = 1 / np.sqrt(np.prod(x.shape[:-1])) if name == "kernel" else spread
    return rng.normal(center, spread, x.shape).astype(np.float32)

  shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
  return jax.tree_util.tree_map_with_path(draw, shapes["params"])


def without(params, graph, *, share=0.6, empty=(), seed=1):
  """Sets the share of every gamma to 0, all of the groups in `empty`, and keeps one of each other group."""
  rng, gammas = np.random.default_rng(seed), {g.scale: g.name for g in graph if g.scale is not None}

  def prune(path, x):
    if (name := path_name(path)) not in gammas:
      return x
    gone = rng.random(x.shape) < share
    gone[-1] = False
    return np.where(gone | (gammas[name] in empty), np.float32(0), x)

  return jax.tree_util.tree_map_with_path(prune, params)


@pytest.fixture(scope="session")
def images():
  return jnp.asarray(np.random.default_rng(2).uniform(-1, 1, (2, 12, 16, 3)), jnp.float32)


@pytest.fixture(scope="session")
def resnet():
  """(generator, parameters, graph with the stream)."""
  net = ResnetGenerator(resnet_widths(4, 2), stream_gate=True, form="native")
  return net, drawn(net), net.channel_graph(stream=True)


@pytest.fixture(scope="session")
def cartoon():
  net = CartoonGenerator(cartoon_widths(4, 1), form="native")
  return net, drawn(net), net.channel_graph()


@pytest.fixture(scope="session")
def pruned():
  return without


@pytest.fixture(scope="session")
def draw():
  return drawn
