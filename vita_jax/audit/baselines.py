"""What one would do without learning an encoder, behind one interface: `fit(rows, settings) -> transform(x)`.

All learn from training rows only, on standardised features. A baseline that draws noise draws once per row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vita_jax.audit.erasure import inlp, leace
from vita_jax.metrics import auc

Transform = Callable[[np.ndarray], np.ndarray]
CLIP = 3.0  # standard deviations, before local privacy


class Training(NamedTuple):
  """Training rows of a baseline.

  Attributes:
    x: float32 [n, p], standardised features. private: float32 [n, K], classes or values. target: int32 [n].
    n_classes: of each attribute, 0 for a continuous one.
    columns: (start, width, categories) of each categorical column among the features; numbers come first.
  """

  x: np.ndarray
  private: np.ndarray
  target: np.ndarray
  n_classes: tuple[int, ...]
  columns: tuple[tuple[int, int, int], ...]


class Settings(NamedTuple):
  """`strength`: sigma, epsilon, bins, rounds or a threshold, as each says; `latent`: width; `seed`."""

  strength: float
  latent: int
  seed: int


def _of_classes(rows: Training) -> list[tuple[np.ndarray, int]]:
  """(class numbers int [n], how many classes) of each attribute of classes."""
  found = [(x.astype(int), n) for x, n in zip(rows.private.T, rows.n_classes, strict=True) if n]
  if not found:
    raise ValueError("this method takes out classes, and all private attributes are continuous: try 'leace'")
  return found


def identity(rows: Training, settings: Settings) -> Transform:
  """Keeps the features themselves: "raw" with the private columns, "drop" without them."""
  return lambda x: x


def drop_proxies(rows: Training, settings: Settings) -> Transform:
  """Leaves out columns that alone tell a class attribute with AUC over `strength` (0.6 if 0)."""
  threshold = settings.strength or 0.6
  classes = [values == c for values, n in _of_classes(rows) for c in range(n)]
  areas = np.array([[auc(column, one) for one in classes] for column in rows.x.T])
  kept = np.abs(areas - 0.5).max(1) <= threshold - 0.5
  if not kept.any():
    raise ValueError(f"every column tells the attribute with AUC over {threshold}: raise --config.strength")
  return lambda x: x[:, kept]


def pca(rows: Training, settings: Settings) -> Transform:
  """Keeps the first `latent` principal components."""
  mean = rows.x.mean(0)
  axes = np.linalg.svd(rows.x - mean, full_matrices=False)[2][: settings.latent].T
  return lambda x: (x - mean) @ axes


def random_projection(rows: Training, settings: Settings) -> Transform:
  """Projects at random: x @ G / sqrt(latent), G standard normal [p, latent]."""
  generator = np.random.default_rng(settings.seed)
  matrix = generator.normal(size=(rows.x.shape[1], settings.latent)) / np.sqrt(settings.latent)
  return lambda x: (x @ matrix).astype(np.float32)


def gaussian_noise(rows: Training, settings: Settings) -> Transform:
  """Adds `strength` * standard normal noise."""

  def transform(x):
    noise = np.random.default_rng(settings.seed).normal(size=x.shape)
    return (x + settings.strength * noise).astype(np.float32)

  return transform


def local_dp(rows: Training, settings: Settings) -> Transform:
  """Gives the whole record local differential privacy with epsilon = `strength`, shared by its columns.

  Numbers: clipped to [-3, 3], so of sensitivity 6; Laplace noise of scale 6 / (epsilon / columns).
  Categories: randomised response, kept with probability e / (e + C - 1), e = exp(epsilon / columns).
  """
  if settings.strength <= 0:
    raise ValueError(f"local_dp takes an epsilon over 0: --config.strength is {settings.strength}")
  first = min((start for start, _, _ in rows.columns), default=rows.x.shape[1])
  each = settings.strength / (first + len(rows.columns))

  def transform(x):
    generator = np.random.default_rng(settings.seed)
    noise = generator.laplace(scale=2 * CLIP / each, size=(len(x), first))
    parts = [np.clip(x[:, :first], -CLIP, CLIP) + noise]
    for start, width, n in rows.columns:
      hot = x[:, start : start + width]
      code = hot[:, 0].astype(int) if width < n else hot.argmax(1)
      code = randomized_response(code, n, each, generator)
      parts.append(code[:, None] == (np.arange(1, n) if width < n else np.arange(n)))
    return np.concatenate(parts, axis=1).astype(np.float32)

  return transform


def randomized_response(
  codes: np.ndarray, n: int, epsilon: float, generator: np.random.Generator
) -> np.ndarray:
  """Keeps each code with probability e^epsilon / (e^epsilon + n - 1), else draws another; int [rows]."""
  keep = generator.random(len(codes)) < 1 / (1 + (n - 1) * np.exp(-epsilon))
  others = (codes + generator.integers(1, n, len(codes))) % n
  return np.where(keep, codes, others)


def binning(rows: Training, settings: Settings) -> Transform:
  """Replaces every number by the mean of its quantile bin, `strength` bins (2 to 4) a column."""
  first = min((start for start, _, _ in rows.columns), default=rows.x.shape[1])
  bins = int(settings.strength)
  if bins < 2:
    raise ValueError(f"binning takes 2 bins or more: --config.strength is {settings.strength}")
  edges = [np.unique(np.quantile(c, np.arange(1, bins) / bins)) for c in rows.x[:, :first].T]

  def place(x, j):
    return np.searchsorted(edges[j], x[:, j], side="right")

  means = []
  for j in range(first):
    inside = place(rows.x, j)
    counts = np.bincount(inside, minlength=len(edges[j]) + 1)
    means.append(np.bincount(inside, rows.x[:, j], minlength=len(counts)) / np.maximum(counts, 1))

  def transform(x):
    parts = [means[j][place(x, j)][:, None] for j in range(first)]
    return np.concatenate([*parts, x[:, first:]], axis=1).astype(np.float32)

  return transform


def null_space(rows: Training, settings: Settings) -> Transform:
  """Applies INLP, `strength` rounds (8 if 0) for each class attribute in turn."""
  transforms, x = [], rows.x
  for values, _ in _of_classes(rows):
    transforms.append(inlp(x, values, rounds=int(settings.strength) or 8).apply)
    x = transforms[-1](x)

  def transform(x):
    for one in transforms:
      x = one(x)
    return x

  return transform


def erase(rows: Training, settings: Settings) -> Transform:
  """Applies LEACE to all attributes at once: classes one-hot, continuous ones as their values."""
  columns = [
    values[:, None] == np.arange(n) if n else values[:, None]
    for values, n in zip(rows.private.T, rows.n_classes, strict=True)
  ]
  return leace(rows.x, np.concatenate(columns, axis=1)).apply


BASELINES = {
  "raw": identity,
  "drop": identity,
  "drop_proxies": drop_proxies,
  "pca": pca,
  "random_projection": random_projection,
  "gaussian_noise": gaussian_noise,
  "local_dp": local_dp,
  "binning": binning,
  "inlp": null_space,
  "leace": erase,
}


def utility_score(x: np.ndarray, target: np.ndarray, train: np.ndarray) -> np.ndarray:
  """Predicts the log odds of the target by gradient boosting on x [n, p]; float32 [n, 1].

  Training rows are scored by models that have not seen them (five folds), or they would look unlike others.
  """
  from sklearn.ensemble import HistGradientBoostingClassifier
  from sklearn.model_selection import cross_val_predict

  model = HistGradientBoostingClassifier(learning_rate=0.05, max_iter=150, random_state=0)
  score = np.zeros(len(x), np.float32)
  folds = cross_val_predict(model, x[train], target[train], cv=5, method="predict_proba")[:, 1]
  score[:] = model.fit(x[train], target[train]).predict_proba(x)[:, 1]
  score[train] = folds
  score = np.clip(score, 1e-6, 1 - 1e-6)
  return np.log(score / (1 - score))[:, None]


def equalised(score: np.ndarray, groups: np.ndarray, draw: int) -> np.ndarray:
  """Replaces a score [n, 1] by uniform numbers in (0, 1), ordered within each group [n] as it is.

  Groups are private classes, apart in each part of the split (scores of rows that the score has learned from
  are spread otherwise than of others): independent of the class exactly. Ranks over group sizes are not:
  groups of other sizes lie on other lattices, which neighbours find. It needs the class of each applicant
  when the score is made: a reference, not a competitor. draw: seed of the numbers.
  """
  rng, found = np.random.default_rng(draw), np.zeros(len(score), np.float32)
  for group in np.unique(groups):
    (rows,) = np.nonzero(groups == group)
    found[rows[np.argsort(score[rows, 0], kind="stable")]] = np.sort(rng.random(len(rows), np.float32))
  return found[:, None]


REFERENCES = ("score", "equalised_score")
