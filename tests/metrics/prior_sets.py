"""Positive-unlabelled sets whose prior is known: the protocol that the estimators are held to.

Fixed before any estimator was run on them. Each set draws its labelled positives at random from the positives
of one sample (seed 0); the truth is the share of positives among the rows that are left. Sets that are
SEPARABLE must be met within 0.08; where classes overlap (the credit tables, and `overlap`, two Gaussians one
standard deviation apart) no method can know the prior, and the estimate must come with a warning that it is
an upper bound.
"""

from __future__ import annotations

import numpy as np
from sklearn import datasets

from vita_jax import data
from vita_jax.data import tabular
from vita_jax.data.schema import parse_schema
from vita_jax.data.tables import as_table

SEPARABLE = ("digits", "breast_cancer", "circles", "quadrants", "gaussians")
OVERLAPPING = ("german", "taiwan", "overlap")


def pu_set(name, seed=0):
  """Returns (labelled rows [n, d], unlabelled rows [m, d], share of positives among the latter)."""
  random = np.random.default_rng(seed)
  x, positive, n_labelled = globals()[f"_{name}"](random)
  chosen = random.permutation(np.flatnonzero(positive))[:n_labelled]
  rest = np.setdiff1d(np.arange(len(x)), chosen)
  return x[chosen], x[rest], positive[rest].mean()


def _digits(random):
  """Even against odd, 300 of 891 even ones labelled."""
  x, y = datasets.load_digits(return_X_y=True)
  return x, y % 2 == 0, 300


def _breast_cancer(random):
  """Malignant against benign, 80 of 212 malignant ones labelled."""
  x, y = datasets.load_breast_cancer(return_X_y=True)
  return x, y == 0, 80


def _circles(random):
  """The inner of two circles: no line parts them."""
  x, y = datasets.make_circles((840, 660), noise=0.1, factor=0.4, random_state=0)
  return x, y == 1, 300


def _quadrants(random):
  """Positive where the first two of six numbers have one sign: no number tells anything by itself."""
  x = random.uniform(-1, 1, (4000, 6))
  positive = x[:, 0] * x[:, 1] > 0
  far = np.abs(x[:, 0] * x[:, 1]) > 0.05
  keep = far & (~positive | (random.random(4000) < 0.4))
  return x[keep], positive[keep], 200


def _gaussians(random):
  """Ten numbers, 4.4 standard deviations between the classes; most rows are positive."""
  positive = random.random(2000) < 0.66
  return random.normal(size=(2000, 10)) + 1.4 * positive[:, None], positive, 300


def _overlap(random):
  """One number, one standard deviation between the classes."""
  positive = random.random(2000) < 0.4
  return (random.normal(size=2000) + positive)[:, None], positive, 300


def _credit(name, target, n, random):
  columns = data.load(name)
  rows = random.permutation(len(columns[target]))[:n]
  columns = {c: x[rows] for c, x in columns.items()}
  texts = [c for c, x in columns.items() if x.dtype.kind == "U"]
  numbers = [c for c in columns if c not in (*texts, target)]
  schema = parse_schema({"numeric": numbers, "categorical": texts, "drop": [target]})
  table = as_table(columns)
  return tabular.encode(tabular.fit(schema, table), table), columns[target]


def _german(random):
  """Bad loans of 1,000; 100 of 300 labelled."""
  x, risk = _credit("credit/german", "credit_risk", 1000, random)
  return x, risk == 2, 100


def _taiwan(random):
  """Defaults of 3,000 card clients; 250 labelled."""
  x, default = _credit("credit/taiwan", "default_next_month", 3000, random)
  return x, default == 1, 250
