"""Final numbers of one seed, tables by angle, and the picture sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from vita_jax.papers.adv_logo.data import Inputs
from vita_jax.papers.adv_logo.model import shown
from vita_jax.papers.adv_logo.protocol import Outcome, measure, numbers, scene
from vita_jax.papers.adv_logo.recipe import Recipe
from vita_jax.papers.adv_logo.views import Views
from vita_jax.report.charts import lines
from vita_jax.report.tables import table
from vita_jax.train.experiment import Evaluate, Report, State, Sweep


def report(
  recipe: Recipe,
  inputs: Inputs,
  detectors: Sequence[Any],
  state: State,
  evaluate: Evaluate,
  sweep: Sweep,
) -> Report:
  """Tests the texture of one seed on every detector.

  Metrics: those of `protocol.numbers` by detector, e.g. `nanodet_success_10`. File: `angles.md`. Figures:
  `success` by angle, and `sheet`, the pictures of the first photograph.
  """
  del evaluate, sweep
  textures = shown(jnp.asarray(np.asarray(state["params"]["logo"])), recipe.texture.median)
  outcomes = {d.name: measure(d, textures, inputs, recipe.test) for d in detectors}
  found = {
    f"{name}_{metric}": value
    for name, outcome in outcomes.items()
    for metric, value in numbers(outcome, inputs).items()
  }
  curves = {name: by_angle(outcome, inputs) for name, outcome in outcomes.items()}
  figures = {
    "success": partial(angle_figure, curves),
    "sheet": partial(sheet, np.asarray(textures), inputs),
  }
  text = angle_table(curves)
  for name, outcome in outcomes.items():
    if outcome.alarming:
      text += f"\nLeft out for {name}, which alarms without the body: {', '.join(outcome.alarming)}\n"
  return Report(found, figures, {"angles.md": text})


Curves = Mapping[
  str, Mapping[str, Mapping[float, tuple[float, int]]]
]  # detector -> bodies -> angle -> (rate, n)


def by_angle(outcome: Outcome, inputs: Inputs) -> dict[str, dict[float, tuple[float, int]]]:
  """Returns success rate and number of pictures by angle, for bodies that trained and for others."""
  groups = {
    "trained": range(inputs.n_trained),
    "unseen": range(inputs.n_trained, len(inputs.bodies)),
  }
  found: dict[str, dict[float, tuple[float, int]]] = {}
  for name, bodies in groups.items():
    mine = np.isin(outcome.body, list(bodies))
    for angle in sorted(set(outcome.angle.tolist())):
      counted = outcome.kept & (mine & (outcome.angle == angle))[:, None]
      if counted.any():
        rate = float(outcome.hidden[counted].mean())
        found.setdefault(name, {})[angle] = (rate, int(counted.sum()))
  return found


def angle_table(curves: Curves) -> str:
  """Writes success rates by angle as Markdown, with the number of pictures behind each."""
  angles = sorted({angle for groups in curves.values() for points in groups.values() for angle in points})
  rows = [
    [
      f"{detector}, {group} bodies",
      *(f"{100 * points[a][0]:.0f} ({points[a][1]})" if a in points else "" for a in angles),
    ]
    for detector, groups in curves.items()
    for group, points in groups.items()
  ]
  title = "# Success rate by angle: % of pictures without a detection (number of pictures)"
  return "\n".join([title, "", table(["", *(f"{angle:g}°" for angle in angles)], rows)])


def angle_figure(curves: Curves) -> Any:
  """Draws success rates by angle, a line for each detector and group of bodies: a matplotlib Figure."""
  points = {
    f"{detector}, {group}": [(angle, 100 * rate) for angle, (rate, _) in points.items()]
    for detector, groups in curves.items()
    for group, points in groups.items()
  }
  return lines(points, x="angle, degrees", y="success rate, %")


def sheet_pictures(
  textures: Any, inputs: Inputs, *, angles: Sequence[float] = (-20, -10, 0, 10, 20), photograph: int = 0
) -> list[list[np.ndarray]]:
  """Composes the tested views nearest to some angles with one photograph: a row [N, N, 3] for each body."""
  test, rows = inputs.test, []
  for body in sorted(set(test.body.tolist())):
    mine = np.flatnonzero(test.body == body)
    places = [int(mine[np.argmin(np.abs(test.angle[mine] - angle))]) for angle in angles]
    picture = inputs.held_out.pictures[photograph : photograph + 1]
    rows.append(
      [
        scene(
          jnp.asarray(textures), Views(*(x[i] for x in test)), picture, inputs.offsets[i, photograph][None]
        )[0]
        for i in dict.fromkeys(places)
      ]
    )
  return rows


def sheet(textures: Any, inputs: Inputs) -> Any:
  """Draws `sheet_pictures` beside the logo: a matplotlib Figure."""
  from matplotlib.figure import Figure

  rows = sheet_pictures(textures, inputs)
  columns = len(rows[0]) + 1
  figure = Figure(figsize=(2.2 * columns, 2.2 * len(rows)), layout="constrained")
  axes = figure.subplots(len(rows), columns, squeeze=False)
  names = [inputs.bodies[i].name for i in sorted(set(inputs.test.body.tolist()))]
  for row, (name, pictures) in enumerate(zip(names, rows, strict=True)):
    logo = np.asarray(textures)[0] * inputs.mask[..., None] + (1 - inputs.mask[..., None])
    axes[row, 0].imshow(np.clip(logo, 0, 1))
    axes[row, 0].set_title(name, fontsize=8)
    for axis, picture in zip(axes[row, 1:], pictures, strict=True):
      axis.imshow(np.clip(picture, 0, 1))
    for axis in axes[row]:
      axis.set_axis_off()
  return figure
