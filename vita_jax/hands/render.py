"""Pictures of a rigged hand with everything that is known of them: joints, depth, mask, camera, identity.

Row i of a seed is always the same picture, whatever else is rendered with it: all of it is drawn from Philox
with the key (seed, i), and what belongs to an identity from one of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.choose import choose
from vita_jax.data.augment import resize
from vita_jax.data.stream import row_rng
from vita_jax.hands.modalities import FAR, SIDE
from vita_jax.hands.rig import Rig, articulate, random_angles
from vita_jax.render.camera import pinhole_camera
from vita_jax.render.maps import shrink
from vita_jax.render.raster import rasterize
from vita_jax.render.shading import Lights, shade
from vita_jax.render.skinning import rotation_of
from vita_jax.render.views import view_by_view

CROPS = ("box", "square")
FOCAL = 1.2  # of the camera, in sides of its frame
DISTANCES = (0.45, 0.6)  # metres
AZIMUTH, ELEVATION, ROLL = 40.0, 20.0, 30.0  # degrees, to both sides
MARGIN = 20.0  # pixels of a frame of 256 that the crop leaves around the joints
AMBIENT, DIFFUSE, NOISE = 0.45, 0.6, 0.02
FLAT = 0.2  # share of pictures before one colour
HOME = 0.5**0.5  # share of an identity's pictures before its own background: of two, half before the same
TONES = (
  np.array(
    [
      *((246, 224, 206), (238, 205, 178), (225, 184, 153), (207, 160, 126)),
      *((182, 134, 100), (150, 106, 76), (112, 76, 54), (76, 52, 40)),
    ]
  )
  / 255
)
TEXTURE, BLOTS = 64, 8  # texels of the skin, and of its low-frequency noise
BATCH = 64  # rows at a time
IDENTITY = 2**31 - 1  # the epoch in whose name identities are drawn: no row is


class Renderings(NamedTuple):
  """Hands, one a row; lengths in mm, the camera's axes are x right, y down, z forward.

  Attributes:
    image: uint8 [n, S, S, 3].
    mask: bool [n, S, S], whether the centre of a pixel shows the hand.
    depth: float32 [n, S, S]: z of what it shows; `FAR` beside the hand.
    uv: float32 [n, 21, 2], the joints in pixels, counted from the centre of the upper left one.
    xyz: float32 [n, 21, 3], the joints before the camera.
    intrinsics: float32 [n, 3, 3]: uv = K xyz / z.
    angles: float32 [n, 5, 4], see `rig.articulate`.
    identity: int32 [n].
    right: bool [n].
    view: float32 [n, 3]: azimuth (0: the palm, 180: the back), elevation and roll in degrees.
    background: int32 [n], which of the backgrounds; -1: one colour.
    row: int32 [n].
  """

  image: np.ndarray
  mask: np.ndarray
  depth: np.ndarray
  uv: np.ndarray
  xyz: np.ndarray
  intrinsics: np.ndarray
  angles: np.ndarray
  identity: np.ndarray
  right: np.ndarray
  view: np.ndarray
  background: np.ndarray
  row: np.ndarray

  @property
  def z(self) -> np.ndarray:
    """Depths of the joints, float32 [n, 21], mm."""
    return self.xyz[..., 2]


class Identity(NamedTuple):
  """Whose hand it is: `lengths` [5] of the fingers, and the skin's `texture` float32 [64, 64, 3]."""

  lengths: np.ndarray
  texture: np.ndarray


def render_hands(
  seed: int,
  rig: Rig,
  *,
  number: int,
  size: int,
  backgrounds: Sequence[np.ndarray] = (),
  identities: Sequence[int] = tuple(range(32)),
  first: int = 0,
  crop: str = "box",
  antialias: int = 2,
  angles: np.ndarray | None = None,
) -> Renderings:
  """Renders hands in random poses, before random photographs, in random light.

  Per row: an identity; angles (`random_angles`); the palm or the back, turned by up to 40 degrees of azimuth,
  20 of elevation and 30 in the picture; 0.45 to 0.6 m before a camera whose focal length is 1.2 of its frame;
  light from a random direction in front, 0.45 + 0.6 max(n . l, 0) of the skin; a part of a photograph behind
  it, the identity's own one in 71 % of the rows, so that two rows of an identity share it half of the time, or one colour in 20 % ;
  and 2 % of pixel noise. The picture is the box of the joints, 20 pixels of a frame of 256 wider on each
  side and cut at the frame's border, rendered straight by the camera of that box: nothing is resampled.

  Args:
    seed: 0 .. 2**32-1.
    rig: the hand.
    number: how many.
    size: S, side of the pictures.
    backgrounds: uint8 pictures [h, w, 3] of any size; (): one colour behind every hand.
    identities: drawn from; each number is one tone of 8, one of many sets of lengths, and a skin of its own.
    first: number of the first row.
    crop: "box": stretched to the square, as the paper's; "square": the longer side on both axes.
    antialias: n x n samples per pixel of the picture.
    angles: [number, 5, 4] in place of random ones.

  Raises:
    ValueError: a number or size that is not positive, no identities, or angles of another shape.
  """
  raise NotImplementedError
