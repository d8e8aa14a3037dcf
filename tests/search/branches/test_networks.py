"""Supernet and derived network are one function, of the same cost, and a single branch is the plain one."""

import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.compress import traced_macs
from vita_jax.search import OPERATIONS, sample, strongest
from vita_jax.search.branches.costs import Shape, costs_of, fitted, macs
from vita_jax.search.branches.derived import derived, taken_from
from vita_jax.search.branches.pieces import Head, Plain, Stem
from vita_jax.search.branches.space import Space, network_of, on_host, preset, token_space
from vita_jax.search.branches.supernet import MOMENTUM, Supernet, averaged, forward, init_supernet

SPACE = Space(2, 2, 2)
SHAPE = Shape(channels=4, stem=4, outputs=5, size=(32, 32))


@pytest.fixture(scope="module")
def nets():
  """(supernet, params, stats, images, the jitted forward pass) of mixtures."""
  net = Supernet(SPACE, SHAPE)
  params, stats = jax.jit(functools.partial(init_supernet, net))(jax.random.key(0))
  # Head weights as large as others, and statistics of norms that are no symmetry.
  params["head"] = jax.tree.map(lambda x: x + 0.3, params["head"])
  images = jax.random.normal(jax.random.key(1), (3, 32, 32, 3))
  run = jax.jit(functools.partial(forward, net, train=True))
  return net, params, stats, images, run


def _networks():
  """Architectures: two by hand, two drawn."""
  tokens = token_space(SPACE)
  keys = jax.random.split(jax.random.key(3), 2)
  drawn = [sample(key, tokens, None).tokens for key in keys]
  return [network_of(SPACE, t) for t in (preset(SPACE, "all_edges"), preset(SPACE, "no_edges"), *drawn)]


@pytest.mark.parametrize("which", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in (1, 2, 3))])
def test_a_derived_network_is_the_supernet_with_one_hot_weights(nets, which):
  net, params, stats, images, run = nets
  network = _networks()[which]
  cells = strongest(jax.random.normal(jax.random.key(which), (2, 6, len(OPERATIONS))))
  maps, moved = run(params, stats, images, network, jax.nn.one_hot(cells, len(OPERATIONS)))
  module = derived(on_host(network), np.asarray(cells), SHAPE)
  own = taken_from(net, params, module)
  apply = jax.jit(functools.partial(module.apply, train=True, mutable=["batch_stats"]))
  found, after = apply({"params": own, **_blank(module)}, images)
  np.testing.assert_allclose(found, maps, atol=1e-5 * float(jnp.abs(maps).max()))
  assert float(jnp.std(maps)) > 1e-3
  stem = jax.tree.leaves(moved["stem"])
  for ours, theirs in zip(jax.tree.leaves(after["batch_stats"]["stem"]), stem, strict=True):
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def _blank(module):
  variables = jax.eval_shape(
    functools.partial(module.init, train=True), jax.random.key(0), jnp.zeros((1, 32, 32, 3))
  )
  return {"batch_stats": jax.tree.map(lambda x: jnp.zeros(x.shape), variables["batch_stats"])}


@pytest.mark.slow
def test_sparse_weights_are_the_same_function_as_dense_ones(nets):
  net, params, stats, images, run = nets
  network = _networks()[0]
  weights = jax.nn.one_hot(strongest(jax.random.normal(jax.random.key(7), (2, 6, 8))), 8)
  sparse = jax.jit(functools.partial(forward, net, train=True, sparse=True))(
    params, stats, images, network, weights
  )[0]
  np.testing.assert_allclose(run(params, stats, images, network, weights)[0], sparse, atol=1e-6)


@pytest.mark.slow
def test_averaged_statistics_of_one_batch_give_what_the_batch_itself_gave(nets):
  net, params, stats, images, run = nets
  network = _networks()[2]
  weights = jax.nn.one_hot(strongest(jax.random.normal(jax.random.key(7), (2, 6, 8))), 8)
  maps, moved = run(params, stats, images, network, weights)
  test = jax.jit(functools.partial(forward, net, train=False, sparse=True))
  again, same = test(params, averaged(moved, 1), images, network, weights)
  # Running variances are unbiased, those of a batch are not: at 3 x 2 x 2 places that is 4 %.
  np.testing.assert_allclose(again, maps, atol=0.15 * float(jnp.abs(maps).max()))
  assert MOMENTUM == 0.9 and jax.tree.structure(same) == jax.tree.structure(stats)


class OneBranch(nn.Module):
  """The single-branch network written by itself: stem, plain cells with a ReLU before each stage, head."""

  @nn.compact
  def __call__(self, x, *, train):
    x = Stem(4, 4, 4, name="stem")(x, train=train)
    for stage in range(2):
      x = nn.relu(x)
      for number in range(2):
        x = Plain(name=f"stage_{stage}_branch_0_cell_{number}_out")(x, train=train)
    return Head(5, name="head")(nn.relu(x), train=train)


def test_all_edges_off_and_one_branch_is_the_single_branch_network():
  net = Supernet(SPACE, SHAPE, plain=True)
  params, stats = init_supernet(net, jax.random.key(0))
  images = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))
  network = network_of(SPACE, preset(SPACE, "single_branch"))
  maps, _ = jax.jit(functools.partial(forward, net))(params, stats, images, network, None)
  own = taken_from(net, params, derived(on_host(network), None, SHAPE))
  plain, _ = OneBranch().apply({"params": own}, images, train=True, mutable=["batch_stats"])
  np.testing.assert_allclose(maps, plain, atol=1e-5 * float(jnp.abs(maps).max()))


@pytest.mark.parametrize("plain", [False, True])
def test_the_counter_counts_what_the_derived_network_is_traced_to(plain):
  for i, network in enumerate(_networks()[::3] if plain else _networks()[3:]):
    for shape in (SHAPE, SHAPE._replace(stride=2, channels=3, size=(32, 64))):
      cells = None if plain else strongest(jax.random.normal(jax.random.key(i), (2, 6, 8)))
      module = derived(on_host(network), cells, shape, form="native")
      image = jnp.zeros((1, *shape.size, 3))
      variables = jax.eval_shape(module.init, jax.random.key(0), image)
      traced = traced_macs(lambda v, x, module=module: module.apply(v, x), variables, image)
      assert float(macs(costs_of(SPACE, shape), network, cells)) == pytest.approx(traced, rel=1e-6)


def test_widths_are_fitted_to_a_cost():
  base = on_host(network_of(SPACE, preset(SPACE, "all_edges")))
  shape = SHAPE._replace(channels=12, stem=16, size=(64, 64), outputs=17)
  target = float(macs(costs_of(SPACE, shape), base))
  for name in ("single_branch", "no_edges", "staged"):
    network = on_host(network_of(SPACE, preset(SPACE, name)))
    found = fitted(SPACE, shape, network, None, target)
    assert float(macs(costs_of(SPACE, found), network)) == pytest.approx(target, rel=0.05)
  assert fitted(SPACE, shape, base, None, target) == shape and fitted(SPACE, shape, base, None, 0.0) == shape
  with pytest.raises(ValueError, match="no widths make this network"):
    fitted(SPACE, shape, base, None, 1e3)


@pytest.mark.slow
def test_what_an_architecture_lacks_gets_no_gradient_and_is_not_computed(nets):
  net, params, stats, images, _ = nets
  network = network_of(SPACE, preset(SPACE, "single_branch"))

  def gradient(net):
    def loss(params, alpha):
      weights = jax.nn.softmax(alpha)
      return jnp.mean(jnp.square(forward(net, params, stats, images, network, weights)[0]))

    return jax.jit(jax.grad(loss, argnums=(0, 1)))(params, jnp.zeros((2, 6, 8)))

  grads, alpha = gradient(net)
  chex.assert_trees_all_close(gradient(net._replace(remat=True)), (grads, alpha), rtol=1e-4, atol=1e-5)
  assert not any(np.asarray(x).any() for x in jax.tree.leaves(grads["cells"]["branch_1"]))
  assert not np.asarray(alpha[1:]).any() and np.asarray(alpha[0, :, 1:]).any()
  assert all(np.asarray(x).any() for x in jax.tree.leaves(grads["cells"]["branch_0"]["out"]))
