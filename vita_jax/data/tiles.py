"""Pictures of any size through a function of images: whole, or in overlapping tiles that are blended."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

LEAST = 16  # pixels of a side that a function gets at least: networks reflect a few at every border


def through_tiles(
  function: Callable[[np.ndarray], np.ndarray],
  picture: np.ndarray,
  *,
  tile: int = 512,
  overlap: int = 128,
  margin: int | None = None,
  multiple: int = 4,
  largest: int = 0,
) -> np.ndarray:
  """Runs a function of images over a picture, and joins what it returns for tiles of it.

  A picture of at most `largest` pixels, or of one tile, goes through in one piece. Else it is cut into tiles
  of one shape; each side is split evenly, and neighbours share at least `overlap` pixels. Within them the
  outer `margin` of each tile is dropped, and in between the weight goes over from one tile to the other in a
  straight line. So a place far enough from every seam is exactly what the function returned, and that is the
  whole picture's value if the function sees no further than its distance to the borders of its tile. With a
  margin of that reach the whole result is the whole picture's, up to rounding.

  An instance norm sees everything: a tile has its own mean and variance, so that tones differ from tile to
  tile and from the whole picture. Only one piece (`largest`) gives what the network computes.

  Args:
    function: [1, h, w, c] -> [1, h, w, c'], h and w multiples of `multiple`; called with one shape only, so
      that a compiled function is compiled once for a picture.
    picture: [height, width, c]. To a multiple of `multiple`, and to 16 pixels at least, it is continued by
      its mirror image at the bottom and on the right, which is cut off again.
    tile: side of a tile in pixels, a multiple of `multiple`.
    overlap: of neighbours, in pixels; less than `tile`.
    margin: pixels at the inner borders of a tile that are dropped, less than half of `overlap`; None: a
      quarter of it.
    multiple: what sides must be multiples of, e.g. 2^(times the network halves).
    largest: pixels that may go through at once.

  Returns:
    [height, width, c'], of the dtype that the function returns.

  Raises:
    ValueError: sizes that do not fit together, a picture that is not [height, width, c], or a function that
      changes the size.

  Examples:
    >>> picture = np.random.default_rng(0).random((50, 90, 3))
    >>> bool(np.allclose(through_tiles(np.tanh, picture, tile=32, overlap=8), np.tanh(picture)))
    True
  """
  margin = overlap // 4 if margin is None else margin
  _check(picture, tile=tile, overlap=overlap, margin=margin, multiple=multiple)
  height, width = picture.shape[:2]
  padded = continued(picture, multiple)
  sides = padded.shape[:2]
  if sides[0] * sides[1] <= largest:
    corners: list[list[int]] = [[0], [0]]
  else:
    corners = [_starts(side, tile=tile, overlap=overlap, multiple=multiple) for side in sides]
  shape = tuple(side if len(starts) == 1 else tile for side, starts in zip(sides, corners, strict=True))
  if len(corners[0]) == len(corners[1]) == 1:
    return _called(function, padded)[:height, :width]
  total, weight = None, np.zeros((*sides, 1), np.float32)
  for top, left in itertools.product(*corners):
    place = (slice(top, top + shape[0]), slice(left, left + shape[1]))
    found = _called(function, padded[place])
    ramps = [
      _ramp(start, size, side, overlap=overlap, margin=margin)
      for start, size, side in zip((top, left), shape, sides, strict=True)
    ]
    share = (ramps[0][:, None] * ramps[1])[..., None]
    if total is None:
      total, kind = np.zeros((*sides, found.shape[-1]), np.float32), found.dtype
    total[place] += share * found
    weight[place] += share
  assert total is not None  # there is a tile
  return (total / weight)[:height, :width].astype(kind)


def _check(picture: np.ndarray, *, tile: int, overlap: int, margin: int, multiple: int) -> None:
  if picture.ndim != 3 or 0 in picture.shape:
    raise ValueError(f"the picture is {picture.shape}: it must be [height, width, channels], none of them 0")
  if multiple < 1 or tile < max(LEAST, multiple) or tile % multiple:
    raise ValueError(f"tile is {tile}: it must be a multiple of {multiple}, and at least {LEAST}")
  if not 0 <= overlap <= tile - multiple:
    raise ValueError(f"overlap is {overlap}: it must be from 0 to {tile - multiple}, for tiles of {tile}")
  if margin < 0 or (margin and 2 * margin >= overlap):
    raise ValueError(f"margin is {margin}: it must be from 0 on, less than half of the overlap {overlap}")


def continued(picture: np.ndarray, multiple: int = 4) -> np.ndarray:
  """Continues a picture [h, w, c] by its mirror image at the bottom and on the right.

  Sides become multiples of `multiple`, 16 pixels at least. A single line is continued by itself.

  Examples:
    >>> continued(np.zeros((5, 21, 3))).shape
    (16, 24, 3)
  """
  least = -(-LEAST // multiple) * multiple
  more = [max(least, -(-side // multiple) * multiple) - side for side in picture.shape[:2]]
  return np.pad(picture, ((0, more[0]), (0, more[1]), (0, 0)), mode="reflect") if any(more) else picture


def _starts(side: int, *, tile: int, overlap: int, multiple: int) -> list[int]:
  """Where the tiles of an axis begin: the fewest that share `overlap`, evenly, at multiples."""
  if side <= tile:
    return [0]
  step = (tile - overlap) // multiple * multiple
  count = -(-(side - tile) // step) + 1
  return [round(i * (side - tile) / (count - 1) / multiple) * multiple for i in range(count)]


def _ramp(start: int, size: int, side: int, *, overlap: int, margin: int) -> np.ndarray:
  """Weights float32 [size] of a tile on an axis: 1, and at its inner ends from 0 up in a straight line."""
  places = np.arange(size, dtype=np.float32) + 0.5
  length = max(overlap - 2 * margin, 1)
  ramp = np.ones(size, np.float32)
  if start > 0:
    ramp = np.minimum(ramp, (places - margin) / length)
  if start + size < side:
    ramp = np.minimum(ramp, (size - places - margin) / length)
  return np.clip(ramp, 0.0, 1.0)


def _called(function: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> np.ndarray:
  found = np.asarray(function(image[None]))
  if found.ndim != 4 or found.shape[:3] != (1, *image.shape[:2]):
    shapes: Sequence[tuple[int, ...]] = ((1, *image.shape), found.shape)
    raise ValueError(f"the function turned an image {shapes[0]} into {shapes[1]}: it must keep the size")
  return found[0]
