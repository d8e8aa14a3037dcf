"""A picture of representations: rows on their first two principal axes, coloured by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_MOST_NAMED = 10  # classes beyond share a colour bar: a longer legend covers the points


def embedding(
  points: np.ndarray, labels: np.ndarray, *, names: Sequence[str] = (), title: str = "hidden representation"
) -> Any:
  """Draws rows on their first two principal axes, coloured by class.

  Args:
    points: float [n, d], d >= 1; with one column the second axis is empty.
    labels: int [n], rows below 0 have no class: they take part in the axes and are not drawn.
    names: of the classes, in the order of their numbers; by default the numbers.
    title: of the figure.

  Returns:
    A matplotlib Figure.

  Raises:
    ValueError: points that are no matrix of finite numbers, or another number of labels.

  Examples:
    >>> figure = embedding(np.eye(4), np.array([0, 0, 1, 1]), names=("left", "right"))
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['left', 'right']
  """
  from matplotlib.figure import Figure  # slow to import

  points, labels = np.asarray(points, np.float64), np.asarray(labels)
  if points.ndim != 2 or 0 in points.shape or labels.shape != points.shape[:1]:
    raise ValueError(f"points must be [n, d] and labels [n], got {points.shape} and {labels.shape}")
  if not np.isfinite(points).all():
    raise ValueError("points are not finite: there is nothing to draw")
  plane, shares = principal_plane(points)
  figure = Figure(figsize=(5.5, 4), layout="constrained")
  axes = figure.add_subplot()
  classes = np.unique(labels[labels >= 0])
  if len(classes) <= _MOST_NAMED:
    for c in classes:
      chosen = labels == c
      name = names[c] if c < len(names) else f"class {c}"
      axes.scatter(plane[chosen, 0], plane[chosen, 1], color=f"C{c % 10}", s=5, linewidths=0, label=name)
    axes.legend(frameon=False, markerscale=3, loc="upper left", bbox_to_anchor=(1, 1))
  else:
    shown = labels >= 0
    drawn = axes.scatter(plane[shown, 0], plane[shown, 1], c=labels[shown], cmap="turbo", s=5, linewidths=0)
    figure.colorbar(drawn, label="class")
  for axis, share, number in zip((axes.xaxis, axes.yaxis), shares, ("1st", "2nd"), strict=True):
    axis.set_label_text(f"{number} principal axis ({share:.0%} of variance)")
    axis.set_ticks([])
  axes.set_title(title)
  return figure


def principal_plane(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Projects rows on their first two principal axes.

  Args:
    points: float [n, d].

  Returns:
    float [n, 2], zeros where there is no second axis; and the share of the variance of both, [2].
  """
  centred = points - points.mean(0)
  _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
  plane, shares = np.zeros((len(points), 2)), np.zeros(2)
  n = min(2, len(sizes))
  plane[:, :n] = centred @ axes[:n].T
  shares[:n] = sizes[:n] ** 2 / max((sizes**2).sum(), np.finfo(float).tiny)
  return plane, shares
