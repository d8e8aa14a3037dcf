"""(face, pixel) pairs in bounded memory: what every rasterizer here is a loop over.

Most faces of a fine mesh cover one to three pixels, a few cover many. Each face gets a box of pixels; boxes
are cut into square windows of 2, 4 or 8 pixels, the smallest that holds the box (a larger box becomes
several windows of 8), and windows of one size are evaluated together, some 2^15 samples at a time, in a
loop whose length follows the data. So any number of faces of any size works: no capacity could overflow.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

WINDOWS = (2, 4, 8)
SAMPLES = 1 << 15  # of a chunk: its arrays stay in the cache


class Boxes(NamedTuple):
  """The pixels that each face may touch: rows `first[0] ... first[0] + extent[0] - 1`, columns alike.

  Attributes:
    first: (row, column) of the upper left pixel, int32 [F] each.
    extent: numbers of rows and columns, int32 [F] each; 0 where the face draws nothing.
  """

  first: tuple[jax.Array, jax.Array]
  extent: tuple[jax.Array, jax.Array]


class Chunk(NamedTuple):
  """Samples of one window size: K windows of n x n pixels.

  Attributes:
    face: int32 [K].
    row, column: int32 [K, n, 1] and [K, 1, n].
    valid: bool [K, n, n]: the pixel is in the face's box (and the window is no padding).
  """

  face: jax.Array
  row: jax.Array
  column: jax.Array
  valid: jax.Array


def make_boxes(
  low: Sequence[jax.Array], high: Sequence[jax.Array], drawn: jax.Array, size: tuple[int, int]
) -> Boxes:
  """Returns the boxes of the pixels whose centres lie in [low, high].

  Args:
    low: (y, x) in pixels from the upper left corner of the picture, float32 [F] each.
    high: alike.
    drawn: bool [F], faces that are drawn at all.
    size: (height, width).
  """
  # Clipped as floats: a far away coordinate does not fit an integer.
  first = [jnp.clip(jnp.ceil(x - 0.5), 0.0, end) for x, end in zip(low, size, strict=True)]
  last = [jnp.clip(jnp.floor(x - 0.5), -1.0, end - 1) for x, end in zip(high, size, strict=True)]
  height, width = (b - a + 1 for a, b in zip(first, last, strict=True))
  drawn &= (height > 0) & (width > 0)
  extent = [jnp.where(drawn, x, 0.0).astype(jnp.int32) for x in (height, width)]
  row, column = (x.astype(jnp.int32) for x in first)
  return Boxes((row, column), (extent[0], extent[1]))


def fold_pairs(boxes: Boxes, body: Callable[[Any, Chunk], Any], carry: Any) -> Any:
  """Folds `carry = body(carry, chunk)` over all pairs of faces and pixels of their boxes.

  Not differentiable by itself (the number of chunks follows the data): see `pair_sum`.
  """
  if boxes.first[0].shape[0] == 0:
    return carry
  side, smaller = jnp.maximum(*boxes.extent), 0
  for window in WINDOWS:
    largest = window == WINDOWS[-1]
    chosen = (side > smaller) & (True if largest else side <= window)
    carry = _fold_windows(boxes, chosen, window, body, carry)
    smaller = window
  return carry


def _fold_windows(boxes, chosen, window, body, carry):
  down, across = (-(-extent // window) for extent in boxes.extent)
  counts = jnp.where(chosen, down * across, 0)
  ends = jnp.cumsum(counts)
  most = max(counts.size // 2, SAMPLES // WINDOWS[-1] ** 2)  # a small mesh has few windows of a size
  number = min(SAMPLES // window**2, most)
  offsets = jnp.arange(window)

  def go_on(state):
    return state[0] * number < ends[-1]

  def step(state):
    i, carry = state
    pair = i * number + jnp.arange(number)
    face = jnp.minimum(jnp.searchsorted(ends, pair, side="right"), ends.size - 1).astype(jnp.int32)
    tile, per_row = pair - (ends[face] - counts[face]), jnp.maximum(across[face], 1)
    in_box = [place[:, None] * window + offsets for place in (tile // per_row, tile % per_row)]
    inside = [place < boxes.extent[axis][face][:, None] for axis, place in enumerate(in_box)]
    row, column = (boxes.first[axis][face][:, None] + place for axis, place in enumerate(in_box))
    valid = (pair < ends[-1])[:, None, None] & inside[0][:, :, None] & inside[1][:, None, :]
    return i + 1, body(carry, Chunk(face, row[:, :, None], column[:, None, :], valid))

  return jax.lax.while_loop(go_on, step, (jnp.int32(0), carry))[1]


def pixel_of(chunk: Chunk, size: tuple[int, int]) -> jax.Array:
  """Returns the flat pixel number of each sample, int32 [K, n, n]; height x width where it is not valid."""
  height, width = size
  return jnp.where(chunk.valid, chunk.row * width + chunk.column, height * width)


# f(rows, shared, at, row, column) -> [channels]-tuple of arrays [K, n, n]; see `pair_sum`.
PairFunction = Callable[..., tuple[jax.Array, ...]]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def pair_sum(
  f: PairFunction, channels: int, size: tuple[int, int], rows: Any, shared: Any, pixels: Any, boxes: Boxes
) -> jax.Array:
  """Sums a function of face and pixel over all faces that may touch each pixel.

  The memory does not grow with the number of faces or pixels beyond that of arguments and result, in either
  direction: the gradient walks over the pairs once more.

  Args:
    f: `f(rows, shared, at, row, column) -> tuple of channels arrays [K, n, n]`, pure, without closure over
      traced values: `rows` are those of the faces, [K, ...]; `at` the pixels' data, [K, n, n, ...]; row
      and column as in `Chunk`. It must be finite, with finite gradients, for every pixel near its face.
    channels: how many arrays `f` returns.
    size: (height, width).
    rows: tree of [F, ...], differentiated.
    shared: tree of anything, differentiated (a texture, a light, a scalar).
    pixels: tree of [height x width, ...], not differentiated.
    boxes: where each face is evaluated.

  Returns:
    float32 [height x width, channels].
  """
  height, width = size

  def body(total, chunk):
    values = _values(f, rows, shared, pixels, chunk, size)
    flat = pixel_of(chunk, size).reshape(-1)
    updates = jnp.stack([v.reshape(-1) for v in values], axis=-1)
    return total.at[flat].add(updates, mode="drop")

  return fold_pairs(boxes, body, jnp.zeros((height * width, channels), _kind(rows)))


def _kind(rows: Any) -> Any:
  """The dtype of the sums: that of the rows."""
  return jnp.result_type(*jax.tree.leaves(rows))


def _values(f, rows, shared, pixels, chunk, size):
  height, width = size
  flat = jnp.minimum(pixel_of(chunk, size), height * width - 1)
  own = jax.tree.map(lambda x: x[chunk.face], rows)
  at = jax.tree.map(lambda x: x[flat], pixels)
  values = f(own, shared, at, chunk.row, chunk.column)
  return tuple(jnp.where(chunk.valid, v, 0.0) for v in values)


def _pair_sum_forward(f, channels, size, rows, shared, pixels, boxes):
  return pair_sum(f, channels, size, rows, shared, pixels, boxes), (rows, shared, pixels, boxes)


def _pair_sum_backward(f, channels, size, kept, cotangent):
  rows, shared, pixels, boxes = kept
  height, width = size

  def body(carry, chunk):
    d_rows, d_shared = carry
    flat = jnp.minimum(pixel_of(chunk, size), height * width - 1)
    own = jax.tree.map(lambda x: x[chunk.face], rows)
    at = jax.tree.map(lambda x: x[flat], pixels)

    def run(own, shared):
      values = f(own, shared, at, chunk.row, chunk.column)
      return tuple(jnp.where(chunk.valid, v, 0.0) for v in values)

    _, pull = jax.vjp(run, own, shared)
    upstream = cotangent[flat]
    d_own, d_more = pull(tuple(upstream[..., c] for c in range(channels)))
    d_rows = jax.tree.map(lambda total, new: total.at[chunk.face].add(new), d_rows, d_own)
    return d_rows, jax.tree.map(jnp.add, d_shared, d_more)

  d_rows, d_shared = fold_pairs(boxes, body, jax.tree.map(jnp.zeros_like, (rows, shared)))
  return d_rows, d_shared, jax.tree.map(jnp.zeros_like, pixels), None


pair_sum.defvjp(_pair_sum_forward, _pair_sum_backward)


def pair_max(
  f: Callable[..., jax.Array], size: tuple[int, int], rows: Any, shared: Any, boxes: Boxes, start: Any
) -> jax.Array:
  """Computes the largest value of `f(rows, shared, None, row, column) -> [K, n, n]` at each pixel.

  Returns:
    float32 [height x width], at least `start`; no gradient flows.
  """
  rows, shared = jax.lax.stop_gradient((rows, shared))
  height, width = size

  def body(best, chunk):
    own = jax.tree.map(lambda x: x[chunk.face], rows)
    value = jnp.where(chunk.valid, f(own, shared, None, chunk.row, chunk.column), start)
    return best.at[pixel_of(chunk, size).reshape(-1)].max(value.reshape(-1), mode="drop")

  return fold_pairs(boxes, body, jnp.full(height * width, start, _kind(rows)))
