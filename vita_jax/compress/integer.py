"""The integer program of a quantised generator: int8 weights, int8 levels, sums in int32.

Levels 0..255 are shifted by 128, since both operands of a convolution must have one type, and 128 times the
sum of each output's weights is added back; what pads with zeros then pads with -128. Norms, residual sums and
the first layer's input, the picture, stay float32, as in the simulation (`vita_jax.nn.layers`), whose sums it
gives bit for bit as long as they are below 2^24; what is left is rounding in the norms.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.compress.quantize import clip_ranges
from vita_jax.nn.conv import reflect
from vita_jax.nn.layers import PICTURE, Layer, convolution, finish, output_padding, summed
from vita_jax.nn.quantize import activation_levels, level_range, weight_levels, weight_step

SHIFT = 128
Arrays = dict[str, Any]


def integer_program(
  generator: Any, variables: Any
) -> tuple[Callable[[Arrays, jax.Array], jax.Array], Arrays]:
  """Makes the program and its arrays.

  Args:
    generator: with `quant`, such as `ResnetGenerator(quant=Quant())`.
    variables: its variables, "params" and where clips are averages "clips".

  Returns:
    (program, arrays): program(arrays, images) -> images. Arrays are numpy: for each layer `kernel` int8
    [k, k, inputs, features] and float32 `step` (of the product), `bias` and, where they exist, `clip`,
    `scale` and `shift`. Export it as any JAX function, `jax.export.export(jax.jit(program), platforms=...)`.

  Raises:
    ValueError: a generator without `quant`, in `paper_code_compat`, whose 257 levels int8 does not hold, or
      parameters that do not fit it.

  Examples:
    >>> from vita_jax.nn.gan import ResnetGenerator, ResnetWidths
    >>> from vita_jax.nn.quantize import Quant
    >>> images = jax.random.uniform(jax.random.key(0), (1, 8, 8, 3), minval=-1)
    >>> generator = ResnetGenerator(ResnetWidths(2, (2,), (), (2,)), form="native", quant=Quant())
    >>> variables = generator.init(jax.random.key(1), images)
    >>> program, arrays = integer_program(generator, variables)
    >>> arrays["stem"]["kernel"].dtype.name, program(arrays, images).shape
    ('int8', (1, 8, 8, 3))
  """
  quant = generator.quant
  clips = clip_ranges(generator, variables)
  if quant.paper_code_compat:
    raise ValueError("paper_code_compat has 257 levels, which no 8 bits hold: train without it to export")
  params, arrays = variables["params"], Arrays()
  for layer in generator.layers:
    arrays[layer.name] = _layer_arrays(layer, quant, params, clips.get(layer.name))
  gates = {layer.gate for layer in generator.layers if layer.gate}
  arrays |= {f"{gate}_scale": np.asarray(params[f"{gate}_scale"]) for gate in gates}
  return functools.partial(run_integer, generator.layers, quant.activation_bits), arrays


def run_integer(
  layers: Sequence[Layer], bits: int, arrays: Mapping[str, Any], images: jax.Array
) -> jax.Array:
  """Executes the integer program: images [n, h, w, c] -> the same; `bits` are those of activations."""
  x, wanted = images, {layer.add for layer in layers}
  outputs: dict[str, jax.Array] = {PICTURE: images}
  for layer in layers:
    own = arrays[layer.name]
    if layer.signed is None:
      padded = reflect(x, layer.padding) if layer.reflect else x
      y = convolution(layer, padded, own["kernel"].astype(x.dtype), form="native")
    else:
      levels, _ = activation_levels(x, own["clip"], bits=bits, signed=layer.signed)
      shifted = not layer.signed and level_range(bits=bits)[1] > 127
      y = integer_convolution(layer, levels.astype(jnp.int32), own["kernel"], shifted=shifted).astype(x.dtype)
    y = y * own["step"] + own["bias"]
    gate = arrays[f"{layer.gate}_scale"] if layer.gate else None
    x = finish(layer, y, scale=own.get("scale"), shift=own.get("shift"), gate=gate)
    if layer.add:
      x = summed(layer, x, outputs[layer.add])
    if layer.name in wanted:
      outputs[layer.name] = x
  return x


def integer_convolution(layer: Layer, levels: jax.Array, kernel: jax.Array, *, shifted: bool) -> jax.Array:
  """Convolves int32 levels by an int8 kernel as int8, with sums in int32.

  Args:
    layer: stride, padding, and whether it is transposed or reflects.
    levels: [n, h, w, inputs], -127..127, or 0..255 if `shifted`.
    kernel: int8 [k, k, inputs, features].
    shifted: whether levels are shifted by 128 to fit.
  """
  q = (levels - (SHIFT if shifted else 0)).astype(jnp.int8)
  ends = [(0, 0, 0)] * 2
  if layer.reflect:
    q = reflect(q, layer.padding)
  elif layer.transposed:
    # An ordinary convolution of the image with `stride - 1` zeros between its places, by the turned kernel.
    kernel = jnp.flip(kernel, (0, 1))
    edge = layer.kernel - 1 - layer.padding
    ends = [(edge, edge + output_padding(layer), layer.stride - 1)] * 2
  else:
    ends = [(layer.padding, layer.padding, 0)] * 2
  zero = jnp.int8(-SHIFT if shifted else 0)
  y = jax.lax.conv_general_dilated(
    jax.lax.pad(q, zero, [(0, 0, 0), *ends, (0, 0, 0)]),
    kernel,
    (1, 1) if layer.transposed else (layer.stride, layer.stride),
    "VALID",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    preferred_element_type=jnp.int32,
  )
  if shifted:
    y = y + SHIFT * jnp.sum(kernel.astype(jnp.int32), axis=(0, 1, 2))
  return y


def _layer_arrays(layer: Layer, quant: Any, params: Any, clip: float | None) -> dict[str, np.ndarray]:
  shape = (layer.kernel, layer.kernel, layer.inputs, layer.features)
  if layer.name not in params or np.shape(params[layer.name]["kernel"]) != shape:
    raise ValueError(
      f"the parameters are not those of the generator: layer '{layer.name}' needs a kernel {shape}"
    )
  own = params[layer.name]
  kernel = jnp.asarray(own["kernel"])
  step = weight_step(kernel, bits=quant.weight_bits, per_channel=quant.per_channel)
  found: dict[str, Any] = {"kernel": np.asarray(weight_levels(kernel, step)).astype(np.int8)}
  if clip is not None:
    _, unit = activation_levels(
      jnp.zeros(()), jnp.float32(clip), bits=quant.activation_bits, signed=bool(layer.signed)
    )
    step, found["clip"] = unit * step, np.float32(clip)
  found["step"] = np.asarray(step)
  return found | {k: np.asarray(own[k]) for k in ("bias", "scale", "shift") if k in own}
