"""Compares the page with launch/gan_slimming/stylize.py.

  python launch/gan_slimming/demo/check.py [EXPORT [PICTURE]]

Without the folder of an export it makes a small random generator, without a picture one of colour gradients.
Needs the extra [onnx], Chromium ($CHROMIUM or /usr/bin/chromium), and `npm ci` in this folder;
`make demo-browser` does all but Chromium.

Pictures of the float model may differ by 2 of 255. An int8 network rounds its activations to levels, and
runtimes round norms unlike: a value near the middle of two levels goes to the other one, and so do values of
later layers. How far that goes is the network's own, so it is measured: the page may be as far from
stylize.py as the network's picture moves where its input does by 1e-6, and 2 more.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
STYLIZE = HERE.parent / "stylize.py"
ALLOWED = 2  # of 255
FLOAT_ONNX, INT8_ONNX = MODELS = ("model.onnx", "model_int8.onnx")


def main(arguments: list[str]) -> int:
  with tempfile.TemporaryDirectory() as temporary:
    folder = Path(temporary)
    export = Path(arguments[0]) if arguments else random_export(folder / "export")
    pictures = folder / "pictures"
    pictures.mkdir()
    picture = pictures / "picture.png"
    if arguments[1:]:
      copy_picture(Path(arguments[1]), picture)
    else:
      write_picture(picture)
    failed = compared = 0
    for name in MODELS:
      if not (export / name).is_file():
        print(f"skipped: {export} has no {name}")
        continue
      # By jax where it computes the same: program.jax of a quantised network simulates that, model.onnx not.
      integers = "int8" in name and (export / "program_int8.jax").is_file()
      jax_too = integers or not arguments
      flags = [f"--model={export if jax_too else export / name}", *(["--int8"] if integers else [])]
      places = [f"--in={picture.parent}", f"--out={folder / name}"]
      if code := subprocess.run(
        [sys.executable, str(STYLIZE), *flags, *places], env=environment()
      ).returncode:
        return code
      allowed = ALLOWED + (moved_by_rounding(export / name, picture) if "int8" in name else 0)
      files = [str(export / name), str(picture), str(folder / name / "picture.png"), str(allowed)]
      failed |= subprocess.run(["node", str(HERE / "check.mjs"), *files]).returncode
      compared += 1
  if not compared:
    print(f"error: {export} has neither {FLOAT_ONNX} nor {INT8_ONNX}: nothing was compared", file=sys.stderr)
  return failed or int(not compared)


def environment() -> dict[str, str]:
  """Returns the environment in which scripts of a checkout find the package."""
  path = [str(HERE.parents[2]), os.environ.get("PYTHONPATH", "")]
  return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in path if p)}


def moved_by_rounding(model: Path, picture: Path) -> int:
  """Returns by how much of 255 the picture of a model moves, at most, where its input does by about 1e-6."""
  sys.path.insert(0, str(HERE.parents[2]))
  from vita_jax.compress import open_onnx
  from vita_jax.papers.gan_slimming.export import read_picture

  run, rng = open_onnx(model), np.random.default_rng(0)
  image = read_picture(str(picture))["image"]
  noise = 1e-6 * rng.normal(size=(3, *image.shape[1:])).astype(np.float32)
  far = math.ceil(127.5 * float(np.abs(run(image + noise) - run(image)).max()))
  print(f"{model.name}: the input moved by 1e-6 moves the picture by {far} of 255 at most")
  return far


def copy_picture(found: Path, path: Path) -> None:
  """Writes a picture of any kind as a PNG."""
  from PIL import Image

  with Image.open(found) as image:
    image.convert("RGB").save(path)


def write_picture(path: Path) -> None:
  """Writes colour gradients with noise, of odd sides."""
  from PIL import Image

  y, x = np.mgrid[0:101, 0:150] / 150
  noise = np.random.default_rng(0).normal(0, 0.1, (101, 150, 3))
  values = np.stack([x, y, 0.5 + 0.5 * np.sin(20 * x * y)], -1) + noise
  Image.fromarray(np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)).save(path)


def random_export(folder: Path) -> Path:
  """Writes the files of a random generator as an export has them."""
  sys.path.insert(0, str(HERE.parents[2]))
  import jax
  import jax.numpy as jnp

  from vita_jax.compress import Quant, integer_program, write_onnx
  from vita_jax.nn.gan import ResnetGenerator, resnet_widths
  from vita_jax.nn.picture_programs import FLOAT, INT8
  from vita_jax.train.experiment import Exported
  from vita_jax.train.program_file import write_program
  from vita_jax.train.weights import save_params

  generator = ResnetGenerator(resnet_widths(8, 2), form="native")
  params = generator.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))["params"]
  quantised = generator.clone(quant=Quant())
  program, arrays = integer_program(quantised, {"params": params})
  folder.mkdir()

  def floats(params, image):
    return {"picture": generator.apply({"params": params}, image)}

  def integers(arrays, image):
    return {"picture": program(arrays, image)}

  for (file, weights), function, tree in ((FLOAT, floats, params), (INT8, integers, arrays)):
    inputs = {"image": ("n, 4*h + 4, 4*w + 4, 3", "float32")}
    write_program(folder / file, Exported(tree, function, inputs, read=lambda path: {}), platforms=["cpu"])
    save_params(folder / weights, tree)
  write_onnx(folder / FLOAT_ONNX, generator, {"params": params})
  write_onnx(folder / INT8_ONNX, quantised, {"params": params}, kind="qdq")
  return folder


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
