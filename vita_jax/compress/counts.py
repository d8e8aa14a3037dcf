"""What a network costs: multiply-adds, parameters and bytes, in all and for each layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.choose import choose
from vita_jax.compress.channels import group_leaf
from vita_jax.compress.masks import chosen, leaves_by_path
from vita_jax.nn.channels import Graph
from vita_jax.nn.layers import Layer, places, shapes
from vita_jax.nn.quantize import check_bits

CONVENTIONS = ("true", "paper")
FORMATS = ("float32", "int")


class LayerCost(NamedTuple):
  """What one layer costs.

  Attributes:
    name: of the layer.
    inputs, features: channels.
    height, width: places of its output.
    macs: multiply-adds, see `count_macs`.
    macs_paper: those in the paper's convention.
    weights: of its kernel.
  """

  name: str
  inputs: int
  features: int
  height: int
  width: int
  macs: int
  macs_paper: int
  weights: int


def layer_costs(layers: Sequence[Layer], height: int, width: int) -> list[LayerCost]:
  """Lists the costs of every layer for one image of height x width."""
  found = []
  for layer in layers:
    taken, (height, width) = height * width, (places(layer, height), places(layer, width))
    weights = layer.kernel**2 * layer.inputs * layer.features
    given = height * width
    macs = weights * (taken if layer.transposed else given)
    found.append(
      LayerCost(layer.name, layer.inputs, layer.features, height, width, macs, weights * given, weights)
    )
  return found


def count_macs(layers: Sequence[Layer], height: int, width: int, *, convention: str = "true") -> int:
  """Counts the multiply-adds of the convolutions for one image of height x width.

  Args:
    layers: the table, `generator.layers`.
    height: of the image.
    width: of the image.
    convention: "true": a transposed convolution counts at the places of its input, as what it really does;
      "paper": at those of its output, stride^2 as many, as in the code of GAN Slimming and others. Padding
      counts in both.

  Raises:
    ValueError: another convention.

  Examples:
    >>> from vita_jax.nn.gan import ResnetGenerator
    >>> layers = ResnetGenerator().layers
    >>> count_macs(layers, 256, 256, convention="paper"), count_macs(layers, 256, 256)
    (56799264768, 49551507456)
  """
  choose("convention", convention, CONVENTIONS)
  costs = layer_costs(layers, height, width)
  return sum(cost.macs if convention == "true" else cost.macs_paper for cost in costs)


def live_macs(
  params: Any, graph: Graph, layers: Sequence[Layer], height: int, width: int, *, convention: str = "true"
) -> jax.Array:
  """Computes the multiply-adds of the network without the channels whose gamma is 0, in a traced program.

  So training can show, and steer by (`steer_rho`), what the extracted network will cost: `count_macs` of it,
  but for rounding up to multiples and minima.

  Args:
    params: the network's, traced or not.
    graph: its channels; groups without gamma count whole.
    layers: its table.
    height: of the image.
    width: of the image.
    convention: see `count_macs`.

  Returns:
    float32 [].
  """
  choose("convention", convention, CONVENTIONS)
  live, total = _live_shares(params, graph), jnp.zeros(())
  for cost in layer_costs(layers, height, width):
    macs = cost.macs if convention == "true" else cost.macs_paper
    kernel = f"{cost.name}/kernel"
    total = total + macs * live.get((kernel, 2), 1.0) * live.get((kernel, 3), 1.0)
  return total


def live_bytes(
  params: Any, graph: Graph, layers: Sequence[Layer], *, bits: int = 0, per_channel: bool = False
) -> jax.Array:
  """Computes the `layer_bytes` of the network without the channels whose gamma is 0, in a traced program.

  As `live_macs`: what the extracted network will have, but for rounding up to bytes, multiples and minima,
  and for the vectors of layers that go with an empty branch.

  Args:
    params: the network's, traced or not.
    graph: its channels; groups without gamma count whole.
    layers: its table.
    bits: see `layer_bytes`.
    per_channel: see `artifact_bytes`.

  Returns:
    float32 [].
  """
  if bits:
    check_bits(bits)
  live, total = _live_shares(params, graph), jnp.zeros(())
  for layer in layers:
    kernel = f"{layer.name}/kernel"
    outputs = layer.features * live.get((kernel, 3), 1.0)
    weights = layer.kernel**2 * layer.inputs * live.get((kernel, 2), 1.0) * outputs
    vectors = (3 if layer.norm == "affine" else 1) * outputs
    steps = (outputs if per_channel else 1.0) if bits else 0.0
    total = total + weights * (bits / 8 if bits else 4.0) + 4.0 * (vectors + steps)
  return total


def _live_shares(params: Any, graph: Graph) -> dict[tuple[str, int], jax.Array]:
  """(path of an array, axis) -> the share of its places whose gamma is not 0."""
  leaves = leaves_by_path(params)
  live: dict[tuple[str, int], jax.Array] = {}
  for group in graph:
    if group.scale is not None:
      share = jnp.mean((group_leaf(leaves, group, group.scale) != 0).astype(jnp.float32))
      live |= {(path, axis): share for path, axis, _ in group.slices}
  return live


def traced_macs(function: Callable[..., Any], *args: Any) -> int:
  """Counts the multiply-adds of the convolutions and products that a function is traced to, of any network.

  A convolution of a dilated image, which is what a native transposed one is, counts at the places of the
  image (the "true" convention). A `scan` counts as often as it runs, a `cond` its largest branch.

  Args:
    function: any function of JAX; convolutions should be in the form "native".
    *args: arrays or shapes.

  Raises:
    ValueError: a `while` loop, whose length is not known.

  Examples:
    >>> traced_macs(lambda x, w: jnp.tanh(x @ w), np.ones((3, 4)), np.ones((4, 5)))
    60
  """
  return _macs(jax.make_jaxpr(function)(*args).jaxpr)


def _macs(jaxpr: Any) -> int:
  total = 0
  for eqn in jaxpr.eqns:
    name, outputs = eqn.primitive.name, sum(v.aval.size for v in eqn.outvars if hasattr(v.aval, "size"))
    inner = [_macs(getattr(p, "jaxpr", p)) for p in _jaxprs(eqn.params)]
    if name == "conv_general_dilated":
      kernel, numbers = eqn.invars[1].aval.shape, eqn.params["dimension_numbers"]
      taps = math.prod(kernel) // kernel[numbers.rhs_spec[0]]  # of one output; groups are in its inputs
      total += outputs * taps // math.prod(eqn.params["lhs_dilation"])
    elif name == "dot_general":
      (contracted, _), _ = eqn.params["dimension_numbers"]
      total += outputs * math.prod(eqn.invars[0].aval.shape[axis] for axis in contracted)
    elif name == "while" and any(inner):
      raise ValueError("the multiply-adds of a while loop cannot be counted: its length is not known")
    elif name == "cond":
      total += max(inner)
    else:
      total += sum(inner) * eqn.params.get("length", 1)
  return total


def _jaxprs(params: Mapping[str, Any]) -> list[Any]:
  """The programs among the parameters of an equation."""
  values = [v for p in params.values() for v in (p if isinstance(p, tuple | list) else (p,))]
  return [v for v in values if hasattr(getattr(v, "jaxpr", v), "eqns")]


def count_parameters(params: Any) -> int:
  """Counts the numbers in a tree, of arrays or of shapes."""
  return sum(math.prod(np.shape(x)) for x in jax.tree.leaves(params))


def artifact_bytes(params: Any, *, kind: str = "float32", bits: int = 8, per_channel: bool = False) -> int:
  """Computes the bytes of the numbers that a network is stored in, without any file's overhead.

      float32   4 * all
      int       bits/8 * kernels (each rounded up to bytes) + 4 * the rest + 4 * steps

  The rest are biases, scales, shifts and clips; there is a step for each kernel, or for each output channel.

  Args:
    params: a tree, of arrays or of shapes; kernels are the leaves named "kernel".
    kind: "float32" or "int".
    bits: of an integer weight, 2 to 8.
    per_channel: steps of output channels (the last axis) rather than of kernels.

  Raises:
    ValueError: another kind, or other bits.

  Examples:
    >>> params = {"a": {"kernel": np.zeros((3, 3, 2, 4)), "bias": np.zeros(4)}}
    >>> artifact_bytes(params), artifact_bytes(params, kind="int"), artifact_bytes(params, kind="int", bits=4)
    (304, 92, 56)
  """
  choose("kind", kind, FORMATS)
  total = count_parameters(params)
  if kind == "float32":
    return 4 * total
  check_bits(bits)
  kernels = [np.shape(x) for x in chosen(params, r"(^|/)kernel$").values()]
  weights = [math.prod(shape) for shape in kernels]
  steps = sum(shape[-1] if per_channel else 1 for shape in kernels)
  return sum(-(-bits * n // 8) for n in weights) + 4 * (total - sum(weights)) + 4 * steps


def layer_bytes(layers: Sequence[Layer], *, bits: int = 0, per_channel: bool = False) -> int:
  """Computes the `artifact_bytes` of a table of layers, from its sizes alone; gates and clips are left out.

  Args:
    layers: the table.
    bits: 0: float32; else of an integer weight, 2 to 8.
    per_channel: see `artifact_bytes`.

  Examples:
    >>> layers = (Layer("a", 2, 4, 3, norm="affine"),)
    >>> layer_bytes(layers), layer_bytes(layers, bits=8)
    (336, 124)
  """
  gates = {f"{layer.gate}_scale" for layer in layers}
  arrays = {  # no memory, whatever the size
    name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes(layers).items() if name not in gates
  }
  if not bits:
    return artifact_bytes(arrays)
  return artifact_bytes(arrays, kind="int", bits=bits, per_channel=per_channel)


def channel_table(before: Sequence[Layer], after: Sequence[Layer], height: int, width: int) -> list[dict]:
  """Lists for each layer of `before` its features, multiply-adds and weights, and what `after` has left.

  Layers that are gone have 0.

  Returns:
    Rows with `layer`, `features`, `features_left`, `macs`, `macs_left`, `weights`, `weights_left`.
  """
  left: Mapping[str, LayerCost] = {cost.name: cost for cost in layer_costs(after, height, width)}
  rows = []
  for cost in layer_costs(before, height, width):
    row: dict[str, Any] = {"layer": cost.name}
    for field in ("features", "macs", "weights"):
      row[field] = getattr(cost, field)
      row[f"{field}_left"] = getattr(left[cost.name], field) if cost.name in left else 0
    rows.append(row)
  return rows


def layer_parameters(params: Any) -> dict[str, int]:
  """Counts the numbers below each key at the top of a tree of dicts."""
  counts: dict[str, int] = {}
  for name, x in leaves_by_path(params).items():
    layer = name.split("/", 1)[0]
    counts[layer] = counts.get(layer, 0) + math.prod(np.shape(x))
  return counts
