"""A small scene that needs no file: a mannequin, painted photographs, and a detector of bright torsos."""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from vita_jax.nn.detectors import Detector
from vita_jax.papers import adv_logo
from vita_jax.papers.adv_logo.recipe import default_config

SIDE, BODY = 64, 48


def _grid(images):
  """Brightness of blocks of 8 x 8 pixels, every 4: [n, places], and the places' centres [places, 2]."""
  grey = jnp.mean(images, axis=-1)
  total = jax.lax.reduce_window(grey, 0.0, jax.lax.add, (1, 8, 8), (1, 4, 4), "VALID")
  rows, columns = np.mgrid[: total.shape[1], : total.shape[2]].reshape(2, -1)
  return total.reshape(images.shape[0], -1) / 64, np.stack([columns, rows], axis=-1) * 4.0 + 4.0


def scores(variables, images):
  """Sure of a person where it is as bright as a shirt."""
  return jax.nn.sigmoid(variables["scale"] * (_grid(images)[0] - 0.5))


def detect(variables, images):
  """Boxes of a body's size whose chest is at the place."""
  places = _grid(images)[1]
  corners = np.concatenate([places - (12, 16), places + (12, 32)], axis=-1)
  boxes = jnp.broadcast_to(jnp.asarray(corners, jnp.float32), (images.shape[0], *corners.shape))
  return scores(variables, images), boxes


def load(name):
  """The detector, under any name."""
  return Detector(name, SIDE, {"scale": np.float32(8.0)}, scores, detect)


def photographs(folder, n=8):
  """Paints dark pictures of unlike sizes; returns the folder."""
  folder.mkdir(exist_ok=True)
  rng = np.random.default_rng(0)
  for i in range(n):
    coarse = rng.integers(0, 90, (6, 8 + i % 3, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((90 + i, 70), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
  return folder


def config(folder, method="logo", **overrides):
  """A config of seconds, whose photographs are painted into `folder`/photographs."""
  found = default_config(method)
  found.bodies.update({"path": "mannequin", "train": ("mannequin",), "test": ()})
  found.backgrounds.update({"path": str(photographs(folder / "photographs")), "train": 5, "test": 3})
  found.scene.update({"size": SIDE, "body": BODY})
  found.texture.update({"height": 24, "width": 16, "median": 3})
  found.detectors.update({"train": ("bright",), "test": ("bright",)})
  found.train.update({"range": 10.0 if found.train.range else 0.0, "every": 10.0})
  found.test.angles, found.log_every = (-20.0, 0.0, 10.0), 5
  if found.train.steps:
    found.train.steps = 16
  found.update_from_flattened_dict(overrides)
  return found


def build(config):
  """The experiment with the detector of bright torsos."""
  return adv_logo.build(config, load=load)
