"""The pose transfer networks: published sizes, a block by hand, PyTorch's numbers, scanned as unrolled."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.base.tree import named_leaves
from vita_jax.nn.attention_transfer import (
  Branch,
  ResidualDiscriminator,
  TransferBlock,
  TransferGenerator,
  stack_blocks,
)
from vita_jax.nn.unet import UNet

FIXTURE = Path(__file__).parent / "fixtures" / "attention_transfer.npz"


def _nested(arrays, prefix):
  tree = {}
  for name, x in arrays.items():
    if name.startswith(f"{prefix}/"):
      *folders, leaf = name[len(prefix) + 1 :].split("/")
      place = tree
      for folder in folders:
        place = place.setdefault(folder, {})
      place[leaf] = jnp.asarray(x)
  return tree


@pytest.fixture(scope="module")
def arrays():
  return dict(np.load(FIXTURE))


def _count(net, *channels, size=256):
  inputs = [jax.ShapeDtypeStruct((1, size, size, c), jnp.float32) for c in channels]
  shapes = jax.eval_shape(net.init, jax.random.key(0), *inputs)["params"]
  return sum(x.size for x in jax.tree.leaves(shapes))


@pytest.mark.parametrize("scan", [False, True])
def test_the_generator_has_the_published_size(scan):
  assert _count(TransferGenerator(scan=scan, remat=scan, form="native"), 3, 42, 6) == 71_272_835


def test_the_judges_have_the_published_sizes():
  assert _count(ResidualDiscriminator(form="native"), 24) == 3_986_816
  assert _count(ResidualDiscriminator(form="native"), 6) == 3_930_368
  assert _count(UNet(3, form="native"), 3) == 54_413_955


def test_the_unet_draws_a_picture_as_it_learned_to_draw_it():
  """Whatever stands beside it in the batch: 2 x 2 places of a few pictures have no running statistics."""
  net = UNet(3, width=2, depth=3, rate=0.0, form="native")
  x = 3 * jax.random.normal(jax.random.key(0), (4, 16, 16, 3))
  params = net.init(jax.random.key(1), x)
  learned, drawn = net.apply(params, x, train=True), net.apply(params, x, train=False)
  np.testing.assert_allclose(drawn, learned, atol=1e-6)
  np.testing.assert_allclose(net.apply(params, x[:1], train=True), learned[:1], atol=1e-6)


def test_guides_of_zeros_let_a_quarter_through():
  """u = C(x) comes by itself through sigmoid(0)^2."""
  block = TransferBlock(rate=0.0, form="native")
  x, *guides = (jax.random.normal(jax.random.key(i), (1, 4, 4, 3)) for i in range(3))
  variables = jax.jit(block.init, static_argnums=2)(jax.random.key(3), (x, *guides), True)
  params = variables["params"]
  for name in ("guide_0", "guide_1"):
    params[name]["second"]["kernel"] = jnp.zeros_like(params[name]["second"]["kernel"])

  @jax.jit
  def applied(params):
    return block.apply({**variables, "params": params}, (x, *guides), True, mutable=["batch_stats"])[0]

  y, first, _ = applied(params)
  params["picture"]["second"]["scale"] = 2 * params["picture"]["second"]["scale"]
  twice = applied(params)[0]
  np.testing.assert_allclose(twice - x, 2 * (y - x), atol=1e-5)
  normed = np.asarray(4 * (y - x))  # C's batch norm: mean 0, variance 1
  np.testing.assert_allclose(normed.std(axis=(0, 1, 2)), 1, atol=0.2)
  np.testing.assert_array_equal(first, np.concatenate([np.zeros_like(y), y], axis=-1))


def _applied(net, collections, inputs, *, train):
  y, moved = jax.jit(partial(net.apply, train=train, mutable=["batch_stats"]))(collections, *inputs)
  return y, named_leaves(moved["batch_stats"])


@pytest.mark.parametrize("title", ["ordered", "swapped"])
def test_the_generator_is_that_of_pytorch(arrays, title):
  net = TransferGenerator(2, 2, swap=title == "swapped", rate=0.0, form="native")
  streams = [arrays[f"stream_{i}"] for i in range(3)]
  params, after = _nested(arrays, "params"), _nested(arrays, f"{title}/stats")
  if title == "ordered":
    before = jax.tree_util.tree_map_with_path(
      lambda path, x: jnp.zeros_like(x) if "mean" in str(path[-1]) else jnp.ones_like(x), after
    )
    y, moved = _applied(net, {"params": params, "batch_stats": before}, streams, train=True)
    np.testing.assert_allclose(y, arrays[f"{title}/train"], atol=1e-4)
    for name, x in moved.items():
      np.testing.assert_allclose(x, arrays[f"{title}/stats/{name}"], atol=1e-5, err_msg=name)
  y, _ = _applied(net, {"params": params, "batch_stats": after}, streams, train=False)
  np.testing.assert_allclose(y, arrays[f"{title}/eval"], atol=1e-4)
  assert np.abs(arrays["ordered/eval"] - arrays["swapped/eval"]).max() > 1e-3


def test_the_judge_is_that_of_pytorch(arrays):
  net = ResidualDiscriminator(2, 2, rate=0.0, form="native")
  both = np.concatenate([arrays["stream_0"]] * 2, axis=-1)
  params, after = _nested(arrays, "judge/params"), _nested(arrays, "judge/stats")
  y, _ = _applied(net, {"params": params, "batch_stats": after}, [both], train=False)
  np.testing.assert_allclose(y, arrays["judge/eval"], atol=1e-4)
  y, _ = _applied(net, {"params": params, "batch_stats": after}, [both], train=True)
  np.testing.assert_allclose(y, arrays["judge/train"], atol=1e-4)


@pytest.fixture(scope="module")
def two_forms():
  """(net, variables, inputs) unrolled and scanned, of the same weights."""
  inputs = [jax.random.normal(jax.random.key(i), (2, 8, 8, c)) for i, c in enumerate((3, 4, 2))]
  plain = TransferGenerator(2, blocks=3, rate=0.0, form="native")
  shapes, rng = jax.eval_shape(plain.init, jax.random.key(3), *inputs), np.random.default_rng(0)
  variables = jax.tree.map(lambda x: jnp.asarray(rng.uniform(0.2, 1, x.shape), jnp.float32), shapes)
  stacked = {name: stack_blocks(x, 3) for name, x in variables.items()}
  return inputs, ((plain, variables), (plain.clone(scan=True, remat=True), stacked))


def test_scanned_blocks_are_the_unrolled_ones(two_forms):
  inputs, forms = two_forms
  pictures = [jax.jit(net.apply)(variables, *inputs) for net, variables in forms]
  np.testing.assert_allclose(pictures[1], pictures[0], atol=1e-5)


@pytest.mark.slow
def test_gradients_and_statistics_of_scanned_blocks_are_those_of_the_unrolled_ones(two_forms):
  inputs, forms = two_forms

  def loss(net, params, others):
    y, moved = net.apply({**others, "params": params}, *inputs, train=True, mutable=["batch_stats"])
    return jnp.mean(y**2), moved["batch_stats"]

  found = [
    jax.jit(jax.value_and_grad(partial(loss, net), has_aux=True))(tree["params"], tree) for net, tree in forms
  ]
  (_, plain_stats), plain_gradients = found[0]
  (_, stats), gradients = found[1]
  for ours, theirs in ((stats, plain_stats), (gradients, plain_gradients)):
    ours, theirs = named_leaves(ours), named_leaves(stack_blocks(theirs, 3))
    assert ours.keys() == theirs.keys()
    for name, x in ours.items():
      np.testing.assert_allclose(x, theirs[name], atol=1e-5, err_msg=name)


def test_dropout_is_of_training_alone_and_the_control_mixes_its_streams():
  branch, x = Branch(2, normed=False, form="native"), jax.random.normal(jax.random.key(0), (2, 4, 4, 2))
  variables = jax.jit(branch.init, static_argnums=2)(jax.random.key(1), x, False)
  apply = jax.jit(partial(branch.apply, mutable=["batch_stats"]), static_argnums=2)
  found = [apply(variables, x, True, rngs={"dropout": jax.random.key(i)})[0] for i in (0, 0, 1)]
  assert (found[0] == found[1]).all() and (found[0] != found[2]).any()
  apply(variables, x, False)  # asks for no key
  inputs = [jax.ShapeDtypeStruct((2, 16, 16, c), jnp.float32) for c in (3, 4)]
  net = TransferGenerator(2, blocks=1, fusion="concat", form="native")
  shapes = jax.eval_shape(net.init, jax.random.key(0), *inputs)
  assert shapes["params"]["mix"]["kernel"].shape == (1, 1, 16, 8)


@pytest.mark.parametrize(
  ("net", "inputs", "message"),
  [
    (TransferGenerator(2), [(1, 18, 16, 3), (1, 18, 16, 4)], "must be multiples of 4"),
    (TransferGenerator(2), [(1, 16, 16, 3)], "at least one block and one guide"),
    (TransferGenerator(2, fusion="concatenate"), [(1, 16, 16, 3)], "unknown fusion 'concatenate'"),
    (ResidualDiscriminator(2, head="patches"), [(1, 16, 16, 3)], "unknown head 'patches'"),
    (UNet(3, depth=5), [(1, 16, 16, 3)], "both must be multiples of 32"),
  ],
)
def test_what_cannot_be_is_refused(net, inputs, message):
  shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in inputs]
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(net.init, jax.random.key(0), *shapes)
