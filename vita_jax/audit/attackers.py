"""The attackers of an audit: new models, trained on a representation to find a private attribute."""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from vita_jax.base.processes import end_with

KINDS = ("all", "fast")
TRACKER = "ignore::UserWarning:joblib.externals.loky.backend.resource_tracker"  # whose warnings are not shown
N_TREES = 300
MOST_QUADRATIC = 40  # inputs of the quadratic attacker; wider representations are projected (PCA) first


class Attacker(NamedTuple):
  """A model to train.

  Attributes:
    name, family: shown; of a family there may be several.
    model: an unfitted scikit-learn estimator.
    cost: orders the work, the most costly first.
    neighbours: how many rows a neighbour attacker asks for.
    reads: which field of `rows.Inputs` it is trained on.
  """

  name: str
  family: str
  model: Any
  cost: int = 1
  neighbours: int = 0
  reads: str = "standardised"


class Rows(NamedTuple):
  """Rows to train on, to choose on and to report on: z float [n, m], y int32 or float64 [n]."""

  z: np.ndarray
  y: np.ndarray
  z_validation: np.ndarray
  y_validation: np.ndarray
  z_test: np.ndarray


def attackers(kind: str, *, n_classes: int, width: int, n_rows: int) -> tuple[Attacker, ...]:
  """Makes the attackers of a class attribute, or (n_classes 0) of a continuous one.

  Args:
    kind: "all": linear (three penalties), quadratic, nearest neighbours (three sizes), extra trees, boosting
      (three sizes), kernel machines (Nystroem), three MLPs from three starts each, all on standardised
      inputs, and a linear and a neighbour one on inputs whose columns keep their sizes.
      "fast": one linear, one neighbour, one boosting, one MLP.
    n_classes: of the attribute; 0 for a continuous one.
    width: of the representation.
    n_rows: to train on; neighbour attackers that ask for more than half of them are left out.
  """
  found = (_classifiers if n_classes else _regressors)(kind, width, n_rows)
  return tuple(a for a in found if a.neighbours <= n_rows // 2)


def linear_attacker(name: str, n_classes: int) -> Attacker:
  """Makes a linear attacker of one input, for a score that is given away (family "score")."""
  from sklearn.linear_model import LogisticRegression, Ridge

  return Attacker(name, "score", _scaled(LogisticRegression() if n_classes else Ridge(1e-3)))


def _scaled(*steps: Any) -> Any:
  from sklearn.pipeline import make_pipeline
  from sklearn.preprocessing import StandardScaler

  return make_pipeline(StandardScaler(), *steps)


def _quadratic(width: int, n_rows: int, model: Any) -> Any:
  from sklearn.decomposition import PCA
  from sklearn.preprocessing import PolynomialFeatures

  return _scaled(PCA(min(width, MOST_QUADRATIC, n_rows)), PolynomialFeatures(2), *_scaled(model))


def _kernel(gamma: float, model: Any) -> Any:
  from sklearn.kernel_approximation import Nystroem

  return _scaled(Nystroem(gamma=gamma, n_components=300, random_state=0), model)


def _classifiers(kind: str, width: int, n_rows: int) -> Iterator[Attacker]:
  from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
  from sklearn.linear_model import LogisticRegression
  from sklearn.neighbors import KNeighborsClassifier
  from sklearn.neural_network import MLPClassifier

  linear = functools.partial(LogisticRegression, max_iter=1000)
  if kind == "fast":
    yield Attacker("logistic, C 1", "logistic", _scaled(linear(C=1.0)))
    yield Attacker("kNN, 25", "kNN", _scaled(KNeighborsClassifier(25)), 2, 25)
    boosting = HistGradientBoostingClassifier(**_boosting(0.1, 31))
    yield Attacker("boosting, rate 0.1", "boosting", boosting, 5, reads="exact")
    yield Attacker("MLP 128-128", "MLP", _scaled(MLPClassifier(hidden_layer_sizes=(128, 128), **_mlp(0))), 6)
    return
  for c in (0.01, 1.0, 100.0):
    yield Attacker(f"logistic, C {c:g}", "logistic", _scaled(linear(C=c)))
  yield Attacker("logistic, raw inputs", "logistic", linear(C=1.0), reads="raw")
  for c in (0.01, 1.0):
    yield Attacker(f"quadratic, C {c:g}", "quadratic", _quadratic(width, n_rows, linear(C=c)), 4)
  for k in (5, 25, 100):
    yield Attacker(f"kNN, {k}", "kNN", _scaled(KNeighborsClassifier(k)), 2, k)
  yield Attacker("kNN, 25, raw inputs", "kNN", KNeighborsClassifier(25), 2, 25, reads="raw")
  forest = ExtraTreesClassifier(N_TREES, min_samples_leaf=5, random_state=0)
  yield Attacker("extra trees", "forest", forest, 6)
  for rate, leaves in ((0.1, 31), (0.05, 15), (0.05, 63)):
    boosting = HistGradientBoostingClassifier(**_boosting(rate, leaves))
    yield Attacker(f"boosting, rate {rate:g}, leaves {leaves}", "boosting", boosting, 5, reads="exact")
  for scale in (0.3, 1.0, 3.0):
    kernel = _kernel(scale / width, linear(C=10.0))
    yield Attacker(f"kernel, gamma {scale:g}/width", "kernel", kernel, 4)
  for widths in ((64,), (128, 128), (256, 256, 256)):
    for seed in range(3):
      name = f"MLP {'-'.join(map(str, widths))}, start {seed}"
      yield Attacker(
        name, "MLP", _scaled(MLPClassifier(hidden_layer_sizes=widths, **_mlp(seed))), 6 + 2 * len(widths)
      )


def _regressors(kind: str, width: int, n_rows: int) -> Iterator[Attacker]:
  from sklearn.compose import TransformedTargetRegressor
  from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
  from sklearn.linear_model import Ridge
  from sklearn.neighbors import KNeighborsRegressor
  from sklearn.neural_network import MLPRegressor
  from sklearn.preprocessing import StandardScaler

  def mlp(widths: tuple[int, ...]) -> Any:  # it learns values of unit size only
    model = MLPRegressor(hidden_layer_sizes=widths, **_mlp(0))
    return _scaled(TransformedTargetRegressor(model, transformer=StandardScaler()))

  yield Attacker("ridge", "linear", _scaled(Ridge(1.0)))
  yield Attacker("kNN, 25", "kNN", _scaled(KNeighborsRegressor(25)), 2, 25)
  boosting = HistGradientBoostingRegressor(**_boosting(0.1, 31))
  yield Attacker("boosting, rate 0.1", "boosting", boosting, 5, reads="exact")
  yield Attacker("MLP 128-128", "MLP", mlp((128, 128)), 6)
  if kind == "fast":
    return
  yield Attacker("quadratic", "quadratic", _quadratic(width, n_rows, Ridge(10.0)), 4)
  yield Attacker("kNN, 100", "kNN", _scaled(KNeighborsRegressor(100)), 2, 100)
  forest = ExtraTreesRegressor(N_TREES, min_samples_leaf=5, random_state=0)
  yield Attacker("extra trees", "forest", forest, 6)
  boosting = HistGradientBoostingRegressor(**_boosting(0.05, 15))
  yield Attacker("boosting, rate 0.05", "boosting", boosting, 5, reads="exact")
  yield Attacker("kernel", "kernel", _kernel(1.0 / width, Ridge(1.0)), 4)
  yield Attacker("MLP 256-256-256", "MLP", mlp((256, 256, 256)), 12)


def _mlp(seed: int) -> dict[str, Any]:
  stop = {"early_stopping": True, "n_iter_no_change": 10, "max_iter": 200}
  return {"batch_size": 256, "random_state": seed, **stop}


def _boosting(rate: float, leaves: int) -> dict[str, Any]:
  """Early stopping is on the rows that attackers are chosen on, see `run_one`."""
  size = {"learning_rate": rate, "max_leaf_nodes": leaves, "max_iter": 400}
  return {**size, "early_stopping": True, "n_iter_no_change": 20, "random_state": 0}


def run_one(attacker: Attacker, rows: Rows, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
  """Trains an attacker and returns its predictions for validation and test rows.

  Returns:
    Probabilities float32 [n, n_classes], columns by class number, or values float64 [n] of a regression.
  """
  model = attacker.model
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # an MLP or a linear model that could go on is no news to the user
    if attacker.family == "boosting":
      model.fit(rows.z, rows.y, X_val=rows.z_validation, y_val=rows.y_validation)
    else:
      model.fit(rows.z, rows.y)
    return _predicted(model, rows.z_validation, n_classes), _predicted(model, rows.z_test, n_classes)


def _predicted(model: Any, z: np.ndarray, n_classes: int) -> np.ndarray:
  if not n_classes:
    return np.asarray(model.predict(z), np.float64)
  probabilities = np.zeros((len(z), n_classes), np.float32)
  probabilities[:, model.classes_] = model.predict_proba(z)
  return probabilities


def run_all(
  jobs: Sequence[tuple[Attacker, Rows, int]], *, n_jobs: int
) -> list[tuple[np.ndarray, np.ndarray]]:
  """Calls `run_one` for each job, in order, by `n_jobs` processes (0: as many as cores; 1: this one)."""
  cores = os.cpu_count() or 1
  n_jobs = min(n_jobs or cores, len(jobs))
  if n_jobs <= 1:
    from threadpoolctl import threadpool_limits

    # On tables this small, threads that wait for each other cost more than they give.
    with threadpool_limits(1):
      return [run_one(*job) for job in jobs]
  from joblib import Parallel, delayed, parallel_config

  threads = max(1, cores // n_jobs)
  with _quiet_tracker(), parallel_config(backend="loky", n_jobs=n_jobs, inner_max_num_threads=threads):
    return Parallel(batch_size=1)(delayed(_run_in_worker)(os.getpid(), *job) for job in jobs)


@contextlib.contextmanager
def _quiet_tracker() -> Iterator[None]:
  """Lets joblib's tracker remove what a killed run leaves in /dev/shm without a warning that lists it all."""
  before = os.environ.get("PYTHONWARNINGS")
  os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [before, TRACKER]))  # read at its start
  try:
    yield
  finally:
    if before is None:
      del os.environ["PYTHONWARNINGS"]
    else:
      os.environ["PYTHONWARNINGS"] = before


def _run_in_worker(parent: int, *job: Any) -> tuple[np.ndarray, np.ndarray]:
  end_with(parent)  # a worker must not outlive a run that was killed
  return run_one(*job)
