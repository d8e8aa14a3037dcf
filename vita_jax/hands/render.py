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
from vita_jax.render.camera import Camera, pinhole_camera
from vita_jax.render.mesh import Mesh
from vita_jax.render.raster import fragments, visibility
from vita_jax.render.shading import Lights, shade
from vita_jax.render.skinning import rest_transforms
from vita_jax.render.views import view_by_view

CROPS = ("box", "square")
FOCAL = 1.2  # of the camera, in sides of its frame
DISTANCES = (0.45, 0.6)  # metres
AZIMUTH, ELEVATION, ROLL = 40.0, 20.0, 30.0  # degrees, to both sides
MARGIN = 20.0  # pixels of a frame of 256 that the crop leaves around the joints
AMBIENT, DIFFUSE, NOISE = 0.45, 0.6, 0.02
FLAT = 0.2  # share of pictures before one colour
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
FEW, BATCH = 16, 64  # rows at a time: two programs serve every number
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
    alpha: uint8 [n, S, S], which share of a pixel shows the hand, of 255.
    behind: uint8 [n, S, S, 3], the picture that is behind it, without noise; see `replace_background`.
    background: int32 [n], which of the backgrounds it is a part of; -1: one colour.
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
  alpha: np.ndarray
  behind: np.ndarray
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


class Drawn(NamedTuple):
  """What the device needs of one row: lengths in metres, the camera's axes.

  Attributes:
    angles, lengths: see `rig.articulate`.
    turn: float32 [3, 3], from the hand to the camera.
    distance: of the middle of the joints.
    light: float32 [3], towards it.
    texture: float32 [64, 64, 3].
    behind: uint8 [S, S, 3], the background.
    noise: float32 [S, S, 3], standard normal.
  """

  angles: Any
  lengths: Any
  turn: Any
  distance: Any
  light: Any
  texture: Any
  behind: Any
  noise: Any


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
  antialias: int = 3,
  bend: float = 1.0,
  angles: np.ndarray | None = None,
) -> Renderings:
  """Renders hands in random poses, before random photographs, in random light.

  Each row draws an identity and angles (`random_angles`); the palm or the back, turned by up to 40 degrees of
  azimuth, 20 of elevation and 30 in the picture, 0.45 to 0.6 m before a camera whose focal length is 1.2 of
  its frame; light from a direction in front of the hand, the skin shows 0.45 + 0.6 max(n . l, 0) of its
  colour; a part of a photograph behind it or, in 20 % of the rows, one colour; and 2 % of pixel noise. The
  picture is the
  box of the joints, wider by 20 pixels of a frame of 256 on each side and cut at the frame, rendered straight
  by the camera of that box: nothing is resampled.

  Args:
    seed: 0 .. 2**32-1.
    rig: the hand.
    number: how many.
    size: S, side of the pictures.
    backgrounds: uint8 pictures [h, w, 3] of any size; (): one colour behind every hand.
    identities: drawn from; each number is one tone of 8, one set of lengths, and a skin of its own.
    first: number of the first row.
    crop: "box": the box stretched to the square, as the paper has it; "square": its longer side on both axes.
    antialias: n x n samples per pixel say how much of it is hand; n is odd, and mask and depth are of the
      middle one.
    bend: share of the limits to which fingers bend: closed fists hide most of their joints.
    angles: [number, 5, 4] in place of random ones.

  Raises:
    ValueError: a number or size that is not positive, no identities, or angles of another shape.
  """
  choose("crop", crop, CROPS)
  if number < 1 or size < 8:
    raise ValueError(f"{number} pictures of {size} pixels: give at least one, of at least 8 pixels")
  if antialias not in (1, 3, 5, 7):
    raise ValueError(
      f"antialias is {antialias}: give 1, 3, 5 or 7, so that a sample lies at a pixel's centre"
    )
  if not len(identities):
    raise ValueError("there are no identities: give at least one number")
  if angles is not None and np.shape(angles) != (number, 5, 4):
    raise ValueError(f"angles are [{number}, 5, 4], these are {list(np.shape(angles))}")
  frame, batch = hand_frame(rig), FEW if number <= FEW else BATCH
  parts: list[Renderings] = []
  for start in range(0, number, batch):
    rows = range(start, min(start + batch, number))
    facts, drawn = zip(
      *(
        _draw(
          seed, first + i, frame, size, backgrounds, identities, bend, None if angles is None else angles[i]
        )
        for i in rows
      ),
      strict=True,
    )
    parts.append(_render(rig, facts, drawn, size, crop, antialias, batch))
  return Renderings(*(np.concatenate(xs) for xs in zip(*parts, strict=True)))


def replace_background(image: Any, alpha: Any, behind: Any, other: Any) -> jax.Array:
  """Puts hands before other backgrounds: image + (1 - alpha / 255) (other - behind).

  Args:
    image: uint8 [..., S, S, 3], as in `Renderings`.
    alpha: uint8 [..., S, S], as well.
    behind: uint8 [..., S, S, 3], as well.
    other: uint8 [..., S, S, 3], what shall be behind them.

  Returns:
    uint8 [..., S, S, 3]: what a rendering before `other` shows, up to rounding and noise cut at 0 or 255.

  Examples:
    >>> hand, wall, sky = (np.full((1, 1, 3), value, np.uint8) for value in (80, 200, 100))
    >>> int(replace_background(hand, np.full((1, 1), 127, np.uint8), wall, sky)[0, 0, 0])
    30
  """
  shown = 1 - jnp.asarray(alpha, jnp.float32)[..., None] / 255
  moved = jnp.asarray(image, jnp.float32) + shown * (jnp.asarray(other, jnp.float32) - jnp.asarray(behind))
  return jnp.round(jnp.clip(moved, 0, 255)).astype(jnp.uint8)


@functools.lru_cache(maxsize=256)
def identity_of(number: int) -> Identity:
  """Returns what belongs to an identity, the same for every seed.

  Tone number % 8; the length of each finger, U(0.9, 1.1), of number // 8; and blots of the skin, bilinear
  between 8 x 8 places, of its own.
  """
  lengths = row_rng(0, IDENTITY, number // len(TONES)).uniform(0.9, 1.1, 5)
  rng = row_rng(1, IDENTITY, number)
  blots = rng.normal(0, 1, (BLOTS, BLOTS, 1)) * 0.1 + rng.normal(0, 1, (BLOTS, BLOTS, 3)) * 0.03
  factor = 1 + resize(blots.astype(np.float32), size=(TEXTURE, TEXTURE), method="bilinear")
  texture = np.clip(TONES[number % len(TONES)] * factor, 0, 1)
  return Identity(lengths.astype(np.float32), texture.astype(np.float32))


def hand_frame(rig: Rig) -> np.ndarray:
  """Returns the rotation [3, 3] that shows the palm, fingers up, to a camera (x right, y down, z forward)."""
  joints = rest_transforms(rig.mesh).astype(np.float64)[rig.std21]
  up = joints[9, :3, 3] - joints[0, :3, 3]
  up /= np.linalg.norm(up)
  back = joints[9, :3, 1] - up * (joints[9, :3, 1] @ up)
  back /= np.linalg.norm(back)
  return np.stack([np.cross(-up, back), -up, back])


def _draw(
  seed: int,
  row: int,
  frame: np.ndarray,
  size: int,
  backgrounds: Sequence[np.ndarray],
  identities: Sequence[int],
  bend: float,
  angles: np.ndarray | None,
) -> tuple[dict[str, Any], Drawn]:
  """(what is reported, what is rendered) of a row; everything is drawn, in one order, whatever is given."""
  rng = row_rng(seed, 0, row)
  number = int(identities[int(rng.integers(len(identities)))])
  own = random_angles(rng) * np.array([bend, bend, bend, 1], np.float32)
  angles = own if angles is None else np.asarray(angles, np.float32)
  view = rng.uniform(-1, 1, 3) * [AZIMUTH, ELEVATION, ROLL] + [180.0 * rng.integers(2), 0, 0]
  distance = rng.uniform(*DISTANCES)
  light = rng.normal(0, 1, 3)
  light[2] = -abs(light[2])
  which, behind = _background(rng, backgrounds, size)
  noise = rng.standard_normal((size, size, 3), np.float32)
  turn = np.asarray(turned(view) @ frame, np.float32)
  who = identity_of(number)
  facts = {"angles": angles, "identity": number, "view": view, "background": which, "row": row}
  drawn = Drawn(
    angles, who.lengths, turn, np.float32(distance), light.astype(np.float32), who.texture, behind, noise
  )
  return facts, drawn


def turned(view: np.ndarray) -> np.ndarray:
  """Returns the rotation [3, 3] of a view (azimuth, elevation, roll in degrees): about y, then x, then z."""
  a, e, r = np.deg2rad(view)
  about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
  about_x = np.array([[1, 0, 0], [0, np.cos(e), -np.sin(e)], [0, np.sin(e), np.cos(e)]])
  about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
  return about_z @ about_x @ about_y


def _background(
  rng: np.random.Generator, backgrounds: Sequence[np.ndarray], size: int
) -> tuple[int, np.ndarray]:
  colour, flat = rng.integers(0, 256, 3), rng.random() < FLAT
  if flat or not len(backgrounds):
    return -1, np.broadcast_to(colour.astype(np.uint8), (size, size, 3))
  which = int(rng.integers(len(backgrounds)))
  picture = backgrounds[which]
  side = int(np.ceil(min(picture.shape[:2]) * rng.uniform(0.4, 1)))
  top, left = (int(rng.integers(n - side + 1)) for n in picture.shape[:2])
  return which, resize(picture[top : top + side, left : left + side], size=(size, size), method="bilinear")


def _render(
  rig: Rig,
  facts: Sequence[dict[str, Any]],
  drawn: Sequence[Drawn],
  size: int,
  crop: str,
  antialias: int,
  batch: int,
) -> Renderings:
  """The rows of a batch, padded to its size so that one program serves all."""
  count = len(drawn)
  padded = [*drawn, *[drawn[0]] * (batch - count)]
  stacked = Drawn(*(np.stack(xs) for xs in zip(*padded, strict=True)))
  program = _program(tuple(rig.parents.tolist()), tuple(rig.std21.tolist()), rig.right, size, crop, antialias)
  surface = rig.mesh._replace(parents=None)
  found = {name: np.asarray(x)[:count] for name, x in program(surface, rig.rest, stacked).items()}
  kinds = {
    "angles": np.float32,
    "identity": np.int32,
    "view": np.float32,
    "background": np.int32,
    "row": np.int32,
  }
  told = {key: np.array([one[key] for one in facts], kind) for key, kind in kinds.items()}
  return Renderings(**found, behind=stacked.behind[:count], right=np.full(count, rig.right), **told)


@functools.lru_cache(maxsize=16)
def _program(
  parents: tuple[int, ...], std21: tuple[int, ...], right: bool, size: int, crop: str, antialias: int
) -> Any:
  one = functools.partial(_one, np.array(parents), np.array(std21), right, size, crop, antialias)
  return jax.jit(jax.vmap(view_by_view(one), (None, None, 0)))


def _one(
  parents: np.ndarray,
  std21: np.ndarray,
  right: bool,
  size: int,
  crop: str,
  antialias: int,
  mesh: Mesh,
  rest: Any,
  row: Drawn,
) -> dict[str, jax.Array]:
  """What `Renderings` says of a row, as far as it is seen."""
  rig = Rig("", mesh, rest, parents, std21, right)
  vertices, joints = articulate(rig, row.angles, lengths=row.lengths)
  middle = (jnp.min(joints, axis=0) + jnp.max(joints, axis=0)) / 2
  ahead = jnp.array([0.0, 0.0, 1.0]) * row.distance
  vertices, joints = ((x - middle) @ row.turn.T + ahead for x in (vertices, joints))
  intrinsics = crop_intrinsics(joints, size, crop)
  moved = Mesh(vertices, mesh.faces, uv=mesh.uv, face_uv=mesh.face_uv, texture=row.texture)
  face, mask, alpha = _sampled(moved, intrinsics, size, antialias)
  camera = _camera(intrinsics, size)
  seen = fragments(moved, camera, face[..., None])
  within = jnp.clip(seen.barycentric, 0.0, 1.0)  # a face beside the centre is shaded at its rim
  within /= jnp.maximum(jnp.sum(within, axis=-1, keepdims=True), 1e-6)
  seen = seen._replace(barycentric=within)
  lit = shade(seen, moved, camera, lights=Lights(AMBIENT, DIFFUSE, row.light), shading="gouraud")
  color = lit.color * alpha + (1 - alpha) * (row.behind / 255.0)
  image = jnp.round(255 * jnp.clip(color + NOISE * row.noise, 0, 1)).astype(jnp.uint8)
  depth = jnp.where(mask, 1000 * seen.depth[..., 0], FAR)
  uv = joints @ intrinsics.T
  return {
    "image": image,
    "mask": mask,
    "depth": depth,
    "uv": uv[:, :2] / uv[:, 2:],
    "xyz": 1000 * joints,
    "intrinsics": intrinsics,
    "alpha": jnp.round(255 * alpha[..., 0]).astype(jnp.uint8),
  }


def _sampled(mesh: Mesh, intrinsics: jax.Array, size: int, n: int) -> tuple[jax.Array, jax.Array, jax.Array]:
  """What n x n samples of each pixel see: (face int32 [S, S], mask bool [S, S], alpha [S, S, 1]).

  The face is that of the sample at the pixel's centre or, where it sees none, the first that does; the mask
  is of the centre, alpha the share that sees one. So each pixel is shaded once.
  """
  camera = _camera(fine_intrinsics(intrinsics, n), n * size)
  found = visibility(mesh, camera, (n * size, n * size), cull="back")[..., 0]  # the mesh is closed
  samples = found.reshape(size, n, size, n).transpose(0, 2, 1, 3).reshape(size, size, n * n)
  centre = samples[..., n * n // 2]
  first = jnp.argmax(samples >= 0, axis=-1)[..., None]
  face = jnp.where(centre >= 0, centre, jnp.take_along_axis(samples, first, axis=-1)[..., 0])
  return face, centre >= 0, jnp.mean(samples >= 0, axis=-1, keepdims=True)


def _camera(intrinsics: jax.Array, size: int) -> Camera:
  return pinhole_camera(intrinsics, jnp.eye(3), jnp.zeros(3), size=(size, size), near=0.05, far=5.0)


def crop_intrinsics(joints: jax.Array, size: int, crop: str) -> jax.Array:
  """Returns the camera [3, 3] of the crop around joints [21, 3] in metres; pixel (0, 0) has its centre at 0.

  In a frame of 256 pixels with the focal length 1.2 * 256 the box of the joints is `MARGIN` wider on each
  side and cut at the frame.
  """
  focal = FOCAL * SIDE
  places = focal * joints[:, :2] / joints[:, 2:] + SIDE / 2  # from the frame's corner
  low, high = jnp.min(places, axis=0) - MARGIN, jnp.max(places, axis=0) + MARGIN
  if crop == "square":
    half = jnp.max(high - low) / 2
    low, high = (low + high) / 2 - half, (low + high) / 2 + half
  else:
    low, high = jnp.maximum(low, 0.0), jnp.minimum(high, float(SIDE))
  scale = size / (high - low)
  centre = (SIDE / 2 - low) * scale - 0.5
  zero, one = jnp.zeros(()), jnp.ones(())
  rows = [[focal * scale[0], zero, centre[0]], [zero, focal * scale[1], centre[1]], [zero, zero, one]]
  return jnp.stack([jnp.stack(row) for row in rows])


def fine_intrinsics(intrinsics: jax.Array, factor: int) -> jax.Array:
  """Returns the camera of a picture with `factor` times as many pixels on each side."""
  shift = jnp.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
  return jnp.array([[factor], [factor], [1.0]]) * (intrinsics + shift) - shift
