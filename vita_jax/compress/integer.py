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
from vita_jax.nn.layers import PICTURE, Layer, check_layers, check_parameters, convolution, finish, summed
from vita_jax.nn.quantize import SMALLEST, activation_levels, level_range, weight_levels, weight_step

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
  params, arrays = check_parameters(check_layers(generator.layers), variables), Arrays()
  for layer in generator.layers:
    arrays[layer.name] = _layer_arrays(layer, quant, params[layer.name], clips.get(layer.name))
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
      y = convolution(layer, padded, own["kernel"].astype(x.dtype), form="top")  # a program of its own
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
  q, stride, ends = (levels - (SHIFT if shifted else 0)).astype(jnp.int8), layer.stride, (0, 0)
  if layer.reflect:
    q = reflect(q, layer.padding)
  elif layer.transposed:
    # XLA's convolutions of int8 images with zeros between their places are wrong on the CPU (jax 0.10.2, from
    # 32 channels on), and most of what they multiply are those zeros.
    kernel, before, after = sub_pixel_kernel(layer, kernel)
    stride, ends = 1, (before, after)
  else:
    ends = (layer.padding, layer.padding)
  if shifted:
    q, ends = jax.lax.pad(q, jnp.int8(-SHIFT), [(0, 0, 0), (*ends, 0), (*ends, 0), (0, 0, 0)]), (0, 0)
  y = jax.lax.conv_general_dilated(
    q,
    kernel,
    (stride, stride),
    [ends] * 2,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    preferred_element_type=jnp.int32,
  )
  if shifted:
    y = y + SHIFT * jnp.sum(kernel.astype(jnp.int32), axis=(0, 1, 2))
  return _spread(y, layer.stride) if layer.transposed else y


def sub_pixel_kernel(layer: Layer, kernel: Any) -> tuple[Any, int, int]:
  """Writes a transposed convolution as an ordinary one that gives stride^2 times the channels.

  Place s * i + r of the output gets x[i + e] @ w[r + padding - s * e] for every e with such a tap.

  Args:
    layer: kernel, stride and padding.
    kernel: [k, k, inputs, features], of numpy or JAX.

  Returns:
    (kernel [taps, taps, inputs, s * s * features], zeros to pad before, and after); the channels of an output
    are then those of s x s places, row by row (ONNX's DepthToSpace in the mode DCR).
  """
  k, s, p = layer.kernel, layer.stride, layer.padding
  reach = {(r, (r + p - tap) // s): tap for r in range(s) for tap in range(k) if (r + p - tap) % s == 0}
  offsets = [e for _, e in reach]
  least, most = min(0, *offsets), max(0, *offsets)
  xp = np if isinstance(kernel, np.ndarray) else jnp
  nothing = xp.zeros_like(kernel[0, 0])

  def tap(e: int, e2: int, r: int, r2: int) -> Any:
    at, at2 = reach.get((r, e)), reach.get((r2, e2))
    return nothing if at is None or at2 is None else kernel[at, at2]

  span, phases = range(least, most + 1), [(r, r2) for r in range(s) for r2 in range(s)]
  rows = [[xp.concatenate([tap(e, e2, *phase) for phase in phases], axis=-1) for e2 in span] for e in span]
  return xp.stack([xp.stack(row) for row in rows]), -least, most


def _spread(y: jax.Array, s: int) -> jax.Array:
  """[n, h, w, s * s * c] -> [n, s * h, s * w, c]."""
  n, height, width, channels = y.shape
  y = y.reshape(n, height, width, s, s, channels // s**2).transpose(0, 1, 3, 2, 4, 5)
  return y.reshape(n, s * height, s * width, channels // s**2)


def _layer_arrays(layer: Layer, quant: Any, own: Any, clip: float | None) -> dict[str, np.ndarray]:
  kernel = jnp.asarray(own["kernel"])
  step = weight_step(kernel, bits=quant.weight_bits, per_channel=quant.per_channel)
  found: dict[str, Any] = {"kernel": np.asarray(weight_levels(kernel, step)).astype(np.int8)}
  if clip is not None:
    _, unit = activation_levels(
      jnp.zeros(()), jnp.float32(clip), bits=quant.activation_bits, signed=bool(layer.signed)
    )
    step, found["clip"] = unit * step, np.float32(max(clip, SMALLEST))
  found["step"] = np.asarray(step)
  return found | {k: np.asarray(own[k]) for k in ("bias", "scale", "shift") if k in own}
