"""The steps of GAN Slimming that `make gpu` times: slimming with all of it, and stylising pictures."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from benchmarks.one_step import Step
from vita_jax.papers.gan_slimming import build, default_config
from vita_jax.train.mesh import make_mesh
from vita_jax.train.programs import make_programs

CROP, PICTURES = 64, 8  # of the small configs, and pictures in a step
SMALL = {"generator.base": 24, "generator.blocks": 4, "discriminator.width": 16, "data.crop": CROP}
# A step of each kind: method, changes.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
  "gs8": ("gs8", {}),
  "gs32": ("gs32", {}),
  "without gates": ("gs32", {"objective.prune": False, "channels": "all"}),
}


def steps(*, small: bool) -> list[Step]:
  """Returns the steps; `small`: the generator of the small configs, for a CPU, else the paper's."""
  options = SMALL if small else {"data.crop": 256, "data.side": 286}
  title = "base 24, 4 blocks, 8 x 64^2" if small else "the paper's networks, 8 x 256^2"
  found = [
    Step(f"gan_slimming {kind}, {title}", functools.partial(slimming, kind, options))
    for kind in ("gs8", "gs32")
  ]
  base, blocks = (24, 4) if small else (64, 9)
  make = functools.partial(stylising, base, blocks, native=not small)
  return [*found, Step(f"gan_slimming, stylising a picture of 256^2, base {base}", make)]


def slimming(kind: str, options: dict[str, Any]) -> tuple:
  """Makes (step, state, batch) of the slimming stage, on pairs of noise."""
  with tempfile.TemporaryDirectory() as folder:
    for name in ("source", "target"):
      (Path(folder) / name).mkdir()
      for i in range(PICTURES + 1):
        noise = np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(Path(folder) / name / f"{i}.png")
    method, changes = KINDS[kind]
    config = default_config(method)
    own: dict[str, Any] = {
      "data.style": "pairs",
      "data.source": f"{folder}/source",
      "data.target": f"{folder}/target",
    }
    own |= {"data.held_out": 1, "finetune.batch": PICTURES}
    config.update_from_flattened_dict({**own, **options, **changes})
    experiment = build(config)
  _, stage, *_ = experiment.stages
  programs = make_programs(experiment, make_mesh(config.mesh), on_nonfinite="stop")
  state = programs.enter(stage, programs.init(programs.place(np.uint32(0))))
  batch = {key: pictures(config.data.crop, seed) for seed, key in enumerate(("image", "target"))}
  return stage.step, state, batch


def pictures(side: int, seed: int) -> np.ndarray:
  """Returns noise, uint8 [8, side, side, 3]."""
  return np.random.default_rng(seed).integers(0, 256, (PICTURES, side, side, 3), dtype=np.uint8)


def stylising(base: int, blocks: int, *, native: bool) -> tuple:
  """Makes a step that turns a picture of 256 x 256 into the next one's input."""
  from vita_jax.nn.gan import ResnetGenerator, resnet_widths

  form = "native" if native else "top"
  generator = ResnetGenerator(resnet_widths(base, blocks), form=form)
  image = np.zeros((1, 256, 256, 3), np.float32)
  params = generator.init(jax.random.key(0), image)["params"]

  def step(state: dict[str, Any], batch: Any, t: jax.Array) -> tuple[dict[str, Any], dict]:
    del batch, t
    return {**state, "image": generator.apply({"params": state["params"]}, state["image"])}, {}

  return step, {"params": params, "image": image}, {}
