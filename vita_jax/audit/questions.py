"""What is asked of attackers about an attribute: its class; or its value, its rank and its bin."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vita_jax.audit.labels import Private
from vita_jax.data.tables import without_offset

BINS = 5  # of equal counts


class Question(NamedTuple):
  """One question about an attribute.

  Attributes:
    kind: "classes" of a class attribute; "value", "rank" and "bins" of a continuous one.
    labels: int32 [n], or float64 [n] for "value", which is standardised, and "rank", from 0 to 1.
    classes: names; () for "value" and "rank".
  """

  kind: str
  labels: np.ndarray
  classes: tuple[str, ...]


def questions(attribute: Private, train: np.ndarray) -> tuple[Question, ...]:
  """Returns what is asked about an attribute.

  The square error of a value says little where the value has a long tail or only its size is told: from
  z = |v| no model predicts v, and its bins are all but given away. So the rank and the bins are asked, too.

  Args:
    train: the attackers' training rows, whose quantiles make ranks and bins.
  """
  values = attribute.values
  if attribute.classes:
    return (Question("classes", values.astype(np.int32), attribute.classes),)
  values, offset = without_offset(values)
  known = np.sort(values[train])
  # Centred before any model casts it: of a time in seconds float32 keeps two minutes.
  value = (values - known.mean()) / max(known.std(), np.finfo(np.float64).tiny)
  rank = (np.searchsorted(known, values, "left") + np.searchsorted(known, values, "right")) / (2 * len(known))
  edges = np.unique(np.quantile(known, np.arange(1, BINS) / BINS, method="lower"))
  edges = edges[edges < known[-1]]  # so that every bin has training rows
  bins = np.searchsorted(edges, values, "left").astype(np.int32)
  return (
    Question("value", value, ()),
    Question("rank", rank, ()),
    Question("bins", bins, _names(edges, int(offset))),
  )


def _names(edges: np.ndarray, offset: int) -> tuple[str, ...]:
  shown = [f"{int(edge) + offset}" if offset else f"{edge:.4g}" for edge in edges]
  if not shown:
    return ("all",)
  inner = [f"{low} to {high}" for low, high in zip(shown[:-1], shown[1:], strict=True)]
  return (f"up to {shown[0]}", *inner, f"over {shown[-1]}")
