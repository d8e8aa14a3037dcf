"""The class prior of a table, estimated once: a run, its continuation and its predictions share it."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path

import numpy as np

from vita_jax.base.hashing import arrays_sha256
from vita_jax.data.cache import cache_folder, cached_arrays
from vita_jax.metrics import class_prior, mixture
from vita_jax.metrics.class_prior import Estimate, PriorEstimate


def table_prior(x: np.ndarray, labelled: np.ndarray, *, among: str = "unlabelled") -> PriorEstimate:
  """Estimates the prior of a table by `metrics.class_prior.estimate_prior`, or reads its earlier estimate.

  Estimates take from seconds to minutes. They are kept in $VITA_CACHE_DIR under digests of the rows and of
  the estimators' code. What there is to warn of is warned of each time.

  Args:
    x: float [n, features].
    labelled: bool [n], the labelled positives.
    among: as in `estimate_prior`.

  Raises:
    ValueError: as `estimate_prior`.
  """
  code = b"".join(Path(str(module.__file__)).read_bytes() for module in (class_prior, mixture))
  rows = arrays_sha256({"x": x, "labelled": labelled})
  key = f"class prior among {among} {rows} {hashlib.sha256(code).hexdigest()}"

  def make() -> dict[str, np.ndarray]:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore", UserWarning)  # it is told below
      found = class_prior.estimate_prior(x[labelled], x[~labelled], among=among)
    return {"json": np.frombuffer(json.dumps(found._asdict()).encode(), np.uint8)}

  stored = json.loads(cached_arrays(cache_folder("class_prior"), key, make)["json"].tobytes())
  methods = {name: Estimate(*values) for name, values in stored["methods"].items()}
  found = PriorEstimate(**{**stored, "methods": methods})
  if found.doubt:
    warnings.warn(found.doubt, stacklevel=2)
  return found
