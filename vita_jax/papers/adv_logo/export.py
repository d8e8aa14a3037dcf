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
from vita_jax.papers.adv_logo.bodies import load_bodies
from vita_jax.papers.adv_logo.data import Inputs, chart_of
from vita_jax.papers.adv_logo.model import shown
from vita_jax.papers.adv_logo.recipe import Recipe
from vita_jax.train.experiment import Exported


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
    dressed = render.with_decal(body.mesh, chart.faces, chart.uv, texture, inputs.mask)
    render.save_mesh(folder / f"{body.name}.glb", dressed)
