"""What a run reads: hands with exact joints, sources for each target, and fixed pairs that are tested."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from vita_jax.data.curriculum import candidates
from vita_jax.data.hands import check_within
from vita_jax.data.resident import Resident
from vita_jax.hands import nearest, pose_distance, replace_background
from vita_jax.hands.sets import Sets, read_custom, read_rendered, read_rhd, read_stb
from vita_jax.papers.mm_hand.recipe import Recipe

Columns = Mapping[str, np.ndarray]
BEHIND = ("alpha", "behind")
TEST_BATCH = 32


class Inputs(NamedTuple):
  """Everything that training and testing see.

  Attributes:
    train: one hand a row: `image` uint8 [n, S, S, 3], `uv` float32 [n, 21, 2] in pixels, `z` float32 [n, 21]
      in mm, `candidates` int32 and `distances` float32 [n, K]; where depth is learned `depth` float32
      [n, S, S] in mm; of rendered hands `alpha` and `behind`, see `hands.replace_background`.
    tests: name -> pairs, one a row: `image`, `uv`, `z` of the target and `source`, `source_uv`, `source_z`;
      of rendered hands `same_background`, whether both stand before one, and `best`, the target before the
      source's background. "test" are held-out poses; "identities", where there are any, hands that were never
      trained on.
    identity: int [n], whose hand each one of `train` is.
    source: where the hands are from.
  """

  train: dict[str, np.ndarray]
  tests: dict[str, dict[str, np.ndarray]]
  identity: np.ndarray
  source: str


def read_inputs(recipe: Recipe) -> Inputs:
  """Reads hands, draws the sources of every target, and fixes the pairs that are tested.

  Raises:
    FileNotFoundError, ValueError: missing or unusable hands; an identity with a single one; hands beyond the
      far end of depth maps.

  Warns:
    RuntimeWarning: an identity has fewer hands than `config.curriculum.candidates`: all targets get as few.
  """
  train, tests, source = read_sets(recipe.data)
  for hands in (train, *tests.values()):
    remedy = "raise config.depth.far, to 5000 at most"
    check_within(hands["xyz"][..., 2], recipe.far, name=source, remedy=remedy)
  keys = recipe.curriculum
  distance = partial(pose_distance, chain=keys.chain)
  groups = train["identity"]
  most = int(np.unique(groups, return_counts=True)[1].min()) - 1
  if most < 1:
    raise ValueError(f"{source}: an identity has a single training picture, so no other one is its source")
  count = min(keys.candidates, most)
  if count < keys.candidates:
    warnings.warn(
      f"config.curriculum.candidates is {keys.candidates}, and an identity of {source} has {most + 1} hands:"
      f" every target gets {count} sources",
      RuntimeWarning,
      stacklevel=2,
    )
  rng = np.random.default_rng(0)  # of the data, not of a run: replicas share them
  table = candidates(rng, train["xyz"], count, distance=distance, groups=groups)
  kept = {"image": train["image"], "uv": train["uv"], "z": _z(train)}
  kept |= {"candidates": table.index, "distances": table.distance}
  kept |= {name: train[name] for name in BEHIND if name in train}
  if recipe.learns_depth:
    if "depth" not in train:
      raise ValueError(f"{source} has no depth maps, which config.depth.source=learned learns from")
    # 0 is where a sensor saw nothing.
    kept["depth"] = np.where(train["depth"] > 0, train["depth"], recipe.depth.far).astype(np.float32)
  pairs = {name: test_pairs(recipe, hands, train) for name, hands in tests.items()}
  return Inputs(kept, pairs, groups, source)


def read_sets(data: Any) -> Sets:
  """Reads the hands that keys `data.*` say.

  Raises:
    FileNotFoundError, ValueError: missing or unusable files.
  """
  if data.name == "custom":
    return read_custom(data.folder, data.size)
  if data.name == "stb":
    return read_stb(data.folder, data.size, data.test_videos)
  if data.folder:
    return read_rhd(data.folder, data.size, crop=data.name == "rhd")
  return read_rendered(
    rig=data.rig,
    crop=data.crop,
    bend=data.bend,
    size=data.size,
    train=data.number[0],
    test=data.number[1],
    strangers=data.strangers,
    identities=data.identities,
    unseen=data.unseen,
    held_out=data.held_photographs,
    seed=data.seed,
    photographs=data.photographs,
  )


def test_pairs(recipe: Recipe, hands: Columns, train: Columns) -> dict[str, np.ndarray]:
  """Gives each test hand a source of its identity: another test hand by chance, or the nearest in training.

  An identity without training hands gets the nearest of its other test hands. Of rendered hands a share of
  sources, `config.data.one_background`, stand before their targets' backgrounds.

  Raises:
    ValueError: an identity with a single hand.
  """
  found: dict[str, np.ndarray] = {"image": hands["image"], "uv": hands["uv"], "z": _z(hands)}
  places, known = _sources(recipe, hands, train)
  names = ("image", "uv", "xyz", *(name for name in BEHIND if name in hands))
  pick = {name: np.stack([known[of][name][i] for of, i in places]) for name in names}
  if "behind" in pick:
    same = np.random.default_rng(2).random(len(places)) < recipe.data.one_background
    before = replace_background(pick["image"], pick["alpha"], pick["behind"], hands["behind"])
    pick["image"] = np.where(same[:, None, None, None], before, pick["image"])
    guess = replace_background(hands["image"], hands["alpha"], hands["behind"], pick["behind"])
    best = np.where(same[:, None, None, None], hands["image"], guess)
    found |= {"same_background": same, "best": best}
  return found | {"source": pick["image"], "source_uv": pick["uv"], "source_z": pick["xyz"][..., 2]}


def _sources(
  recipe: Recipe, hands: Columns, train: Columns
) -> tuple[list[tuple[str, int]], dict[str, Columns]]:
  """For each test hand ("test" or "train", row), and the columns of both."""
  known, places = {"test": hands, "train": train}, []
  rng, chain = np.random.default_rng(1), recipe.curriculum.chain
  for row, identity in enumerate(hands["identity"]):
    others = np.flatnonzero((hands["identity"] == identity) & (np.arange(len(hands["identity"])) != row))
    trained = np.flatnonzero(train["identity"] == identity)
    if recipe.report.source == "random":
      if not len(others):
        raise ValueError(f"identity {identity} has one test picture, so no other one is its source")
      places.append(("test", int(rng.choice(others))))
      continue
    of, rows = ("train", trained) if len(trained) else ("test", others)
    if not len(rows):
      raise ValueError(f"identity {identity} has one test picture, so no other one is its source")
    _, first = nearest(known[of]["xyz"][rows], hands["xyz"][row : row + 1], 1, chain=chain)
    places.append((of, int(rows[int(first[0, 0])])))
  return places, known


def _z(hands: Columns) -> np.ndarray:
  return hands["xyz"][..., 2].astype(np.float32)


def batches(inputs: Inputs, size: int) -> tuple[Resident, dict[str, Resident]]:
  """Returns the batches of target rows, and all hands, which come whole with every batch.

  Raises:
    ValueError: fewer hands than a batch has.
  """
  n = len(inputs.train["image"])
  if size > n:
    raise ValueError(f"config.train.batch is {size} and {n} hands train: lower it")
  rows = Resident({"row": np.arange(n, dtype=np.int32)}, size, remainder="drop")
  return rows, {"hands": Resident(inputs.train)}


def tested(pairs: dict[str, np.ndarray]) -> Resident:
  """Returns test pairs in order, in batches of at most 32."""
  return Resident(pairs, min(TEST_BATCH, len(pairs["image"])), order="rows")


def to_floats(pictures: Any) -> Any:
  """Converts uint8 to float32 in [-1, 1]."""
  return pictures.astype(np.float32) / 127.5 - 1.0


def to_bytes(pictures: np.ndarray) -> np.ndarray:
  """Converts [-1, 1] to uint8, rounded."""
  return np.round((np.clip(np.asarray(pictures, np.float32), -1, 1) + 1) * 127.5).astype(np.uint8)
