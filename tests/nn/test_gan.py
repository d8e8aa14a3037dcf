"""Sizes of the networks, where they quantise, their channels, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.compress.counts import count_macs, count_parameters, layer_costs
from vita_jax.nn.gan import (
  CartoonGenerator,
  CartoonWidths,
  PatchDiscriminator,
  ResnetGenerator,
  ResnetWidths,
  cartoon_widths,
  resnet_widths,
  score,
)
from vita_jax.nn.quantize import Quant

SMALL = ResnetGenerator(resnet_widths(2, 2), form="native")


def shapes(net, size=16):
  return jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, size, size, 3)))


@pytest.mark.parametrize(
  ("net", "parameters"),
  [(ResnetGenerator(), 11_383_555), (CartoonGenerator(), 11_129_667), (PatchDiscriminator(), 2_766_529)],
)
def test_parameters_of_the_published_networks(net, parameters):
  assert count_parameters(shapes(net, 64)["params"]) == parameters


def test_multiply_adds_of_the_published_networks():
  def paper(net):
    return count_macs(net.layers, 256, 256, convention="paper")

  full = ResnetGenerator()
  assert paper(full) == 54_168 * 2**20 == 56_799_264_768
  assert paper(ResnetGenerator(resnet_widths(32))) / 2**30 == 13.51171875
  empty = full.resized({f"block_{i}_a": 0 for i in range(9)})
  assert paper(empty) / 2**30 == 12.3984375
  assert sum(cost.weights for cost in layer_costs(empty.layers, 256, 256)) == 756_096
  assert round(paper(CartoonGenerator()) / 2**30, 2) == 57.40


def test_inputs_are_signed_exactly_where_the_stream_enters_a_convolution():
  layers = ResnetGenerator().layers
  assert [layer.name for layer in layers if layer.signed is None] == ["stem"]
  signed = [f"block_{i}_a" for i in range(1, 9)] + ["up_0"]
  assert [layer.name for layer in layers if layer.signed] == signed
  # As the table itself says it: an input is never negative where it follows a ReLU and no sum.
  for net in (layers, CartoonGenerator().layers):
    for before, layer in zip(net, net[1:], strict=False):
      assert layer.signed == (before.activation != "relu" or bool(before.add)), layer.name


def test_an_empty_block_has_no_parameters_and_leaves_the_other_inputs_as_they_were():
  net = ResnetGenerator(ResnetWidths(2, (3, 4), (4, 0, 4), (3, 2)))
  params = shapes(net)["params"]
  assert not any(name.startswith("block_1") for name in params) and "block_2_b" in params
  layers = {layer.name: layer for layer in net.layers}
  assert layers["block_2_b"].add == "block_0_b" and layers["block_2_a"].signed
  none = ResnetGenerator(ResnetWidths(2, (3, 4), (0, 4), (3, 2)))
  assert {layer.name: layer for layer in none.layers}["block_1_a"].signed


def test_every_group_of_channels_resizes_the_arrays_it_lists():
  for net in (
    ResnetGenerator(resnet_widths(3, 2), stream_gate=True),
    CartoonGenerator(cartoon_widths(3, 1)),
  ):
    graph = net.channel_graph(stream=True, ungated=True)
    full = _flat(shapes(net)["params"])
    for group in graph:
      small = _flat(shapes(net.resized({group.name: 2}))["params"])
      changed = {
        (path, axis)
        for path, x in full.items()
        for axis in range(len(x))
        if x[axis] != small[path][axis] and small[path][axis] == 2
      }
      assert changed == {(path, axis) for path, axis, _ in group.slices}, group.name


def _flat(params):
  found = {}
  for layer, leaves in params.items():
    found |= (
      {f"{layer}/{k}": x.shape for k, x in leaves.items()}
      if isinstance(leaves, dict)
      else {layer: leaves.shape}
    )
  return found


def test_gammas_of_the_published_generator():
  params = _flat(shapes(ResnetGenerator(), 64)["params"])
  graph = ResnetGenerator().channel_graph()
  assert sum(params[group.scale][0] for group in graph) == 2688
  assert [group.minimum for group in graph] == [1, 1, *[0] * 9, 1, 1]
  assert ResnetGenerator().channel_graph(ungated=True) == graph  # all but the stream have gammas


def test_the_discriminator_scores_an_image_by_the_mean_of_its_map():
  net = PatchDiscriminator(width=2, form="native")
  assert net.layers[-1].features == 1 and [layer.stride for layer in net.layers] == [2, 2, 2, 1, 1]
  np.testing.assert_allclose(score(jnp.arange(8.0).reshape(2, 2, 2, 1)), [1.5, 5.5])


def test_bfloat16_and_remat_change_no_shapes():
  net = SMALL.clone(dtype=jnp.bfloat16, remat=True)
  variables = shapes(net)
  y = jax.eval_shape(net.apply, variables, jnp.zeros((2, 8, 12, 3)))
  assert y.shape == (2, 8, 12, 3) and y.dtype == jnp.bfloat16
  assert set(variables) == {"params"} and jax.tree.leaves(variables)[0].dtype == jnp.float32


def test_learned_clips_are_parameters_and_averages_are_a_collection():
  learned = shapes(SMALL.clone(quant=Quant(clip_kind="learned")))["params"]
  assert "clip" in learned["down_0"] and "clip" not in learned["stem"]
  averages = shapes(SMALL.clone(quant=Quant(clip_kind="ema_percentile")))
  assert set(averages["clips"]) == set(averages["params"]) - {"stem"}


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (lambda: shapes(ResnetGenerator(ResnetWidths(2, (4,), (), ()))), "1 layers down and 0 up"),
    (lambda: shapes(ResnetGenerator(ResnetWidths(0, (4,), (), (4,)))), "widths must be at least 1"),
    (lambda: shapes(CartoonGenerator(CartoonWidths(2, ((4, 4),), (-1,), ((4, 4),)))), "those of blocks"),
    (lambda: shapes(SMALL, 15), "multiples of 4"),
    (lambda: SMALL.resized({"steam": 1}), r"no channels 'steam' \(nearest: 'stem'\)"),
    (lambda: CartoonGenerator().resized({"down_0": 1}), "no channels 'down_0'"),
  ],
)
def test_what_does_not_fit_is_refused_in_one_line(call, message):
  with pytest.raises(ValueError, match=message):
    call()


@pytest.mark.parametrize(
  "net", [ResnetGenerator(resnet_widths(2, 1)), CartoonGenerator(cartoon_widths(2, 1))]
)
def test_a_residual_output_is_added_to_the_picture_and_clipped(net):
  images = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, 8, 12, 3)), jnp.float32)
  plain, residual = net.clone(form="native"), net.clone(form="native", output="residual")
  variables = plain.init(jax.random.key(0), images)
  change = jnp.arctanh(plain.apply(variables, images).astype(jnp.float32))
  given = residual.apply(variables, images)
  np.testing.assert_allclose(given, jnp.clip(images + change, -1, 1), atol=2e-6)
  assert jnp.abs(given).max() == 1
  assert residual.channel_graph() == plain.channel_graph()
  assert count_macs(residual.layers, 8, 12) == count_macs(plain.layers, 8, 12)
  with pytest.raises(ValueError, match="unknown output 'sum'"):
    shapes(net.clone(output="sum"))
