"""Channels that go: the smaller network computes what the masked one does, for any net with a graph."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.compress.channels import (
  ChannelGroup,
  Slice,
  channel_widths,
  counts_of,
  cut,
  empty_channels,
  filter_norms,
  keep_channels,
  largest_channels,
  random_channels,
  shrink,
)
from vita_jax.compress.gates import zero_shifts
from vita_jax.nn.gan import ResnetGenerator, ResnetWidths
from vita_jax.nn.mobilenet import MobileNetV2
from vita_jax.nn.quantize import Quant


def _apply(net, params, images):
  return jax.jit(net.apply)({"params": params}, images)


def _same_shapes(net, params):
  wanted = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 16, 16, 3)))["params"]
  assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, wanted)


def test_the_extracted_generator_is_the_masked_one(resnet, pruned, images):
  net, params, graph = resnet
  params = zero_shifts(pruned(params, graph, empty=("block_0_a",)), graph)
  small, kept = shrink(params, graph)
  assert counts_of(kept)["block_0_a"] == 0 and "block_0_b" not in small
  assert 0.4 < 1 - sum(counts_of(kept).values()) / sum(channel_widths(params, graph).values())
  student = net.resized(counts_of(kept))
  _same_shapes(student, small)
  full = _apply(net, params, images)
  np.testing.assert_allclose(_apply(student, small, images), full, atol=1e-5)
  assert np.abs(np.asarray(full)).max() > 0.3
  # Quantised, it is the network whose pruned slices are zero: maxima of weights are over what is left.
  quantised = net.clone(quant=Quant(per_channel=True)), student.clone(quant=Quant(per_channel=True))
  empty = jax.jit(empty_channels, static_argnums=1)(params, graph, kept)
  np.testing.assert_array_equal(_apply(quantised[0], empty, images), _apply(quantised[1], small, images))


def test_without_a_block_the_masked_generator_is_the_extracted_one(images, draw):
  """Its bias was left: a constant, whose rounding error the norm multiplied by 316."""
  net = ResnetGenerator(ResnetWidths(2, (4,), (3, 3), (2,)), form="native")
  params, graph = draw(net), net.channel_graph()
  rng = np.random.default_rng(3)
  params = {k: {**x, "bias": x["bias"] + rng.normal(0, 3, x["bias"].shape)} for k, x in params.items()}
  kept = keep_channels(params, graph) | {"block_0_a": np.zeros(3, bool)}
  student, small = net.resized(counts_of(kept)), cut(params, graph, kept)
  empty = jax.jit(empty_channels, static_argnums=1)(params, graph, kept)
  assert not any(x.any() for x in empty["block_0_b"].values()) and empty["block_1_b"]["bias"].all()
  np.testing.assert_allclose(_apply(net, empty, images), _apply(student, small, images), atol=1e-5)


def test_shifts_of_pruned_channels_matter_only_where_zeros_pad(resnet, pruned, images):
  """With reflected padding and a norm after it, a constant is cancelled: the cut is exact all the same."""
  net, params, graph = resnet
  inner = tuple(group for group in graph if group.name.startswith("block"))
  outer = tuple(group for group in graph if group.name == "down_0")  # down_1 pads with zeros
  apply = jax.jit(net.apply)
  with pytest.raises(ValueError, match="channels of 'block_0_a' have gamma 0 and a shift"):
    shrink(pruned(params, inner), inner)
  assert counts_of(shrink(pruned(params, inner), inner, drop_shifts=True)[1])["block_0_a"] < 16
  differences = []
  for groups in (inner, outer):
    kept = keep_channels(masked := pruned(params, groups), groups)
    before = apply({"params": masked}, images)
    after = apply({"params": empty_channels(masked, groups, kept)}, images)
    differences.append(np.abs(np.asarray(before) - np.asarray(after)).max())
  assert differences[0] < 1e-5 and differences[1] > 1e-3


def test_cartoon_keeps_one_channel_of_an_empty_block(cartoon, pruned, images):
  """Its last norm has a shift, which the identity would lose."""
  net, params, graph = cartoon
  params = zero_shifts(pruned(params, graph, empty=("block_0_a",)), graph)
  small, kept = shrink(params, graph)
  assert counts_of(kept)["block_0_a"] == 1
  student = net.resized(counts_of(kept))
  _same_shapes(student, small)
  np.testing.assert_allclose(_apply(student, small, images), _apply(net, params, images), atol=1e-5)


class Toy(nn.Module):
  """A net of the test's own: convolution, gate, depthwise convolution, flattened, dense, gate, dense."""

  channels: int = 5
  hidden: int = 6

  @nn.compact
  def __call__(self, x):
    x = nn.relu(nn.Conv(self.channels, (3, 3), name="conv")(x))
    x = x * self.param("gate", nn.initializers.ones, (self.channels,))
    x = nn.Conv(self.channels, (3, 3), feature_group_count=self.channels, use_bias=False, name="depthwise")(x)
    h = nn.Dense(self.hidden, name="hidden")(x.reshape(len(x), -1))
    h = nn.relu(nn.BatchNorm(use_running_average=True, name="norm")(h))
    return nn.Dense(2, name="last")(h)


TOY = (
  ChannelGroup(
    "conv",
    "params/gate",
    None,
    (
      Slice("params/conv/kernel", 3),
      Slice("params/conv/bias", 0),
      Slice("params/gate", 0),
      Slice("params/depthwise/kernel", 3),
      Slice("params/hidden/kernel", 0, 4 * 4),
    ),
  ),
  ChannelGroup(
    "hidden",
    "params/norm/scale",
    "params/norm/bias",
    (
      Slice("params/hidden/kernel", 1),
      Slice("params/hidden/bias", 0),
      Slice("params/norm/scale", 0),
      Slice("params/norm/bias", 0),
      Slice("batch_stats/norm/mean", 0),
      Slice("batch_stats/norm/var", 0),
      Slice("params/last/kernel", 0),
    ),
  ),
)


def test_any_linen_net_is_cut_by_a_graph_of_its_own():
  x = jax.random.normal(jax.random.key(0), (3, 4, 4, 2))
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(Toy().init, jax.random.key(1), x)
  variables = jax.tree.map(lambda a: jnp.asarray(rng.random(a.shape), jnp.float32), shapes)
  variables["params"]["gate"] = jnp.array([1.0, 0.0, -2.0, 0.0, 0.5])
  variables["params"]["norm"]["scale"] = variables["params"]["norm"]["scale"].at[2:4].set(0)
  variables = zero_shifts(variables, TOY)
  small, kept = shrink(variables, TOY)
  counts = counts_of(kept)
  assert counts == {"conv": 3, "hidden": 4}
  y = Toy(counts["conv"], counts["hidden"]).apply(small, x)
  np.testing.assert_allclose(y, Toy().apply(variables, x), atol=1e-5)


def test_mobilenet_is_cut_inside_its_blocks_by_the_filters(images):
  net = MobileNetV2(0.1, form="native")
  rng, like = np.random.default_rng(0), jax.eval_shape(net.init, jax.random.key(0), images)["params"]
  params = jax.tree.map(lambda x: (rng.normal(size=x.shape) * 0.3).astype(np.float32), like)
  graph = net.channel_graph()
  widths = channel_widths(params, graph)
  assert widths["block_1"] == 48 and len(widths) == 16
  kept = largest_channels(filter_norms(params, graph), {name: n // 3 for name, n in widths.items()})
  small = net.resized(counts_of(kept))
  cutting, empty = cut(params, graph, kept), empty_channels(params, graph, kept)
  wanted = jax.eval_shape(small.init, jax.random.key(0), images)["params"]
  assert jax.tree.map(np.shape, cutting) == jax.tree.map(np.shape, wanted)
  maps, whole = _apply(small, cutting, images), _apply(net, empty, images)
  np.testing.assert_allclose(maps.last, whole.last, atol=1e-3, rtol=1e-4)
  assert jnp.abs(maps.last).max() > 0.5
  with pytest.raises(ValueError, match="no channels 'block_17'"):
    net.resized({"block_17": 3})


def _line(gamma, **options):
  group = ChannelGroup("g", "s", None, (Slice("s", 0),), **options)
  return {"s": np.asarray(gamma, np.float32)}, (group,)


def test_counts_are_rounded_up_by_the_largest_pruned_gammas():
  gamma = [0.0, -3.0, 0.2, 0.1, 0.0, -0.4, 0.3, 0.05]
  params, graph = _line(gamma)
  kept = keep_channels(params, graph, threshold=0.35, round_to=4)["g"]
  assert np.flatnonzero(kept).tolist() == [1, 2, 5, 6]
  params, graph = _line(gamma, minimum=3)
  assert np.flatnonzero(keep_channels(params, graph, threshold=1)["g"]).tolist() == [1, 5, 6]
  params, graph = _line(np.zeros(8), minimum=0, bypassed=True)
  assert not keep_channels(params, graph, round_to=8)["g"].any()
  params, graph = _line(gamma)
  assert keep_channels(params, graph, threshold=0.35, round_to=100)["g"].all()


def test_baselines_choose_by_filters_and_at_random(resnet):
  _, params, graph = resnet
  counts = {name: max(1, width // 2) for name, width in channel_widths(params, graph).items()}
  norms = filter_norms(params, graph)
  kernel = np.abs(params["stem"]["kernel"]).mean((0, 1, 2))
  np.testing.assert_allclose(norms["stem"], kernel, rtol=1e-5)
  kept = largest_channels(norms, counts)
  assert set(np.flatnonzero(kept["stem"])) == set(np.argsort(kernel)[-counts["stem"] :])
  assert counts_of(kept) == counts
  draws = [random_channels(seed, channel_widths(params, graph), counts) for seed in (0, 0, 1)]
  assert counts_of(draws[0]) == counts
  assert all((draws[0][name] == draws[1][name]).all() for name in counts)
  assert any((draws[0][name] != draws[2][name]).any() for name in counts)


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (
      lambda p, g: shrink({**p, "stem": {}}, g),
      "has the array 'stem/kernel', which is not in the parameters",
    ),
    (
      lambda p, g: shrink({**p, "stem": {**p["stem"], "shift": np.zeros(3)}}, g),
      r"'stem' has 4 channels, and axis 0 of 'stem/shift' is \(3,\)",
    ),
    (
      lambda p, g: shrink({**p, "stem": {**p["stem"], "scale": np.zeros(4)}}, g),
      "all 4 channels of 'stem' are pruned and nothing bypasses them: train with a smaller rho",
    ),
    (
      lambda p, g: shrink({**p, "stem": {**p["stem"], "scale": np.full(4, np.nan)}}, g),
      "scales of 'stem' are not all finite",
    ),
    (lambda p, g: shrink(p, g, round_to=0), "round_to is 0"),
    (lambda p, g: shrink(p, g, round_to=2.5), "round_to is 2.5: it must be a whole number"),
    (lambda p, g: shrink(p, g, threshold=float("nan")), "the threshold is NaN"),
    (lambda p, g: shrink(p, (g[0], g[1], g[0])), "the graph has two groups of the name 'stem'"),
    (
      lambda p, g: shrink(p, (g[0], g[0]._replace(name="again"))),
      "'again' cuts axis 3 of 'stem/kernel', which is cut already",
    ),
    (lambda p, g: shrink(p, (g[0]._replace(shift="stem/lost"),)), "not cut its own shift 'stem/lost'"),
    (
      lambda p, g: shrink(p, (g[0]._replace(slices=(Slice("stem/kernel", 3, 0),)),)),
      "'stem' has 4 channels, and axis 3 of 'stem/kernel'",
    ),
    (
      lambda p, g: largest_channels({"stem": np.array([1.0, np.nan])}, {"stem": 1}),
      "scores of 'stem' are NaN",
    ),
    (lambda p, g: largest_channels({"stem": np.ones(2)}, {}), "do not say how many channels of 'stem' stay"),
    (
      lambda p, g: shrink(p, (g[0]._replace(branch=("stem", "block")),)),
      "'stem' has the branch 'block', which is not in the parameters",
    ),
    (lambda p, g: random_channels(0, {"stem": 4}, {"stem": 5}), "5 channels of 'stem' should stay: it has 4"),
    (lambda p, g: cut(p, g, {"stem": np.ones(4, bool)}), "they differ in 'block_0_a'"),
    (
      lambda p, g: cut(p, g, keep_channels(p, g) | {"stem": np.ones(5, bool)}),
      r"'stem' has 4 channels, and what is kept of it is \(5,\)",
    ),
    (
      lambda p, g: cut(p, g, keep_channels(p, g) | {"stem": np.zeros(4, bool)}),
      "'stem' would keep 0 channels: it needs 1 or more",
    ),
    (lambda p, g: shrink(p, (g[0]._replace(scale="down_0/scale"),)), "does not cut its own scale"),
  ],
)
def test_what_does_not_fit_is_refused_in_one_line(resnet, call, message):
  _, params, graph = resnet
  with pytest.raises(ValueError, match=message) as caught:
    call(params, graph)
  assert "\n" not in str(caught.value)
