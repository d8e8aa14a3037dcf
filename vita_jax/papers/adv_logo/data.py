"""What a run reads: bodies as cached views, and photographs, split by photograph."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vita_jax.data import augment
from vita_jax.data.folders import ImageFolder, twins
from vita_jax.data.sources import data_dir
from vita_jax.papers.adv_logo.bodies import Body, load_bodies
from vita_jax.papers.adv_logo.charts import Chart, flat_faces, make_chart, storage_order
from vita_jax.papers.adv_logo.recipe import Recipe
from vita_jax.papers.adv_logo.shapes import shape_mask
from vita_jax.papers.adv_logo.views import Box, Views, bare, logo_box, look, stack_views, with_patch

PHOTOGRAPHS = "vision/photos_pd"
# Looked through by eye: photographs in it with people, with statues of people, or that are there twice.
LEFT_OUT = {
  "categorization__monuments__": "arcDeTriomphe brandenburgGate leMusee monument1 usCapitol zimniPalace"
  " christTheRedeemer mountRushmore statueOfLiberty victoriaMemorial",
  "explore_monuments__egypt__": "greatPyramidOfGiza",
  "explore_monuments__france__": "palaisdesPapes",
  "explore_monuments__germany__": "berlinCathedral brandenburgGate wormsCathedral",
  "explore_monuments__india__": "gatewayofIndia",
  "explore_monuments__usa__": "cabrillo castleClinton mountRushmore statueofLiberty",
  "explore_monuments__wonders__": "colosseum",
}


class Photographs(NamedTuple):
  """Names, and pictures uint8 [n, N, N, 3]."""

  names: tuple[str, ...]
  pictures: np.ndarray


class Inputs(NamedTuple):
  """Everything that training and testing see.

  Attributes:
    mask: float32 [H, W], which texels are printed.
    bodies: all bodies, those that train first. n_trained: how many these are.
    n_textures: one, or one per body that trains.
    charts: of each body, as it is worn in the test.
    train, test: views. clean: those of `test` without the logo.
    backgrounds, held_out: photographs that train, and that are tested.
    offsets: int32 [test views, held-out photographs], columns of the body's picture.
  """

  mask: np.ndarray
  bodies: tuple[Body, ...]
  n_trained: int
  n_textures: int
  charts: tuple[Chart, ...]
  train: Views
  test: Views
  clean: Views
  backgrounds: Photographs
  held_out: Photographs
  offsets: np.ndarray


def read_inputs(recipe: Recipe) -> Inputs:
  """Reads bodies and photographs and rasterizes all views.

  Raises:
    FileNotFoundError, ValueError: missing or unusable data; a logo that lies off a body, or is never seen.
  """
  trained = load_bodies(recipe.bodies.path, recipe.bodies.train)
  known = {body.name for body in trained}
  tested = load_bodies(recipe.bodies.path, recipe.bodies.test)
  bodies = (*trained, *(body for body in tested if body.name not in known))
  mask = shape_mask(recipe.shape, recipe.texture.size)
  charts = tuple(chart_of(recipe, body) for body in bodies)
  backgrounds, held_out = photographs(recipe)
  sides: dict[str, Box | None] = {"surface": None}
  if "picture" in (recipe.train.display, recipe.test.display):
    whole = np.ones_like(mask)  # the patch has the area of the whole logo of the first body
    sides["picture"] = logo_box(_look(recipe, bodies[0], charts[0], whole, 0.0))
  places = {body.name: i for i, body in enumerate(bodies)}
  numbers = [places[body.name] for body in tested]
  n_textures = 1 if recipe.texture.shared else len(trained)

  def views(numbers: Sequence[int], angles: Sequence[float], display: str) -> tuple[Views, Views]:
    return _views(recipe, bodies, charts, numbers, angles, mask, sides[display], n_textures)

  train, _ = views(range(len(trained)), recipe.train.angles, recipe.train.display)
  test, clean = views(numbers, recipe.test.angles, recipe.test.display)
  if not train.weight.any():
    raise ValueError("no view that trains shows the logo: it lies off the bodies, or faces away")
  room = recipe.scene.size - recipe.scene.body
  shape = (len(test.angle), len(held_out.names))
  offsets = np.random.default_rng(0).integers(room + 1, size=shape)  # the same for all methods and seeds
  return Inputs(
    mask,
    bodies,
    len(trained),
    n_textures,
    charts,
    train,
    test,
    clean,
    backgrounds,
    held_out,
    offsets.astype(np.int32),
  )


def chart_of(recipe: Recipe, body: Body) -> Chart:
  """Makes the chart by which a body wears the recipe's logo."""
  try:
    chart = make_chart(recipe.chart, body.mesh, body.landmarks, recipe.place, torso=body.torso)
  except ValueError as error:
    raise ValueError(f"{body.name}: {error}") from error
  if not recipe.texture.shared:
    return storage_order(chart, recipe.texture.size)
  return flat_faces(chart, recipe.texture.size) if recipe.texture.per_face else chart


def _look(recipe: Recipe, body: Body, chart: Chart, mask: np.ndarray, angle: float) -> dict[str, np.ndarray]:
  azimuth = angle + (180.0 if recipe.place.side == "back" else 0.0)
  return look(body, chart, mask, azimuth, size=recipe.scene.body, antialias=recipe.scene.antialias)


def _views(
  recipe: Recipe,
  bodies: Sequence[Body],
  charts: Sequence[Chart],
  numbers: Sequence[int],
  angles: Sequence[float],
  mask: np.ndarray,
  patch: Box | None,
  n_textures: int,
) -> tuple[Views, Views]:
  """Views of some bodies at all angles, with the logo (or a flat patch in this box), and without."""
  found = [_look(recipe, bodies[i], charts[i], mask, angle) for i in numbers for angle in angles]
  if patch is not None:
    found = [with_patch(view, patch, mask, antialias=recipe.scene.antialias) for view in found]
  body = [i for i in numbers for _ in angles]
  angle = [angle for _ in numbers for angle in angles]
  # A body that did not train has no texture of its own: it takes the first one.
  texture = [i if i < n_textures else 0 for i in body]
  return (
    stack_views(found, body=body, angle=angle, texture=texture),
    stack_views([bare(view) for view in found], body=body, angle=angle),
  )


def photographs(recipe: Recipe) -> tuple[Photographs, Photographs]:
  """Reads the photographs that train, and those that are tested, cut to squares.

  Which is which depends on their names alone (by sha256): more of the ones does not change the others.

  Raises:
    FileNotFoundError: no folder.
    ValueError: too few photographs.
  """
  root = data_dir()
  if not recipe.backgrounds.path and (root is None or not (root / PHOTOGRAPHS).is_dir()):
    raise FileNotFoundError(
      f"no photographs: put a folder {PHOTOGRAPHS} under $VITA_DATA_DIR, or give photographs without people"
      " as --config.backgrounds.path=FOLDER"
    )
  folder = ImageFolder(recipe.backgrounds.path or Path(str(root)) / PHOTOGRAPHS)
  out = {f"{start}{name}.webp" for start, names in LEFT_OUT.items() for name in names.split()}
  known = () if recipe.backgrounds.path else out
  order = sorted(set(folder.paths) - set(known), key=_by_hash)
  n_train, n_test = recipe.backgrounds.train, recipe.backgrounds.test
  if n_train + n_test > len(order):
    raise ValueError(
      f"{folder.root} has {len(order)} photographs: config.backgrounds.train + test is {n_train + n_test},"
      " lower them"
    )
  places = {name: i for i, name in enumerate(folder.paths)}

  def read(names: Sequence[str]) -> Photographs:
    pictures = [augment.square(folder[places[name]]["image"], size=recipe.scene.size) for name in names]
    return Photographs(tuple(names), np.stack(pictures))

  trained, held_out = read(order[:n_train]), read(order[::-1][:n_test])
  for i, j in twins(list(trained.pictures), list(held_out.pictures))[:1]:
    raise ValueError(
      f"{trained.names[i]} and {held_out.names[j]} are one photograph, which would train and be tested:"
      " remove one of them"
    )
  return trained, held_out


def _by_hash(name: str) -> bytes:
  return hashlib.sha256(name.encode()).digest()
