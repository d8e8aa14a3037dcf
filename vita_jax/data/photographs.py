"""Photographs of many sizes in memory, and their split by name: 212 of gcompris-qt-data, or a folder's.

The 212 are public domain or CC0 (fish, monuments, windmills, tools, animals); they lie in
$VITA_DATA_DIR/vision/photos_pd, with the author of each in ATTRIBUTION.tsv, and do not ship.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vita_jax.data import augment
from vita_jax.data.folders import ImageFolder, twins
from vita_jax.data.sources import data_dir

FOLDER = "vision/photos_pd"


class Photographs(NamedTuple):
  """Pictures with their names.

  Attributes:
    names: of the files, relative to their folder.
    pictures: uint8 [h, w, 3] each.
    source: the folder.
  """

  names: tuple[str, ...]
  pictures: tuple[np.ndarray, ...]
  source: str

  def only(self, names: Iterable[str]) -> Photographs:
    """Returns those of these names, in the order of the names here."""
    wanted = set(names)
    kept = [i for i, name in enumerate(self.names) if name in wanted]
    return Photographs(tuple(self.names[i] for i in kept), tuple(self.pictures[i] for i in kept), self.source)


def load_photographs(folder: str | os.PathLike | None = None, *, side: int = 256) -> Photographs:
  """Loads all photographs of a folder, the shorter side of each made `side` pixels (bicubic).

  Args:
    folder: with images at any depth; None: the 212 of $VITA_DATA_DIR/vision/photos_pd (3 seconds).
    side: in pixels; smaller pictures are enlarged.

  Raises:
    FileNotFoundError: no such folder.
    ValueError: a folder without images, or one that cannot be decoded, by name.
  """
  root = data_dir()
  if folder is None and (root is None or not (root / FOLDER).is_dir()):
    raise FileNotFoundError(
      f"no photographs: there is no folder {FOLDER} under $VITA_DATA_DIR"
      f" ({os.environ.get('VITA_DATA_DIR', 'unset')}); put it there, or name a folder of your own"
    )
  files = ImageFolder(folder if folder is not None else Path(str(root)) / FOLDER)
  pictures = tuple(augment.resize(files[i]["image"], size=side, method="bicubic") for i in range(len(files)))
  return Photographs(files.paths, pictures, str(files.root))


def split_photographs(
  photographs: Photographs, *, held_out: int = 42, seed: int = 0
) -> tuple[Photographs, Photographs]:
  """Splits photographs into those that train and those that are held out, see `split_names`.

  Photographs that are there twice (`folders.twins`) go to one side together: three of the 212 are.

  Raises:
    ValueError: nothing would be left to train, or to hold out.

  Examples:
    >>> grey = [np.full((20, 30, 3), 25 * i, np.uint8) for i in (1, 2, 3, 2)]
    >>> train, test = split_photographs(Photographs(("a", "b", "c", "again b"), tuple(grey), ""), held_out=2)
    >>> train.names
    ('b', 'again b')
  """
  pictures = list(photographs.pictures)
  names = photographs.names
  same = [(names[i], names[j]) for i, j in twins(pictures, pictures) if i < j]
  train, test = split_names(names, held_out=held_out, seed=seed, together=same)
  return photographs.only(train), photographs.only(test)


def split_names(
  names: Sequence[str], *, held_out: int, seed: int = 0, together: Sequence[Sequence[str]] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
  """Splits names into training and held-out ones, by their sha256: no other name matters to their order.

  Args:
    names: e.g. of files.
    held_out: how many are held out.
    seed: gives another split.
    together: names that stay on one side.

  Returns:
    (training, held out), each in the order of `names`.

  Raises:
    ValueError: fewer than one name would be left on a side.

  Examples:
    >>> split_names(["a", "b", "c", "d"], held_out=1)
    (('a', 'b', 'd'), ('c',))
  """
  if not 0 < held_out < len(names):
    raise ValueError(f"{held_out} of {len(names)} cannot be held out: both sides need at least one")
  groups = {name: frozenset((name,)) for name in names}
  for some in together:
    group = frozenset().union(*(groups[name] for name in some))
    groups |= dict.fromkeys(group, group)
  taken: set[str] = set()
  for group in sorted(set(groups.values()), key=lambda group: _hash(min(group), seed)):
    if len(taken) + len(group) <= held_out:  # of two that do not fit any more, the next single one does
      taken |= group
  return tuple(n for n in names if n not in taken), tuple(n for n in names if n in taken)


def _hash(name: str, seed: int) -> bytes:
  return hashlib.sha256(f"{seed}/{name}".encode()).digest()
