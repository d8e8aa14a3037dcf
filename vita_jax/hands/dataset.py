"""A rendered set of hands with a split that holds: no pose, identity or photograph of a test in training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vita_jax.data.hands_files import write_rhd
from vita_jax.data.photographs import load_photographs, split_photographs
from vita_jax.hands.render import TONES, Renderings, render_hands
from vita_jax.hands.rig import Rig, load_rig

FIRST_TEST, FIRST_STRANGERS = 1 << 20, 1 << 21  # numbers of their rows: those of training come before
LENGTHS = 4  # sets of lengths of the fingers that identities have in turn


class RenderedHands(NamedTuple):
  """Three sets of renderings.

  Attributes:
    train: to learn from.
    test: new poses of the identities of `train`, before photographs that are not in `train`.
    strangers: new poses of identities that are not in `train`, before the photographs of `test`.
  """

  train: Renderings
  test: Renderings
  strangers: Renderings


def rendered_hands(
  *,
  size: int = 64,
  train: int = 2000,
  test: int = 400,
  strangers: int = 100,
  identities: int = 8,
  unseen: int = 2,
  photographs: Any = None,
  held_out: int = 60,
  seed: int = 0,
  rig: Rig | None = None,
  crop: str = "box",
  antialias: int = 3,
  bend: float = 1.0,
) -> RenderedHands:
  """Renders training and test pictures of hands.

  Row i of a set is the same picture whatever the number of rows is.

  Args:
    size: side in pixels.
    train: how many rows.
    test: as well.
    strangers: as well.
    identities: how many train.
    unseen: how many more there are in `strangers`.
    photographs: `data.Photographs` for the backgrounds; None: those of `data.load_photographs`.
    held_out: how many photographs are in the tests alone; with 0 photographs: colours.
    seed: of all that is drawn.
    rig: None: the left one of `load_rig`.
    crop: see `render_hands`.
    antialias: as well.
    bend: as well.

  Raises:
    ValueError: see `render_hands` and `data.split_photographs`.
    FileNotFoundError: no rig or no photographs.
  """
  rig = load_rig("left") if rig is None else rig
  found = load_photographs(side=128) if photographs is None else photographs
  known, new = split_photographs(found, held_out=held_out, seed=seed) if len(found.names) else (found, found)
  every = people(identities + unseen)
  options: dict[str, Any] = {"size": size, "crop": crop, "antialias": antialias, "bend": bend}
  return RenderedHands(
    render_hands(
      seed, rig, number=train, backgrounds=known.pictures, identities=every[:identities], **options
    ),
    render_hands(
      seed,
      rig,
      number=test,
      backgrounds=new.pictures,
      identities=every[:identities],
      first=FIRST_TEST,
      **options,
    ),
    render_hands(
      seed,
      rig,
      number=strangers,
      backgrounds=new.pictures,
      identities=every[identities:],
      first=FIRST_STRANGERS,
      **options,
    ),
  )


def people(count: int) -> tuple[int, ...]:
  """Chooses `count` identities of `identity_of`, no two alike: tones in turn, and lengths of fingers in turn.

  The first 32 are all pairs of 8 tones and 4 sets of lengths. (The plain numbers 0, 1, ... have one set of
  lengths for each 8.)

  Examples:
    >>> people(10)
    (0, 9, 18, 27, 4, 13, 22, 31, 8, 17)
  """
  found = []
  for k in range(count):
    turn, tone = divmod(k, len(TONES))
    lengths = (tone + turn) % LENGTHS + LENGTHS * (turn // LENGTHS)
    found.append(tone + len(TONES) * lengths)
  return tuple(found)


class RenderingRows:
  """Renderings as rows of `vita_jax.data.hands`, for a `Stream` or `write_rhd`."""

  def __init__(self, found: Renderings):
    self.found = found

  def __len__(self) -> int:
    return len(self.found.row)

  def __getitem__(self, i: int) -> dict[str, np.ndarray]:
    """Row i."""
    return {name: x[i] for name, x in self.found._asdict().items()}


def write_rendered(root: str | os.PathLike, found: RenderedHands) -> Path:
  """Writes `train` as RHD's training/ and `test` as its evaluation/, `strangers` in a folder of that name.

  The labels also have angles, identity, view, background and row.

  Returns:
    The folder.
  """
  root = Path(root).expanduser()
  places: Sequence[tuple[Path, str, Renderings]] = (
    (root, "training", found.train),
    (root, "evaluation", found.test),
    (root / "strangers", "evaluation", found.strangers),
  )
  for folder, part, rows in places:
    more = {name: getattr(rows, name) for name in ("angles", "identity", "view", "background", "row")}
    write_rhd(folder, RenderingRows(rows), part=part, more=more)
  return root
