"""A picture of what a trained encoder sees."""

from __future__ import annotations

from typing import Any

import numpy as np


def embedding(model: Any, params: Any, batch: Any) -> Any:
  """The hidden representation of all labelled nodes on its first two principal axes, coloured by class.

  Returns:
    A matplotlib Figure.
  """
  from matplotlib.figure import Figure

  outputs = model.apply({"params": params}, batch["features"], batch["graph"], "full", None)
  hidden = np.asarray(outputs["hidden"], np.float64)
  labels = np.asarray(batch["graph"].nodes["labels"])
  centred = hidden - hidden.mean(0)
  plane = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
  figure = Figure(figsize=(4.5, 4), layout="constrained")
  axes = figure.add_subplot()
  shown = labels >= 0
  axes.scatter(*plane[shown].T, c=labels[shown], cmap="tab10", s=4, linewidths=0)
  axes.set(xticks=[], yticks=[], title="hidden representation, by class")
  return figure
