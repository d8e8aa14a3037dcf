"""Uniform quantisation with straight-through gradients: weights by their largest, activations by a clip.

A quantised value is a whole number, its level, times a step:

    weights                              levels -n..n   n = 2^(bits-1) - 1   step max|w| / n
    activations that are never negative  levels 0..n    n = 2^bits - 1       step clip / n
    signed activations                   levels -n..n   n = 2^(bits-1) - 1   step clip / n

So 8 bits are levels that int8 and uint8 hold.

`vita_jax.nn.layers` convolves levels and multiplies by both steps afterwards. The levels are whole numbers of
at most 8 bits, which float32 (and TF32, and bfloat16) holds exactly. Their sums are float32 whatever the type
of the network, and exact below 2^24: the simulation in floats gives the sums of the integer program bit for
bit.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.choose import choose

CLIPS = ("fixed", "learned", "ema_percentile")
BITS = range(2, 9)
SMALLEST = 1e-8  # the least maximum and clip, so that weights that are all zero have a step


class Quant(NamedTuple):
  """How the convolutions of a network are quantised.

  Attributes:
    weight_bits: 2 to 8, of every kernel.
    activation_bits: 2 to 8, of every convolution's input but the first one's.
    per_channel: a step for each output channel of a kernel; else one for the kernel.
    clip_kind: where clips come from. "fixed": `clip` everywhere. "learned": parameter `clip` of each layer,
      with the gradient of PACT (Choi et al., arXiv 1805.06085). "ema_percentile": variable `clip` of the
      collection "clips", a moving average of the `percentile` of |input| that is updated where the collection
      is mutable.
    clip: the fixed clip, and where the others start.
    percentile: from 0 to 100.
    decay: of the moving average.
    paper_code_compat: all inputs unsigned, and 2^bits + 1 levels, as in the released code of GAN Slimming.
      One level does not fit into the bits, so it can be trained but not exported.
  """

  weight_bits: int = 8
  activation_bits: int = 8
  per_channel: bool = False
  clip_kind: str = "fixed"
  clip: float = 4.0
  percentile: float = 99.9
  decay: float = 0.99
  paper_code_compat: bool = False


def check_quant(quant: Quant) -> Quant:
  """Returns the settings.

  Raises:
    ValueError: bits that are not 2 to 8, an unknown kind of clip, a clip that is not positive and finite, a
      percentile outside (0, 100] or a decay outside [0, 1).
  """
  for name in ("weight_bits", "activation_bits"):
    check_bits(getattr(quant, name), name=name)
  choose("clip_kind", quant.clip_kind, CLIPS)
  check_clip(quant.clip)
  if not 0 < quant.percentile <= 100:
    raise ValueError(f"percentile is {quant.percentile}: it must be above 0, at most 100")
  if not 0 <= quant.decay < 1:
    raise ValueError(f"decay is {quant.decay}: it must be in [0, 1)")
  return quant


def check_bits(bits: int, *, name: str = "bits") -> int:
  """Returns the number of bits; raises ValueError if it is not a whole number from 2 to 8."""
  if bits not in BITS:
    raise ValueError(f"{name} is {bits}: it must be a whole number from 2 to 8")
  return bits


def check_clip(clip: Any) -> Any:
  """Returns the clip; raises ValueError if it is a number of Python that is not positive and finite.

  Of arrays it only counts that they are at least `SMALLEST` where they are used: learned clips may pass 0.
  """
  if isinstance(clip, int | float) and not 0 < clip < math.inf:
    raise ValueError(f"clip is {clip}: it must be above 0, and finite")
  return clip


def fake_quant_weights(w: jax.Array, *, bits: int = 8, per_channel: bool = False) -> jax.Array:
  """Rounds weights to 2^bits - 1 levels; the gradient passes as if it did not.

  Args:
    w: weights [..., outputs].
    bits: 2 to 8.
    per_channel: a step for each output (the last axis); else one for all.

  Raises:
    ValueError: other bits.

  Examples:
    >>> [round(float(x), 4) for x in fake_quant_weights(jnp.array([-1.27, 0.01, 0.634, 1.27]))]
    [-1.27, 0.01, 0.63, 1.27]
  """
  step = weight_step(w, bits=bits, per_channel=per_channel)
  return (weight_levels(w, step) * step).astype(w.dtype)


def weight_step(w: jax.Array, *, bits: int = 8, per_channel: bool = False) -> jax.Array:
  """Computes max(max|w|, 1e-8) / (2^(bits-1) - 1), float32: [] or, per channel, [outputs]; a constant."""
  most = 2 ** (check_bits(bits) - 1) - 1
  axes = tuple(range(w.ndim - 1)) if per_channel else None
  largest = jnp.max(jnp.abs(jax.lax.stop_gradient(w)).astype(jnp.float32), axis=axes, initial=0.0)
  return jnp.maximum(largest, SMALLEST) * _inverse(most)


def weight_levels(w: jax.Array, step: jax.Array) -> jax.Array:
  """Computes round(w / step), float32, with the gradient of w / step."""
  return straight_through(w.astype(jnp.float32) / step)


def fake_quant(
  a: jax.Array,
  clip: jax.Array | float,
  *,
  bits: int = 8,
  signed: bool = False,
  paper_code_compat: bool = False,
) -> jax.Array:
  """Clips activations and rounds them to the levels of `activation_levels`.

  Gradients: of a, 1 within the clip (both ends included), else 0; of the clip, the sum of those of the values
  above it (less those below minus it), as in PACT.

  Args:
    a: any shape.
    clip: the largest value A, a positive scalar.
    bits: 2 to 8.
    signed: clipped to [-A, A]; else to [0, A].
    paper_code_compat: see `Quant`.

  Raises:
    ValueError: other bits, or a number as the clip that is not positive.

  Examples:
    >>> [round(float(x), 6) for x in fake_quant(jnp.array([1.0, -3.0, 9.0]), 4.0)]
    [1.003922, 0.0, 4.0]
  """
  levels, step = activation_levels(a, clip, bits=bits, signed=signed, paper_code_compat=paper_code_compat)
  return (levels * step).astype(a.dtype)


def activation_levels(
  a: jax.Array,
  clip: jax.Array | float,
  *,
  bits: int = 8,
  signed: bool = False,
  paper_code_compat: bool = False,
) -> tuple[jax.Array, jax.Array]:
  """Computes (levels, step): whole numbers in float32 of a's shape, and the constant step clip / n."""
  largest = jnp.maximum(jnp.asarray(check_clip(clip), jnp.float32), SMALLEST)
  _, most = level_range(bits=bits, signed=signed, paper_code_compat=paper_code_compat)
  constant = jax.lax.stop_gradient(largest)
  least = -largest if signed and not paper_code_compat else jnp.zeros_like(largest)
  h = a.astype(jnp.float32)
  # Not jnp.clip, which halves the gradient at the ends: ReLU puts many values exactly there.
  h = jnp.where(h > largest, largest, jnp.where(h < least, least, h))
  return straight_through(h * (most / constant)), constant * _inverse(most)


def level_range(*, bits: int = 8, signed: bool = False, paper_code_compat: bool = False) -> tuple[int, int]:
  """Returns the least and the largest level of activations; raises ValueError for bits that are not 2 to 8.

  Examples:
    >>> level_range(), level_range(signed=True), level_range(bits=4)
    ((0, 255), (-127, 127), (0, 15))
  """
  check_bits(bits)
  if paper_code_compat:
    return 0, 2**bits
  most = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
  return (-most if signed else 0), most


def _inverse(n: int) -> np.float32:
  """1 / n to multiply by: XLA makes this of a division by a constant under jit, and only there."""
  return np.float32(1 / n)


def largest_of(a: jax.Array, percentile: float) -> jax.Array:
  """Computes the percentile of |a| over all entries, float32 [], without a gradient; 100 is the maximum."""
  h = jnp.abs(jax.lax.stop_gradient(a)).astype(jnp.float32)
  return jnp.max(h) if percentile == 100 else jnp.percentile(h, percentile)


def straight_through(x: jax.Array) -> jax.Array:
  """Rounds to the nearest whole number, halves to the even one; the gradient is that of x."""
  constant = jax.lax.stop_gradient(x)
  return jnp.round(constant) + (x - constant)  # the bracket is exactly 0
