"""Linear erasure: no linear model finds an attribute in what is left. Closed forms in numpy float64."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vita_jax.data.tabular import ROUNDED
from vita_jax.metrics import auc

EIGENVALUE = 1e-9  # relative; directions without variance are left alone
SURE = 2.0  # standard errors
FOLDS = 5  # of the cross-validation that ends INLP


class Affine(NamedTuple):
  """x -> mean + (x - mean) @ matrix: `matrix` [p, p], `mean` [p]."""

  matrix: np.ndarray
  mean: np.ndarray

  def apply(self, x: np.ndarray) -> np.ndarray:
    """Erases rows [n, p]; float32, or float64 where float32 would round the rows' variation away."""
    x = np.asarray(x, np.float64)
    erased = self.mean + (x - self.mean) @ self.matrix
    single = erased.astype(np.float32)
    # Beside the rows' own spread: of a column that is erased wholly, only noise is left to be rounded.
    lost = np.abs(single - erased).max(axis=0, initial=0.0) > ROUNDED * x.std(axis=0)
    varies = x.std(axis=0) > 0
    return erased if (lost & varies).any() else single


def leace(x: np.ndarray, concept: np.ndarray) -> Affine:
  """Erases a concept by the smallest change of x (least squares) after which cov(x, concept) is zero.

  r(x) = x - W^+ P W (x - mean) with W = Sigma_xx^(-1/2) and P the orthogonal projector on the column space of
  W Sigma_xz (Belrose et al. 2023, arXiv 2306.03819).

  Args:
    x: float [n, p], training rows.
    concept: float [n, c], one-hot classes or values.
  """
  x, concept = np.asarray(x, np.float64), np.asarray(concept, np.float64)
  mean = x.mean(0)
  centred = x - mean
  covariance, cross = centred.T @ centred / len(x), centred.T @ (concept - concept.mean(0)) / len(x)
  values, vectors = np.linalg.eigh(covariance)
  kept = values > EIGENVALUE * max(values.max(), 1e-300)
  root = np.sqrt(np.where(kept, values, 1.0))
  whiten = (vectors * (kept / root)) @ vectors.T
  unwhiten = (vectors * (kept * root)) @ vectors.T
  basis, sizes, _ = np.linalg.svd(whiten @ cross, full_matrices=False)
  basis = basis[:, sizes > 1e-10 * max(sizes.max(), 1e-300)]
  return Affine(np.eye(x.shape[1]) - (unwhiten @ basis @ basis.T @ whiten).T, mean)


def inlp(x: np.ndarray, labels: np.ndarray, *, rounds: int) -> Affine:
  """Projects an attribute's directions out one after the other: INLP (Ravfogel et al., arXiv 2004.07667).

  Each round trains a logistic regression on what is left and projects its directions out. It ends early when
  cross-validation finds nothing that is left: no class whose AUC against the others, on rows that the model
  has not seen, is over 0.5 by two standard errors of chance. All rows are scored, each by a model of the
  other folds: a single part of them would miss a weak signal of a rare class. Accuracy would end it at once
  for such a class, which no model ever predicts.

  Args:
    x: float [n, p], training rows.
    labels: int [n], class numbers from 0; of one class only, nothing is projected out.
    rounds: at most.
  """
  x, labels = np.asarray(x, np.float64), np.asarray(labels)
  mean, directions = x.mean(0), np.zeros((x.shape[1], 0))
  centred, folds = x - mean, _folds(labels)
  for _ in range(rounds):
    left = centred - centred @ directions @ directions.T
    if not np.any(left.std(0) > 1e-9) or not _is_told(left, labels, folds):
      break
    coefficients = _logistic(left, labels).coef_
    directions = np.linalg.qr(np.concatenate([directions, coefficients.T], axis=1))[0]
  return Affine(np.eye(x.shape[1]) - directions @ directions.T, mean)


def _logistic(x: np.ndarray, labels: np.ndarray) -> Any:
  from sklearn.linear_model import LogisticRegression

  return LogisticRegression(max_iter=1000).fit(x, labels)


def _folds(labels: np.ndarray) -> np.ndarray:
  """Deals the rows of each class out to `FOLDS` folds at random; int [n]."""
  shuffled = np.random.default_rng(0).permutation(len(labels))
  by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
  folds = np.empty(len(labels), int)
  folds[by_class] = np.arange(len(labels)) % FOLDS
  return folds


def _is_told(x: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> bool:
  """Whether the AUC of any class, averaged over held-out folds, is over 0.5 by two standard errors."""
  excess: dict[int, float] = {}
  precision: dict[int, float] = {}
  for fold in range(FOLDS):
    held_out = folds == fold
    if len(np.unique(labels[~held_out])) < 2:
      continue
    model = _logistic(x[~held_out], labels[~held_out])
    probabilities, asked = model.predict_proba(x[held_out]), labels[held_out]
    for column, c in enumerate(model.classes_):
      inside = int((asked == c).sum())
      if 0 < inside < len(asked):
        weight = 12 * inside * (len(asked) - inside) / (len(asked) + 1)  # one over the variance by chance
        excess[c] = excess.get(c, 0.0) + weight * (auc(probabilities[:, column], asked == c) - 0.5)
        precision[c] = precision.get(c, 0.0) + weight
  return any(excess[c] > SURE * np.sqrt(precision[c]) for c in excess)
