"""The settings of adversarial logos: every key with its rule and meaning, the methods, what a run reads."""

from __future__ import annotations

from typing import Any, NamedTuple

import ml_collections

from vita_jax import base
from vita_jax.base.keys import Key, Rule, above, any_path, at_least, between, boolean, each, one_of
from vita_jax.papers.adv_logo.charts import CHARTS, SIDES, Place
from vita_jax.papers.adv_logo.model import STARTS, Disturbance
from vita_jax.papers.adv_logo.shapes import SHAPES
from vita_jax.train.config import KEYS as SHARED

DISPLAYS = ("surface", "picture")
# What a method changes of the full recipe.
METHODS: dict[str, dict[str, Any]] = {
  "logo": {},
  "patch2d": {"train.display": "picture", "test.display": "picture"},
  "patch2d_as_texture": {"train.display": "picture", "train.range": 0.0},
  "conventional": {"texture.shared": False},
  "hard": {"texture.per_face": True, "scene.antialias": 1},
  "single_angle": {"train.range": 0.0},
  "noise": {"texture.start": "noise", "train.steps": 0},
  "grey": {"texture.start": "grey", "train.steps": 0},
}


def _is_shape(value: Any) -> bool:
  return isinstance(value, str) and (value in SHAPES or value.lower().endswith(".png"))


_SHAPE = Rule(f"one of {', '.join(SHAPES)}, or the path of a PNG file", _is_shape)
_NAMES = each("names", lambda name: isinstance(name, str) and name != "")
_ANGLES = each("angles in degrees, from -180 to 180, at least one", between(-180, 180).holds, least=1)
_ODD = Rule("an odd number, at least 1", lambda v: at_least(1).holds(v) and v % 2 == 1)

KEYS = (
  Key("method", "logo", one_of(*METHODS), "What is compared; give it as the config's argument."),
  Key("bodies.path", "", any_path, "Folder of meshes; mannequin: generated; empty: those of VITA_DATA_DIR."),
  Key("bodies.train", (), _NAMES, "Bodies that train; empty: all."),
  Key("bodies.test", (), _NAMES, "Bodies that are tested; empty: all."),
  Key("backgrounds.path", "", any_path, "Folder of photographs; empty: those of VITA_DATA_DIR."),
  Key("backgrounds.train", 150, at_least(1), "Photographs that train, and that calibrate thresholds."),
  Key("backgrounds.test", 20, at_least(1), "Photographs that are tested, none of which trains."),
  Key("shape", "H", _SHAPE, "What is printed of the rectangle, or a PNG file of one's own."),
  Key("place.chart", "planar", one_of(*CHARTS), "How the texture lies on the body."),
  Key("place.side", "front", one_of(*SIDES), "Chest or back; angles count from there."),
  Key("place.width", 1.0, above(0), "Width of a planar logo, in distances between the shoulders."),
  Key("place.height", 0.9, above(0), "Height of the logo, in distances from hips to neck."),
  Key("place.drop", 0.06, at_least(0), "From the neck to the logo's upper edge, in the same unit."),
  Key("place.span", 150.0, between(1, 359), "Degrees around the body of a cylindrical logo."),
  Key("texture.height", 150, at_least(8), "Texels."),
  Key("texture.width", 100, at_least(8), "Texels."),
  Key("texture.start", "grey", one_of(*STARTS), "Before training: 0.5 everywhere, or uniform noise."),
  Key("texture.shared", True, boolean, "One texture for all bodies; False: one each, in storage order."),
  Key("texture.per_face", False, boolean, "Each face shows one texel, as released; False: bilinear."),
  Key("texture.median", 7, _ODD, "Side of the median filter before every look, in texels; 1: none."),
  Key("texture.contrast", 0.2, between(0, 1), "Training multiplies the texture by 1 plus or minus so much."),
  Key("texture.brightness", 0.1, between(0, 1), "Training adds a number of this size at most."),
  Key("texture.noise", 0.1, between(0, 1), "Training adds noise of this size at most to each texel."),
  Key("scene.size", 416, at_least(16), "Side of the photograph, in pixels."),
  Key("scene.body", 256, at_least(8), "Side of the body's picture in it, in pixels."),
  Key("scene.antialias", 2, between(1, 4), "n: each pixel averages n x n samples."),
  Key("detectors.train", ("nanodet",), _NAMES, "Detectors that train the logo, their losses averaged."),
  Key("detectors.test", ("nanodet",), _NAMES, "Detectors that it is tested on; the first one leads."),
  Key("train.display", "surface", one_of(*DISPLAYS), "On the body, or at a fixed place of the picture."),
  Key("train.range", 10.0, between(0, 180), "R: training sees the angles from -R to R degrees."),
  Key("train.every", 1.0, above(0), "Degrees between two of these angles."),
  Key("train.steps", 300, at_least(0), "Steps of Adam; 0: the texture stays as it starts."),
  Key("train.pictures", 2, at_least(1), "Pictures in a step, each with a body, angle and place of its own."),
  Key("train.learning_rate", 0.03, at_least(0), "Of Adam with AMSGrad; a cosine takes it to a tenth."),
  Key("loss.smoothness", 2.5, at_least(0), "Weight of the total variation of the rendered logo."),
  Key("loss.floor", 0.1, at_least(0), "Below this the weighted total variation is not reduced further."),
  Key("loss.printability", 0.0, at_least(0), "Weight of the distance to printable colours; released: off."),
  Key("test.display", "surface", one_of(*DISPLAYS), "As train.display, in the test."),
  Key(
    "test.angles",
    (-45.0, -30.0, -20.0, -10.0, -5.0, 0.0, 5.0, 10.0, 20.0, 30.0, 45.0),
    _ANGLES,
    "Angles that are tested, in degrees.",
  ),
  Key("test.false_alarms", 0.05, between(0, 1), "Share of photographs without people that may alarm."),
  Key("test.jpeg", 0, between(0, 100), "JPEG quality of the tested pictures; 0: none."),
  Key("test.blur", 0.0, at_least(0), "Standard deviation of a Gaussian blur of them, in pixels."),
  Key("test.brightness", 0.0, between(-1, 1), "Added to them."),
)


class Source(NamedTuple):
  """Keys `bodies.*`, whose `train` and `test` are names, or `backgrounds.*`, whose are numbers."""

  path: str
  train: Any
  test: Any


class Texture(NamedTuple):
  """Keys `texture.*`; `size` is (height, width), `disturbance` the ranges of the augmentation."""

  size: tuple[int, int]
  start: str
  shared: bool
  per_face: bool
  median: int
  disturbance: Disturbance


class Scene(NamedTuple):
  """Keys `scene.*`."""

  size: int
  body: int
  antialias: int


class Train(NamedTuple):
  """Keys `train.*`; `angles` are those between -range and range."""

  display: str
  angles: tuple[float, ...]
  steps: int
  pictures: int
  learning_rate: float


class Loss(NamedTuple):
  """Keys `loss.*`."""

  smoothness: float
  floor: float
  printability: float


class Trial(NamedTuple):
  """Keys `test.*`."""

  display: str
  angles: tuple[float, ...]
  false_alarms: float
  jpeg: int
  blur: float
  brightness: float


class Recipe(NamedTuple):
  """The settings of a run, checked and resolved; `KEYS` says what each one means."""

  method: str
  bodies: Source
  backgrounds: Source
  shape: str
  chart: str
  place: Place
  texture: Texture
  scene: Scene
  detectors_train: tuple[str, ...]
  detectors_test: tuple[str, ...]
  train: Train
  loss: Loss
  test: Trial


def default_config(method: str = "logo") -> ml_collections.ConfigDict:
  """Returns the settings of one method, on the bodies and photographs of VITA_DATA_DIR.

  Raises:
    ValueError: an unknown method.
  """
  method = base.choose("method", method or "logo", METHODS)
  config = base.defaults(SHARED, KEYS)
  config.update({"paper": "adv_logo", "method": method, "log_every": 50})
  config.bodies.train = ("male_average", "female_average")
  config.bodies.test = ("male_average", "female_average", "male_heavy")
  config.update_from_flattened_dict(METHODS[method])
  return config


def check(config: Any) -> None:
  """Checks a config: every key by its rule, and what keys ask of each other.

  Raises:
    ValueError: one line that names the key and what it must be.
  """
  base.check(config, SHARED, KEYS)
  if config.scene.body > config.scene.size:
    raise ValueError(
      f"config.scene.body is {config.scene.body}: it must fit into config.scene.size, {config.scene.size}"
    )
  if config.train.steps and config.train.pictures > config.backgrounds.train:
    raise ValueError(
      f"config.train.pictures is {config.train.pictures}: more than the {config.backgrounds.train}"
      " photographs that train"
    )
  if not config.texture.shared and "picture" in (config.train.display, config.test.display):
    raise ValueError("config.texture.shared=False is of logos on bodies: a flat patch is the same for all")
  for key in ("train", "test"):
    if not config.detectors[key]:
      raise ValueError(f"config.detectors.{key} is empty: name at least one detector")
  if "hog" in config.detectors.train:
    raise ValueError(
      "config.detectors.train has hog, which has no gradient: it can only be in detectors.test"
    )
  if config.texture.median > 2 * min(config.texture.height, config.texture.width) - 1:
    raise ValueError(f"config.texture.median is {config.texture.median}: larger than the texture")
  base.check_preset(config, "method", METHODS)


def recipe_of(config: Any) -> Recipe:
  """Checks a config and returns the recipe that it resolves to.

  Raises:
    ValueError: see `check`.
  """
  check(config)
  place = {name: value for name, value in config.place.items() if name != "chart"}
  ranges = {name: config.texture[name] for name in Disturbance._fields}
  texture = config.texture
  return Recipe(
    method=config.method,
    bodies=Source(config.bodies.path, tuple(config.bodies.train), tuple(config.bodies.test)),
    backgrounds=Source(**config.backgrounds),
    shape=config.shape,
    chart=config.place.chart,
    place=Place(**place),
    texture=Texture(
      (texture.height, texture.width),
      texture.start,
      texture.shared,
      texture.per_face,
      texture.median,
      Disturbance(**ranges),
    ),
    scene=Scene(**config.scene),
    detectors_train=tuple(config.detectors.train),
    detectors_test=tuple(config.detectors.test),
    train=Train(
      config.train.display,
      angles_between(config.train.range, config.train.every),
      config.train.steps,
      config.train.pictures,
      config.train.learning_rate,
    ),
    loss=Loss(**config.loss),
    test=Trial(**{**config.test, "angles": tuple(float(angle) for angle in config.test.angles)}),
  )


def angles_between(reach: float, every: float) -> tuple[float, ...]:
  """Returns the angles -reach .. reach, `every` degrees apart and symmetrical around 0.

  Examples:
    >>> angles_between(10.0, 5.0)
    (-10.0, -5.0, 0.0, 5.0, 10.0)
  """
  n = int(reach / every + 1e-9)
  return tuple(every * i for i in range(-n, n + 1))
