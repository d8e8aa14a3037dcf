"""What a user takes away: the logo as PNG, dressed bodies as GLB, and a program that colours any mesh."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax import render
from vita_jax.papers.adv_logo.bodies import Body, load_bodies
from vita_jax.papers.adv_logo.charts import Chart, face_colors_of
from vita_jax.papers.adv_logo.data import Inputs, chart_of
from vita_jax.papers.adv_logo.model import shown
from vita_jax.papers.adv_logo.recipe import Recipe
from vita_jax.train.experiment import Exported

PALETTE = 4  # texels of each side of a colour in the exported texture: filters do not mix neighbours


def export(recipe: Recipe, inputs: Inputs, params: Any) -> Exported:
  """Exports textures `params["logo"]` [T, H, W, 3]; the program colours points by their place in it."""
  return Exported(
    params=params,
    program=partial(colors_at, jnp.asarray(inputs.mask), recipe.texture.median),
    inputs={"uv": ("points, 2", "float32")},
    read=partial(read_points, recipe),
    card={
      "inputs": {"uv": "places in the logo, (0, 0) its lower left corner as one faces it"},
      "outputs": {
        "colors": "float32 [points, 3], RGB in [0, 1]",
        "printed": "float32 [points], 1 where the logo is, 0 where the clothing shows",
      },
      "trained on": {
        "method": recipe.method,
        "detectors": list(recipe.detectors_train),
        "bodies": [body.name for body in inputs.bodies[: inputs.n_trained]],
      },
      "scope": "digital rendering, to test detectors before they are relied on",
    },
    write=partial(write_files, recipe, inputs, params),
  )


def colors_at(mask: jax.Array, median: int, params: Any, *, uv: jax.Array) -> Mapping[str, jax.Array]:
  """Returns `colors` [points, 3] of the first texture at uv [points, 2], and where it is `printed`."""
  colors = render.sample(shown(params["logo"], median)[0], uv)
  inside = jnp.all((uv >= 0) & (uv <= 1), axis=-1)
  printed = jnp.where(inside, render.sample(mask[..., None], uv)[..., 0], 0.0)
  return {"colors": colors, "printed": printed}


def read_points(recipe: Recipe, path: str) -> dict[str, np.ndarray]:
  """Reads a body's mesh and returns `uv` [faces, 2]: the middle of each face in the logo, -1 off it."""
  file = Path(path)
  if not file.is_file():
    raise FileNotFoundError(f"no file {path}: give a mesh of a body")
  (body,) = load_bodies(str(file.parent), (file.stem,))
  chart = chart_of(recipe, body)
  return {"uv": np.where(chart.faces[:, None], chart.uv.mean(axis=1), -1.0).astype(np.float32)}


def write_files(recipe: Recipe, inputs: Inputs, params: Any, folder: Path) -> None:
  """Writes logo.png (one per texture, transparent where nothing is printed) and every body as GLB."""
  from PIL import Image

  textures = np.asarray(shown(jnp.asarray(params["logo"]), recipe.texture.median))
  for number, texture in enumerate(textures):
    pixels = np.concatenate([texture, inputs.mask[..., None]], axis=-1)
    name = "logo.png" if len(textures) == 1 else f"logo_{number}.png"
    Image.fromarray(np.round(255 * np.clip(pixels, 0, 1)).astype(np.uint8)).save(folder / name, "PNG")
  for number, (body, chart) in enumerate(zip(inputs.bodies, inputs.charts, strict=True)):
    texture = textures[number if number < len(textures) else 0]
    render.save_mesh(folder / f"{body.name}.glb", dressed_mesh(body, chart, texture, inputs.mask))


def dressed_mesh(body: Body, chart: Chart, texture: np.ndarray, mask: np.ndarray) -> render.Mesh:
  """Returns the body with one texture that holds its colours and the logo: what a GLB file can show.

  The logo lies on the left of the texture over the clothing's colour, with a rim of it; the colours of the
  other faces stand in a column on the right. Faces at the logo's rim show the clothing beyond it.

  Args:
    body, chart: who wears it, where.
    texture: float [H, W, 3] in [0, 1]. mask: float [H, W].
  """
  colors = np.asarray(face_colors_of(body.mesh), np.float32)
  palette, number = np.unique(np.round(colors, 2), axis=0, return_inverse=True)
  cloth = palette[np.bincount(number.ravel()[chart.faces]).argmax()]
  height, width = mask.shape
  rim = max(height, width)  # uv of faces that the logo's edge crosses reach at most so far beyond it
  rows = max(height + 2 * rim, PALETTE)
  columns = -(-len(palette) * PALETTE // rows)
  atlas = np.empty((rows, width + 2 * rim + columns * PALETTE, 3), np.float32)
  atlas[:] = cloth
  logo = mask[..., None] * texture + (1 - mask[..., None]) * cloth
  atlas[rim : rim + height, rim : rim + width] = logo
  per_column = rows // PALETTE
  places = np.arange(len(palette))
  y, x = places % per_column * PALETTE, width + 2 * rim + places // per_column * PALETTE
  for i, color in enumerate(palette):
    atlas[y[i] : y[i] + PALETTE, x[i] : x[i] + PALETTE] = color
  flat = np.stack([(x + PALETTE / 2) / atlas.shape[1], 1 - (y + PALETTE / 2) / rows], axis=-1)
  uv = np.repeat(flat[number.ravel()][:, None], 3, axis=1)
  over = np.clip(chart.uv * (width, height), -rim + 1, (width + rim - 1, height + rim - 1))
  over = (over + rim) / (atlas.shape[1], rows)
  over[..., 1] += (rows - height - 2 * rim) / rows
  uv[chart.faces] = over[chart.faces]
  return render.Mesh(
    vertices=body.mesh.vertices,
    faces=body.mesh.faces,
    uv=uv.reshape(-1, 2).astype(np.float32),
    face_uv=np.arange(3 * len(colors), dtype=np.int32).reshape(-1, 3),
    texture=atlas,
  )
