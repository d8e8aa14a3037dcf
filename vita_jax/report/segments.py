"""Segmentations as pictures: the photograph, its true label map and the predicted one, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vita_jax.report.pictures import picture_grid

WHITE = 255  # where a label is of no class


def segment_figure(
  images: np.ndarray, labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str]
) -> Any:
  """Draws pictures, their label maps and predicted ones, with a colour for each class: a matplotlib Figure.

  Args:
    images: uint8 [n, h, w, 3].
    labels: int [n, h, w]; white where no class has that number.
    predicted: int [n, h, w].
    classes: the names of the classes; colours repeat after 20.

  Examples:
    >>> labels = np.zeros((1, 4, 4), int)
    >>> segment_figure(np.zeros((1, 4, 4, 3), np.uint8), labels, labels, ["sky"]).legends[0].texts[0]
    Text(0, 0, 'sky')
  """
  from matplotlib import colormaps
  from matplotlib.patches import Patch

  colours = np.array([colormaps["tab20"](i % 20)[:3] for i in range(len(classes))])
  maps = {"label": labels, "predicted": predicted}
  figure = picture_grid({"picture": images, **{name: coloured(x, colours) for name, x in maps.items()}})
  patches = [Patch(color=colour, label=name) for colour, name in zip(colours, classes, strict=True)]
  figure.legend(handles=patches, loc="outside lower center", ncols=5, fontsize=7, frameon=False)
  return figure


def coloured(labels: np.ndarray, colours: np.ndarray) -> np.ndarray:
  """Colours label maps.

  Args:
    labels: int [...]; white where it is outside of `colours`.
    colours: float [classes, 3] in [0, 1].

  Returns:
    uint8 [..., 3].

  Examples:
    >>> coloured(np.array([0, 255]), np.array([[1.0, 0.0, 0.0]])).tolist()
    [[255, 0, 0], [255, 255, 255]]
  """
  levels = np.vstack([np.round(colours * 255), np.full((1, 3), WHITE)]).astype(np.uint8)
  labels = np.asarray(labels, int)
  return levels[np.where((labels >= 0) & (labels < len(colours)), labels, len(colours))]
