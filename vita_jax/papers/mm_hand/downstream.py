"""What generated hands are worth: a small estimator trained on few real pictures and many of one kind.

Each set has the same `real` pictures and `more` further ones: nothing, classical changes of the real ones,
pictures that a generator draws in new poses of the training split, or true renderings of those same poses,
the honest ceiling of all of them. Poses, identities and photographs of the test are in none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vita_jax.hands.estimator import train_keypoint_net
from vita_jax.hands.judges import pose_numbers
from vita_jax.papers.mm_hand.data import Inputs, to_bytes
from vita_jax.report.summary import paired_interval
from vita_jax.train.experiment import Exported
from vita_jax.train.program_file import run_program

NOTHING, CLASSICAL, RENDERINGS = "nothing", "classical augmentation", "more renderings"
Draw = Callable[[dict[str, np.ndarray]], np.ndarray]  # inputs of the exported program -> uint8 pictures


class Rows(NamedTuple):
  """Training hands: `real` [r], `targets` [m] of which only poses are taken, `sources` [m], real ones."""

  real: np.ndarray
  targets: np.ndarray
  sources: np.ndarray


def split_rows(identity: np.ndarray, *, real: int, more: int, seed: int) -> Rows:
  """Draws which training hands are real pictures, and for each target a real one of its identity.

  Raises:
    ValueError: too few hands, or an identity without a real picture.
  """
  if real + more > len(identity):
    raise ValueError(f"{real} real hands and {more} more are asked for, and {len(identity)} train")
  rng = np.random.default_rng(seed)
  order = rng.permutation(len(identity))
  kept = order[:real]
  targets = order[real : real + more]
  sources = np.empty(more, np.int64)
  for i, row in enumerate(targets):
    own = kept[identity[kept] == identity[row]]
    if not len(own):
      raise ValueError(f"identity {identity[row]} has no picture among {real} real ones: give more")
    sources[i] = rng.choice(own)
  return Rows(kept, targets, sources)


def drawn_by(exported: Exported) -> Draw:
  """Returns what draws hands by an exported generator."""

  def draw(inputs: dict[str, np.ndarray]) -> np.ndarray:
    return to_bytes(run_program(exported, inputs)["drawn"])

  return draw


def drawn_hands(inputs: Inputs, rows: Rows, draw: Draw) -> np.ndarray:
  """Draws the sources in the poses of the targets: uint8 [m, S, S, 3]."""
  train = inputs.train
  given = {"picture": train["image"][rows.sources], "uv": train["uv"][rows.targets]}
  given |= {"z": train["z"][rows.targets], "source_uv": train["uv"][rows.sources]}
  return draw(given | {"source_z": train["z"][rows.sources]})


def drawn_pairs(pairs: Mapping[str, np.ndarray], draw: Draw) -> np.ndarray:
  """Draws the sources of test pairs (see `data.Inputs`) in their targets' poses: uint8 [n, S, S, 3]."""
  given = {name: pairs[name] for name in ("source_uv", "source_z", "uv", "z")}
  return draw({"picture": pairs["source"], **given})


def compare(
  inputs: Inputs,
  arms: Mapping[str, Sequence[Draw]],
  *,
  real: int,
  more: int,
  steps: int,
  seeds: int = 0,
  say: Callable[[str], None] = print,
) -> dict[str, list[dict[str, float]]]:
  """Trains the estimator on every set, seed by seed, all with equal steps; tests it on held-out hands.

  Args:
    inputs: of the runs.
    arms: label -> what draws, one for each seed that was trained.
    real: pictures that every set has.
    more: further ones.
    steps: of the estimator.
    seeds: how many estimators to train on each set, on other hands each, the generators in turn: with fewer
      generators than seeds the spread is that of hands and estimators. 0: as many as there are generators.
    say: gets a line for each result.

  Returns:
    label -> for each seed `pose_error`, `pose_error_p95` and `pck_auc` of the test.

  Raises:
    ValueError: arms of unlike numbers of seeds; see `split_rows`.
  """
  trained = {len(draws) for draws in arms.values()} or {3}
  if len(trained) > 1:
    raise ValueError(f"the arms have {sorted(trained)} seeds: give runs of equally many")
  train, test = inputs.train, inputs.tests["test"]
  found: dict[str, list[dict[str, float]]] = {}
  for seed in range(seeds or trained.pop()):
    rows = split_rows(inputs.identity, real=real, more=more, seed=seed)
    pictures = {NOTHING: None, CLASSICAL: None, RENDERINGS: train["image"][rows.targets]}
    pictures |= {label: drawn_hands(inputs, rows, draws[seed % len(draws)]) for label, draws in arms.items()}
    for label, added in pictures.items():
      chosen = rows.real if added is None else np.concatenate([rows.real, rows.targets])
      images = train["image"][rows.real]
      images = images if added is None else np.concatenate([images, added])
      judge = train_keypoint_net(
        images,
        train["uv"][chosen],
        steps=steps,
        seed=seed,
        augmentation="classical" if label == CLASSICAL else "none",
      )
      numbers, _ = pose_numbers(judge, test["image"], test["uv"])
      found.setdefault(label, []).append(numbers)
      say(f"seed {seed}, {label}: pose error {numbers['pose_error']:.2f}, PCK area {numbers['pck_auc']:.4f}")
  return found


def table(found: Mapping[str, Sequence[Mapping[str, float]]], *, metric: str = "pck_auc") -> str:
  """Returns a Markdown table: the mean of each set, and differences paired by seed with 95 % intervals."""

  def values(label: str) -> list[float | None]:
    return [numbers[metric] for numbers in found[label]]

  def against(label: str, other: str) -> str:
    interval = paired_interval(values(label), values(other)) if label != other else None
    return "" if interval is None else f"{interval[0]:+.4f} ({interval[1]:+.4f} to {interval[2]:+.4f})"

  others = (NOTHING, CLASSICAL, RENDERINGS)
  lines = [f"| real pictures and | {metric} | " + " | ".join(f"less {name}" for name in others) + " |"]
  lines.append("|---" * (2 + len(others)) + "|")
  for label in found:
    mean = float(np.mean([numbers[metric] for numbers in found[label]]))
    cells = [label, f"{mean:.4f}", *(against(label, other) for other in others)]
    lines.append("| " + " | ".join(cells) + " |")
  return "\n".join(lines)


def as_json(found: Mapping[str, Sequence[Mapping[str, float]]], **settings: Any) -> dict[str, Any]:
  """Returns results and settings as plain values."""
  return {"settings": settings, "results": {label: list(map(dict, x)) for label, x in found.items()}}
