"""Parameter counts of the paper's networks, shapes, and what generated volumes and wrong ones do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.data import volumes
from vita_jax.nn.volumes import ThreeBranchCNN
from vita_jax.papers.self_pu.model import CNN, MLP

REGIONS = {name: jax.ShapeDtypeStruct((2, *shape), jnp.float32) for name, shape in volumes.SHAPES.items()}


def _shapes(model, x):
  """Abstract (parameters, logits) in training mode."""

  def both(key, x):
    variables = model.init(key, x, train=True)
    return variables["params"], model.apply(variables, x, train=True, mutable=["batch_stats"])[0]

  return jax.eval_shape(both, jax.random.key(0), x)


@pytest.mark.parametrize("model,x,count", [
  (MLP(), jax.ShapeDtypeStruct((2, 28, 28, 1), jnp.float32), 507_901),
  (CNN(), jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32), 3_015_255),
  (ThreeBranchCNN(), REGIONS, 26_430_657),
])  # fmt: skip
def test_parameter_counts_are_the_papers(model, x, count):
  params, logits = _shapes(model, x)
  assert sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(params)) == count
  assert logits.shape == (2,) and logits.dtype == jnp.float32


def test_parts_of_the_counts():
  params, _ = _shapes(CNN(), jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32))
  sizes = {name: sum(np.prod(x.shape) for x in jax.tree.leaves(tree)) for name, tree in params.items()}
  kinds = ("conv", "BatchNorm", "Dense")
  totals = [sum(n for name, n in sizes.items() if name.startswith(kind)) for kind in kinds]
  assert totals == [1_369_738, 2_516, 1_643_001]
  params, _ = _shapes(ThreeBranchCNN(), REGIONS)
  for branch in ("brain", "left", "right"):
    assert sum(np.prod(x.shape) for x in jax.tree.leaves(params[branch])) == 14_400


def test_bfloat16_computes_and_float32_is_kept():
  params, logits = _shapes(MLP(dtype=jnp.bfloat16), jax.ShapeDtypeStruct((2, 64), jnp.float32))
  assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
  assert logits.dtype == jnp.float32


def _brains(n):
  """Generated volumes: a bright ball of a random size in noise."""
  random = np.random.default_rng(0)
  grid = np.indices(volumes.SHAPE) - np.array(volumes.SHAPE).reshape(3, 1, 1, 1) / 2
  distance = np.sqrt((grid**2).sum(0))
  return [
    (distance < random.uniform(20, 50)) * 100.0 + random.random(volumes.SHAPE, np.float32) for _ in range(n)
  ]


@pytest.fixture(scope="module")
def regions():
  return volumes.regions(_brains(2))


def test_regions_of_generated_volumes(regions):
  assert {name: x.shape[1:] for name, x in regions.items()} == volumes.SHAPES
  assert all(x.dtype == np.float32 and 0 <= x.min() and x.max() < 1 + 1e-6 for x in regions.values())


@pytest.mark.slow
def test_generated_volumes_go_through_the_three_branches(regions):
  model = ThreeBranchCNN(hidden=16)
  variables = jax.jit(lambda k, x: model.init(k, x, train=True))(jax.random.key(0), regions)
  logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, regions)
  assert logits.shape == (2,) and jnp.isfinite(logits).all() and logits[0] != logits[1]


def test_volumes_that_cannot_be_used_are_named():
  good = np.ones(volumes.SHAPE, np.float32)
  for bad, words in (
    ([good, np.ones((121, 145, 120))], r"volume 1 has shape \(121, 145, 120\)"),
    ([np.zeros(volumes.SHAPE)], "volume 0 has no positive value"),
    ([], "no volumes"),
  ):
    with pytest.raises(ValueError, match=words):
      volumes.regions(bad)
  regions = {name: np.zeros((3, *shape), np.float32) for name, shape in volumes.SHAPES.items()}
  with pytest.raises(ValueError, match=r"'left' has shape \(2, 30, 30, 30\)"):
    volumes.check_regions({**regions, "left": regions["left"][:2]}, "my.npz")
  with pytest.raises(ValueError, match="'right' is missing"):
    volumes.check_regions({k: v for k, v in regions.items() if k != "right"}, "my.npz")


def test_the_rule_of_the_labels():
  labelled, positive = volumes.amyloid_labels([1.0, 1.08, 1.1799, 1.18, 2.0])
  np.testing.assert_array_equal(labelled, [0, 0, 0, 1, 1])
  np.testing.assert_array_equal(positive, [0, 1, 1, 1, 1])
