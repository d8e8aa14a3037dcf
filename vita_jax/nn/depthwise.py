"""The gradient of a depthwise convolution in its kernel, on the CPU.

Forward, and backward to the image, the convolution is a sum of shifted images, which XLA makes one fast loop
of. A kernel's gradient is a sum over all places for each of its taps instead: written out, it is a large
program, in which XLA sums column by column. As a loop over taps, a few images at a time, it is a small one,
and each sum runs over long rows that stay in a core's cache. The loop uses one core; written out, the sums
of large maps may use several. `launch/benchmark.py asg` times the layers of an EfficientNet.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
  from vita_jax.nn.conv_forms import Window

# Numbers of an image's maps that are worked on at once: with what they become they fit into 1 to 2 MB.
BLOCK = 80_000


class Taps(NamedTuple):
  """Where the taps of a kernel find their places in an image of `_residues`.

  Attributes:
    starts: int32 [taps, 2 + axes], the first of the places: residue, 0 (all images), and along each axis.
    lengths: of each axis of a residue.
    places: of each axis of the result.
  """

  starts: np.ndarray
  lengths: tuple[int, ...]
  places: tuple[int, ...]


def kernel_gradient(window: Window, x: jax.Array, w: jax.Array, dy: jax.Array) -> jax.Array:
  """Computes the gradient of <y, dy> in the kernel w, for y the depthwise convolution of x by w.

  Args:
    window: how the kernel walks over the images; its groups are not looked at.
    x: images [n, *spatial, c].
    w: the kernel [*kernel, 1, c], of which only the shape is looked at.
    dy: [n, *places, c].

  Examples:
    >>> from vita_jax.nn.conv_forms import Window
    >>> window = Window((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    >>> x, w = jnp.ones((1, 3, 3, 1)), jnp.ones((3, 3, 1, 1))
    >>> kernel_gradient(window, x, w, x)[:, :, 0, 0].tolist()
    [[4.0, 6.0, 4.0], [6.0, 9.0, 6.0], [4.0, 6.0, 4.0]]
  """
  c, taps = x.shape[-1], _taps(window, x, w.shape[:-2])

  def gradient(x: jax.Array, dy: jax.Array) -> jax.Array:
    residues, slope = _residues(window, taps, x), dy.reshape(*dy.shape[:-2], -1)

    def one(tap: jax.Array) -> jax.Array:
      return jnp.sum((_shift(taps, residues, c, tap) * slope).reshape(-1, c), axis=0)

    return jax.lax.map(one, jnp.arange(len(taps.starts)))

  return jnp.sum(_in_blocks(gradient, x, dy), axis=0).reshape(w.shape)


def _taps(window: Window, x: jax.Array, kernel: tuple[int, ...]) -> Taps:
  axes = list(zip(x.shape[1:-1], kernel, window.stride, window.pads, window.dilation, strict=True))
  places = tuple((n + sum(pad) - d * (k - 1) - 1) // s + 1 for n, k, s, pad, d in axes)
  lengths = tuple(count + d * (k - 1) // s for count, (_, k, s, _, d) in zip(places, axes, strict=True))
  offsets = np.indices(kernel).reshape(len(kernel), -1) * np.array(window.dilation)[:, None]
  stride = np.array(window.stride)[:, None]
  residues = np.ravel_multi_index(tuple(offsets % stride), window.stride)
  starts = np.stack([residues, np.zeros_like(residues), *(offsets // stride)], axis=-1)
  return Taps(starts.astype(np.int32), lengths, places)


def _residues(window: Window, taps: Taps, x: jax.Array) -> jax.Array:
  """Sorts the places of padded images by their residue modulo the stride.

  [n, *spatial, c] -> [residues, n, *lengths but the last, last length * c]: a tap's places are neighbours.
  """
  n, *spatial, c = x.shape
  axes = zip(spatial, taps.lengths, window.stride, window.pads, strict=True)
  widths = [(before, s * m - before - length, 0) for length, m, s, (before, _) in axes]
  x = jax.lax.pad(x, jnp.zeros_like(x, shape=()), [(0, 0, 0), *widths, (0, 0, 0)])  # negative widths cut
  if math.prod(window.stride) > 1:
    pairs = itertools.chain(*zip(taps.lengths, window.stride, strict=True))
    x = x.reshape(n, *pairs, c)
    ranks = range(1, 1 + 2 * len(spatial), 2)
    x = x.transpose(*(i + 1 for i in ranks), 0, *ranks, x.ndim - 1)
  return x.reshape(-1, n, *taps.lengths[:-1], taps.lengths[-1] * c)


def _shift(taps: Taps, residues: jax.Array, c: int, tap: jax.Array) -> jax.Array:
  """Returns the places of a tap, [n, *places but the last, last place * c]."""
  start = jnp.asarray(taps.starts * ([1] * (taps.starts.shape[1] - 1) + [c]))[tap]
  sizes = (1, residues.shape[1], *taps.places[:-1], taps.places[-1] * c)
  return jax.lax.dynamic_slice(residues, tuple(start), sizes)[0]


def _in_blocks(f: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
  """Applies a function to a few rows at a time: -> [blocks, *its result]."""
  n, *rest = arrays[0].shape
  whole = not isinstance(n, int) or jax.device_count() > 1  # rows on several devices are blocks already
  size = n if whole else _divisor(n, BLOCK // max(1, math.prod(rest)))
  if size == n:
    return f(*arrays)[None]
  blocks = tuple(x.reshape(n // size, size, *x.shape[1:]) for x in arrays)
  return jax.lax.map(lambda block: f(*block), blocks)


def _divisor(n: int, most: int) -> int:
  """Returns the largest divisor of n that is at most `most`, 1 at least."""
  return next(size for size in range(max(1, min(n, most)), 0, -1) if n % size == 0)
