"""What an audit looks for, what should be left, and which labels nothing can be learned of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vita_jax.data.tables import as_table, number_of, text_of

FEWEST_ROWS = 10  # of a class
MOST_CLASSES = 20  # of a column of whole numbers that is given without names of classes


class Private(NamedTuple):
  """A private attribute of every row: int class numbers [n], or numbers [n] and `classes` ()."""

  values: np.ndarray
  classes: tuple[str, ...]


class Target(NamedTuple):
  """The utility label int [n] (1: bad), and scores [n] of models that came with the representation."""

  values: np.ndarray
  scores: Mapping[str, np.ndarray] = {}


def as_private(name: str, values: Any) -> Private:
  """Reads a private attribute from a column.

  Args:
    values: a `Private`, or [n]: text, truth values, two distinct numbers and up to 20 distinct whole ones
      are classes; other numbers are the values of a continuous attribute.

  Raises:
    ValueError: not one value per row, or a value is missing.
  """
  if isinstance(values, Private):
    return values
  table = as_table({name: values}, source="the audit")
  if table.columns[name].dtype.kind in "iuf":
    column = table.columns[name]
    if column.dtype.kind == "f":
      column = number_of(table, name, missing="error")
    classes, numbers = np.unique(column, return_inverse=True)
    if len(classes) > 2 and (len(classes) > MOST_CLASSES or (classes != np.round(classes)).any()):
      return Private(column, ())
    classes = np.array([f"{value:.17g}" if column.dtype.kind == "f" else f"{value}" for value in classes])
  else:
    classes, numbers = np.unique(text_of(table, name, missing="error"), return_inverse=True)
  return Private(numbers.astype(np.int32), tuple(map(str, classes.tolist())))


def as_target(values: Any) -> Target:
  """Reads the utility label from a `Target`, or a column [n] of two values, the greater of which is 1.

  Raises:
    ValueError: not one value per row, or not two distinct values.
  """
  if isinstance(values, Target):
    return values
  column = as_private("target", values)
  if len(column.classes) != 2:
    found = f"{len(column.classes)} classes" if column.classes else "many values"
    raise ValueError(f"the target has {found}, two classes are needed: give a threshold, e.g. `x > 5`")
  return Target(column.values)


def check_label(name: str, classes: tuple[str, ...], values: np.ndarray, *, target: Any = None) -> None:
  """Refuses labels that nothing can be learned of.

  Args:
    name: for the message.
    classes: names of the classes; () for a continuous label.
    values: class numbers int [n], or numbers [n].
    target: int [n], optional.

  Raises:
    ValueError: one value or class, a class of fewer than 10 rows, or a label that equals the target.
  """
  if not classes:
    if (values == values[0]).all():
      raise ValueError(f"'{name}' has one value only: there is nothing to find out")
    return
  counts = np.bincount(values, minlength=len(classes))
  if (counts > 0).sum() < 2:
    only = classes[int(np.argmax(counts))]
    raise ValueError(f"'{name}' has one class only ('{only}'): there is nothing to find out")
  if counts.min() < FEWEST_ROWS:
    rare = int(np.argmin(counts))
    raise ValueError(
      f"'{name}' has {counts[rare]} rows of class '{classes[rare]}': {FEWEST_ROWS} are the least; merge it"
    )
  if target is not None and len(classes) == 2 and len({*(values == target)}) == 1:
    raise ValueError(f"'{name}' equals the target: what predicts the one reveals the other")
