"""Clips that are measured: post-training quantisation, moving averages, and where clips are found."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.compress.quantize import Quant, calibrate, clip_ranges, post_training


@pytest.fixture(scope="module")
def measured(resnet, images):
  net, params, _ = resnet
  return calibrate(net, params, [images, 0.5 * images])


def test_calibration_sees_what_each_layer_convolves(resnet, images, measured):
  net, params, _ = resnet
  _, seen = jax.jit(lambda: net.apply({"params": params}, images, mutable=["inputs"]))()
  inputs = {name: found["x"][0] for name, found in seen["inputs"].items()}
  assert set(measured) == set(inputs) - {"stem"}
  for layer in net.layers[1:]:
    assert measured[layer.name]["clip"] == pytest.approx(np.abs(inputs[layer.name]).max(), rel=1e-3)
    assert (inputs[layer.name].min() < 0) == layer.signed
    if layer.reflect:  # after the padding
      assert inputs[layer.name].shape[1] in (images.shape[1] + 6, images.shape[1] // 4 + 2)


def test_quantising_afterwards_is_close_at_8_bits_and_worse_at_fewer(resnet, images, measured):
  net, params, _ = resnet
  before = jax.jit(net.apply)({"params": params}, images)
  apply = jax.jit(
    lambda quant, clips: net.clone(quant=quant).apply({"params": params, "clips": clips}, images),
    static_argnums=0,
  )
  errors = []
  for bits in (8, 3):
    after = apply(Quant(bits, bits, clip_kind="ema_percentile"), measured)
    errors.append(float(jnp.sqrt(jnp.mean((after - before) ** 2))))
  assert errors[0] < 0.03 and errors[1] > 4 * errors[0]


def test_a_moving_average_moves_only_where_it_is_mutable(resnet, images):
  net, params, _ = resnet
  net = net.clone(quant=Quant(clip_kind="ema_percentile", decay=0.75, percentile=100.0))
  clips = {layer.name: {"clip": jnp.float32(4)} for layer in net.layers[1:]}

  @jax.jit
  def train():
    return net.apply({"params": params, "clips": clips}, images, mutable=["clips"])

  _, moved = train()
  first = jax.jit(lambda: net.clone(quant=None).apply({"params": params}, images, mutable=["inputs"]))()
  largest = float(first[1]["inputs"]["down_0"]["x"][0].max())
  found = float(moved["clips"]["down_0"]["clip"])
  assert found == pytest.approx(0.75 * 4 + 0.25 * largest, rel=0.02)  # the first weights are rounded already


def test_clips_are_found_where_they_are(resnet, images, measured):
  net, params, _ = resnet
  names = {layer.name for layer in net.layers[1:]}
  assert clip_ranges(net.clone(quant=Quant(clip=3.0)), {"params": params}) == dict.fromkeys(names, 3.0)
  learned = {name: {**x, "clip": 2.0} if isinstance(x, dict) else x for name, x in params.items()}
  net_learned = net.clone(quant=Quant(clip_kind="learned"))
  assert clip_ranges(net_learned, {"params": learned}) == dict.fromkeys(names, 2.0)
  quantised, variables = post_training(net, params, [images], bits=6)
  assert quantised.quant.weight_bits == 6
  assert clip_ranges(quantised, variables)["up_0"] == pytest.approx(float(measured["up_0"]["clip"]), rel=1e-3)
  with pytest.raises(ValueError, match="give it quant"):
    clip_ranges(net, variables)
  with pytest.raises(ValueError, match="did you mean 'learned'"):
    clip_ranges(net.clone(quant=Quant(clip_kind="lerned")), variables)
  with pytest.raises(ValueError, match="'down_0' is not in the collection 'params'"):
    clip_ranges(net_learned, {"params": params})


def test_what_cannot_be_measured_is_refused(resnet, images):
  net, params, _ = resnet
  with pytest.raises(ValueError, match="no pictures to calibrate by"):
    calibrate(net, params, [])
  with pytest.raises(ValueError, match="not those of the generator: it has no 'block_0_a/bias'"):
    calibrate(net.resized({"block_0_a": 0}), params, [images])
  with pytest.raises(ValueError, match="percentile is 150"):
    calibrate(net, params, [images], percentile=150)
  with pytest.raises(ValueError, match="the clip of layer 'down_0' is nan"):
    clips = {layer.name: {"clip": np.nan} for layer in net.layers}
    clip_ranges(net.clone(quant=Quant(clip_kind="ema_percentile")), {"params": params, "clips": clips})
  broken = {**params, "stem": {**params["stem"], "bias": np.full(4, np.nan, np.float32)}}
  with pytest.raises(ValueError, match="inputs of layer 'down_0' are not finite"):
    calibrate(net, broken, [images])
