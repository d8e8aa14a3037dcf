"""Multiply-adds, parameters and bytes; those of the published networks are in tests/nn/test_gan.py."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.compress.channels import counts_of, keep_channels
from vita_jax.compress.counts import (
  artifact_bytes,
  channel_table,
  count_macs,
  count_parameters,
  layer_bytes,
  layer_costs,
  layer_parameters,
  live_bytes,
  live_macs,
  traced_macs,
)
from vita_jax.nn.conv import convolve
from vita_jax.nn.layers import Layer, places


def test_multiply_adds_by_hand():
  layers = (
    Layer("a", 3, 4, 7, 1, 3, reflect=True),
    Layer("b", 4, 5, 3, 2, 1),
    Layer("c", 5, 2, 3, 2, 1, transposed=True),
  )
  wanted = 49 * 12 * 64 + 9 * 20 * 16 + 9 * 10 * 16
  assert count_macs(layers, 8, 8) == wanted
  assert count_macs(layers, 8, 8, convention="paper") == wanted + 3 * 9 * 10 * 16
  assert [(cost.height, cost.width) for cost in layer_costs(layers, 8, 12)] == [(8, 12), (4, 6), (8, 12)]
  assert [places(Layer("d", 1, 1, 4, s, 1), 9) for s in (1, 2)] == [8, 4]
  with pytest.raises(ValueError, match="unknown convention"):
    count_macs(layers, 8, 8, convention="papers")


def test_a_traced_network_counts_as_its_table_does(resnet, cartoon):
  for net, _, _ in (resnet, cartoon):
    variables = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 16, 20, 3)))
    traced = traced_macs(net.apply, variables, jnp.zeros((1, 16, 20, 3)))
    # The table counts zeros that pad as well, and so does a convolution.
    assert traced == count_macs(net.layers, 16, 20)


def test_live_multiply_adds_are_those_of_the_extracted_network(resnet, pruned):
  net, params, graph = resnet
  params = pruned(params, graph, empty=("block_1_a",))
  small = net.resized(counts_of(keep_channels(params, graph)))
  for convention in ("true", "paper"):
    wanted = count_macs(small.layers, 16, 20, convention=convention)
    found = jax.jit(lambda p, c=convention: live_macs(p, graph, net.layers, 16, 20, convention=c))(params)
    assert float(found) == pytest.approx(wanted, rel=1e-6)
  for options in ({}, {"bits": 8}, {"bits": 6, "per_channel": True}):
    wanted = layer_bytes(small.layers, **options)
    found = float(jax.jit(lambda p, o=options: live_bytes(p, graph, net.layers, **o))(params))
    stream = small.widths.down[-1]
    gone = 4 * (stream + bool(options) * (stream if options.get("per_channel") else 2))  # of the empty block
    assert found == pytest.approx(wanted + gone, abs=len(net.layers))


def test_loops_and_branches_are_counted():
  w = jnp.ones((4, 4))

  def scan(x):
    return jax.lax.scan(lambda x, _: (x @ w, None), x, None, 7)[0]

  def branch(x):
    return jax.lax.cond(x[0, 0] > 0, lambda x: x @ w @ w, lambda x: x @ w, x)

  x = jnp.ones((2, 4))
  assert traced_macs(scan, x) == 7 * 32 and traced_macs(branch, x) == 64
  depthwise = functools.partial(convolve, groups=4, form="native")
  assert traced_macs(depthwise, jnp.ones((1, 5, 5, 4)), jnp.ones((3, 3, 1, 4))) == 9 * 9 * 4
  with pytest.raises(ValueError, match="while loop cannot be counted"):
    traced_macs(lambda x: jax.lax.while_loop(lambda x: x[0, 0] < 9, lambda x: x @ w, x), x)


def test_bytes_of_the_formula():
  params = {
    "a": {"kernel": np.zeros((3, 3, 2, 5)), "bias": np.zeros(5), "scale": np.zeros(5)},
    "s": np.zeros(2),
  }
  assert count_parameters(params) == 102
  assert artifact_bytes(params) == 408
  assert artifact_bytes(params, kind="int") == 90 + 4 * 12 + 4
  assert artifact_bytes(params, kind="int", per_channel=True) == 90 + 4 * 12 + 4 * 5
  assert artifact_bytes(params, kind="int", bits=3) == 34 + 4 * 12 + 4  # 33.75, in whole bytes
  assert layer_parameters(params) == {"a": 100, "s": 2}
  with pytest.raises(ValueError, match="bits is 9"):
    artifact_bytes(params, kind="int", bits=9)
  with pytest.raises(ValueError, match="bits is 1"):
    live_bytes({}, (), (), bits=1)


def test_int8_weights_are_a_quarter_of_the_dense_network(resnet):
  net, params, _ = resnet
  kernels = sum(cost.weights for cost in layer_costs(net.layers, 16, 16))
  others = count_parameters(params) - kernels
  assert artifact_bytes(params, kind="int") == kernels + 4 * others + 4 * len(net.layers)


def test_the_table_of_layers_says_what_is_left(resnet):
  net, _, _ = resnet
  small = net.resized({"stem": 2, "block_0_a": 0})
  rows = {row["layer"]: row for row in channel_table(net.layers, small.layers, 16, 16)}
  assert rows["stem"]["features_left"] == 2 and rows["stem"]["features"] == 4
  assert rows["block_0_a"]["macs_left"] == rows["block_0_b"]["features_left"] == 0 < rows["block_0_b"]["macs"]
  assert sum(row["macs_left"] for row in rows.values()) == count_macs(small.layers, 16, 16)
