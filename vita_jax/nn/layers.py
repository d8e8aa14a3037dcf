"""Convolutional networks written down as a table of layers, so that other programs can read them.

A network is a tuple of `Layer`s. Each takes what the one before gives, and may add the output of an earlier
one (a residual connection). `run` executes the table with linen parameters; the channel graph, the counts of
multiply-adds, the integer program and the ONNX file (`vita_jax.compress`) are made from the same table.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.choose import choose
from vita_jax.base.tree import named_leaves
from vita_jax.nn.conv import convolve, convolve_transposed, reflect
from vita_jax.nn.linear import uniform_fan_in
from vita_jax.nn.norm import standardized
from vita_jax.nn.quantize import Quant, activation_levels, check_quant, largest_of, weight_levels, weight_step

NORMS = ("none", "plain", "affine")
PICTURE = "picture"  # as `Layer.add`: what the first layer takes
NOT_THOSE = "the parameters are not those of the generator"


class Layer(NamedTuple):
  """Padding, convolution with bias, instance norm, activation, sum with an earlier output, in this order.

  Attributes:
    name: of its parameters.
    inputs, features: channels.
    kernel, stride, padding: of both axes, as in torch.
    reflect: the padding mirrors the image; else it is of zeros.
    transposed: a transposed convolution that gives stride times as many places as it takes: its output
      padding is stride - kernel + 2 * padding.
    norm: "none", "plain" (no parameters) or "affine".
    gate: name of a scale that several layers share after their norm; "" is none.
    activation: one of `ACTIVATIONS`.
    add: the layer whose output is added, or `PICTURE`, the network's input; "" is none.
    clipped: whether the sum is clipped to [-1, 1]; it must have one, see `add`.
    signed: whether the input has negative values, which says how it is quantised; None: it never is.
    epsilon: of the norm.
  """

  name: str
  inputs: int
  features: int
  kernel: int
  stride: int = 1
  padding: int = 0
  reflect: bool = False
  transposed: bool = False
  norm: str = "none"
  gate: str = ""
  activation: str = "none"
  add: str = ""
  clipped: bool = False
  signed: bool | None = None
  epsilon: float = 1e-5


def _same(x: jax.Array) -> jax.Array:
  return x


ACTIVATIONS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
  "none": _same,
  "relu": jax.nn.relu,
  "leaky_relu": functools.partial(jax.nn.leaky_relu, negative_slope=0.2),
  "tanh": jnp.tanh,
}


def check_layer(layer: Layer) -> Layer:
  """Returns the layer.

  Raises:
    ValueError: an unknown norm or activation, or one that is clipped and has no sum.
  """
  choose("norm", layer.norm, NORMS)
  choose("activation", layer.activation, ACTIVATIONS)
  if layer.clipped and not layer.add:
    raise ValueError(f"layer '{layer.name}' is clipped, which only a sum is: name what it adds, or unclip it")
  return layer


def check_layers(layers: Sequence[Layer]) -> tuple[Layer, ...]:
  """Returns the table.

  Raises:
    ValueError: see `check_layer`; two layers of one name, or one that adds none of those before it.
  """
  before = [PICTURE]
  for layer in layers:
    check_layer(layer)
    if layer.name in before:
      raise ValueError(f"two layers have the name '{layer.name}' ('{PICTURE}' is that of the input)")
    if layer.add and layer.add not in before:
      raise ValueError(f"layer '{layer.name}' adds '{layer.add}', which is no layer before it")
    before.append(layer.name)
  return tuple(layers)


def check_parameters(layers: Sequence[Layer], variables: Any) -> Any:
  """Returns the parameters of a table, the collection "params", after a look at every shape.

  Raises:
    ValueError: no such collection, an array that is missing, of another shape, or not in the table.
  """
  if "params" not in variables:
    raise ValueError('the variables have no collection "params": give {"params": parameters}')
  wanted, found = shapes(layers), {name: np.shape(x) for name, x in named_leaves(variables["params"]).items()}
  for name, shape in wanted.items():
    if found.get(name) != shape:
      what = f"is {found[name]}" if name in found else "is missing"
      raise ValueError(f"{NOT_THOSE}: '{name}' must be {shape}, and {what}")
  if more := [name for name in found if name not in wanted and not name.endswith("/clip")]:
    raise ValueError(f"{NOT_THOSE}: it has no '{more[0]}'")
  return variables["params"]


def shapes(layers: Sequence[Layer]) -> dict[str, tuple[int, ...]]:
  """Lists path -> shape of a table's parameters, but for learned clips.

  Examples:
    >>> shapes([Layer("a", 3, 4, 5, norm="plain", gate="b")])
    {'a/kernel': (5, 5, 3, 4), 'a/bias': (4,), 'b_scale': (4,)}
  """
  found: dict[str, tuple[int, ...]] = {}
  for layer in layers:
    found[f"{layer.name}/kernel"] = (layer.kernel, layer.kernel, layer.inputs, layer.features)
    for vector in ("bias", "scale", "shift") if layer.norm == "affine" else ("bias",):
      found[f"{layer.name}/{vector}"] = (layer.features,)
    if layer.gate:
      found[f"{layer.gate}_scale"] = (layer.features,)
  return found


def output_padding(layer: Layer) -> int:
  """Counts the places added at the end of a transposed layer's output: it gives stride times its input's."""
  return layer.stride - layer.kernel + 2 * layer.padding


def places(layer: Layer, length: int) -> int:
  """Counts the places a layer gives on an axis of `length` places."""
  if layer.transposed:
    return length * layer.stride
  return (length + 2 * layer.padding - layer.kernel) // layer.stride + 1


def convolution(layer: Layer, x: jax.Array, w: jax.Array, *, form: str) -> jax.Array:
  """Convolves x, reflected already where the layer says so, by w [kernel, kernel, inputs, features]."""
  if layer.transposed:
    return convolve_transposed(
      x, w, stride=layer.stride, padding=layer.padding, output_padding=output_padding(layer), form=form
    )
  return convolve(x, w, stride=layer.stride, padding=0 if layer.reflect else layer.padding, form=form)


class ConvLayer(nn.Module):
  """One `Layer` without its sum: x [n, h, w, inputs] -> [n, h', w', features].

  Parameters, float32: `kernel` [k, k, inputs, features], `bias` [features], drawn as torch draws them; with
  an affine norm `scale` (ones) and `shift` (zeros) [features]; with learned clips `clip` [].

  Attributes:
    layer: what it does.
    quant: how it is quantised; None: not at all. Then the collection "inputs", where it is mutable, gets `x`,
      what is convolved.
    form: where its convolution stands, see `vita_jax.nn.conv`.
    dtype: the type computed in; None: x's. Norms compute in float32.
  """

  layer: Layer
  quant: Quant | None = None
  form: str = "loop"
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array, gate: jax.Array | None = None) -> jax.Array:
    layer, k = check_layer(self.layer), self.layer.kernel
    if x.shape[-1] != layer.inputs:
      raise ValueError(f"layer '{layer.name}' is for {layer.inputs} channels, x has {x.shape[-1]}")
    draw = uniform_fan_in((layer.features if layer.transposed else layer.inputs) * k * k)
    w = self.param("kernel", draw, (k, k, layer.inputs, layer.features))
    bias = self.param("bias", draw, (layer.features,))
    x = x.astype(self.dtype or x.dtype)
    if layer.reflect:
      x = reflect(x, layer.padding)
    if self.quant is None:
      if not self.is_initializing():
        self.sow("inputs", "x", x)
      y = convolution(layer, x, w.astype(x.dtype), form=self.form)
    else:
      y = self._quantised(self.quant, x, w)
    return self._finish(y + bias.astype(y.dtype), gate).astype(x.dtype)

  def _quantised(self, quant: Quant, x: jax.Array, w: jax.Array) -> jax.Array:
    """Convolves levels, then multiplies by the steps: in float32 at least, which holds the sums."""
    quant = check_quant(quant)
    step = weight_step(w, bits=quant.weight_bits, per_channel=quant.per_channel)
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    levels, kernel = x, weight_levels(w, step)
    if self.layer.signed is not None:
      levels, unit = activation_levels(
        x,
        self._clip(quant, x),
        bits=quant.activation_bits,
        signed=self.layer.signed,
        paper_code_compat=quant.paper_code_compat,
      )
      step = unit * step
    y = convolution(self.layer, levels.astype(dtype), kernel.astype(dtype), form=self.form)
    return y * step.astype(dtype)

  def _clip(self, quant: Quant, x: jax.Array) -> jax.Array | float:
    if quant.clip_kind == "fixed":
      return quant.clip
    if quant.clip_kind == "learned":
      return self.param("clip", nn.initializers.constant(quant.clip), ())
    clip = self.variable("clips", "clip", jnp.full, (), quant.clip, jnp.float32)
    if self.is_mutable_collection("clips") and not self.is_initializing():
      seen = largest_of(x, quant.percentile)
      clip.value = quant.decay * clip.value + (1 - quant.decay) * seen
    return clip.value

  def _finish(self, y: jax.Array, gate: jax.Array | None) -> jax.Array:
    layer, scale, shift = self.layer, None, None
    if layer.norm == "affine":
      scale = self.param("scale", nn.initializers.ones, (layer.features,))
      shift = self.param("shift", nn.initializers.zeros, (layer.features,))
    return finish(layer, y, scale=scale, shift=shift, gate=gate)


def finish(
  layer: Layer,
  y: jax.Array,
  *,
  scale: jax.Array | None = None,
  shift: jax.Array | None = None,
  gate: jax.Array | None = None,
) -> jax.Array:
  """Applies a layer's norm, shared scale and activation to the convolution's output."""
  if layer.norm != "none":
    y = standardized(y, epsilon=layer.epsilon)
  if scale is not None:
    y = y * scale
  if shift is not None:
    y = y + shift
  if gate is not None:
    y = y * gate
  return ACTIVATIONS[layer.activation](y)


def summed(layer: Layer, x: jax.Array, earlier: jax.Array) -> jax.Array:
  """Adds an earlier output to a layer's, and clips the sum where the layer says so."""
  return jnp.clip(x + earlier, -1.0, 1.0) if layer.clipped else x + earlier


def run(
  layers: Sequence[Layer],
  x: jax.Array,
  *,
  quant: Quant | None = None,
  form: str = "loop",
  dtype: Any = None,
  gates: Mapping[str, jax.Array] | None = None,
  remat: bool = False,
) -> jax.Array:
  """Executes a table as submodules of the linen module that calls it (from a compact method).

  Args:
    layers: the table.
    x: images [n, h, w, inputs of the first].
    quant: see `ConvLayer`.
    form: see `ConvLayer`.
    dtype: see `ConvLayer`.
    gates: name -> shared scale [channels], for layers that have a `gate`.
    remat: recompute each layer in the backward pass, to save memory.

  Raises:
    ValueError: see `check_layers`; a gate that is not in `gates`.
  """
  make = nn.remat(ConvLayer) if remat else ConvLayer
  layers, gates = check_layers(layers), gates or {}
  wanted = {layer.add for layer in layers}
  outputs: dict[str, jax.Array] = {PICTURE: x}
  for layer in layers:
    if layer.gate and layer.gate not in gates:
      raise ValueError(f"layer '{layer.name}' has the gate '{layer.gate}', which is not in `gates`")
    gate = gates[layer.gate] if layer.gate else None
    x = make(layer, quant, form, dtype, name=layer.name)(x, gate)
    if layer.add:
      x = summed(layer, x, outputs[layer.add])
    if layer.name in wanted:
      outputs[layer.name] = x
  return x
