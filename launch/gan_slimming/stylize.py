"""Stylises a folder of pictures of any size by an exported generator, in tiles where they are large.

  python launch/gan_slimming/stylize.py --model=runs/gs8/export --in=photos --out=cartoons
  python launch/gan_slimming/stylize.py --model=runs/gs8/export --int8 --in=photos --out=cartoons
  python launch/gan_slimming/stylize.py --model=latest_net_G.safetensors --in=horses --out=zebras

--model is the folder that launch/export.py wrote, a CycleGAN generator trained in torch as safetensors, or an
ONNX file (extra [onnx]). Each picture becomes OUT/NAME.png, folders in the folder and names kept. For a film:
`ffmpeg -i film.mp4 frames/%05d.png`, this script, `ffmpeg -framerate 25 -i out/%05d.png out.mp4`.

Pictures that are in OUT already are left, so that a run that was interrupted goes on, unless --overwrite is
given. Grey pictures are taken as RGB, transparent places as white, and of an animation its first frame. What
cannot be read is named and left out, and the exit code is 1. A picture of at most --largest pixels goes
through the network at once, and memory grows with its pixels. A larger one is cut into tiles, blended where
they overlap: each has statistics of its own in the instance norms, so tones may differ from tile to tile.
"""

from __future__ import annotations

import io
import time
from collections import Counter
from pathlib import Path

import numpy as np
from absl import flags

from vita_jax import cli
from vita_jax.base.files import write_bytes
from vita_jax.data.files_image import SUFFIXES, read_image
from vita_jax.data.tiles import through_tiles
from vita_jax.train.display import open_display

MODEL = flags.DEFINE_string("model", None, "Folder of an export, or a file, see above.", required=True)
IN = flags.DEFINE_string("in", None, "Folder of pictures, or of folders of pictures.", required=True)
OUT = flags.DEFINE_string("out", None, "Folder to write; made if it is not there.", required=True)
INT8 = flags.DEFINE_bool("int8", False, "Run the program of integers that the export has, too.")
LARGEST = flags.DEFINE_integer("largest", 1_000_000, "Pixels that go through at once.", lower_bound=0)
TILE = flags.DEFINE_integer("tile", 512, "Side of a tile, a multiple of 4.", lower_bound=16)
OVERLAP = flags.DEFINE_integer("overlap", 128, "Pixels that neighbouring tiles share.", lower_bound=0)
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace pictures that are in OUT already.")


def main() -> None:
  folder, out = Path(IN.value).expanduser(), Path(OUT.value).expanduser()
  targets = _targets(folder, out)
  left = {} if OVERWRITE.value else {p: t for p, t in targets.items() if t.exists()}
  wanted = [path for path in targets if path not in left]

  from vita_jax.nn.picture_programs import load_pictures  # imports jax, after the folders are seen

  model = load_pictures(MODEL.value, int8=INT8.value)
  display, notes, unread = open_display(), Counter[str](), list[str]()
  start = time.perf_counter()
  display.begin("stylize", 0, len(wanted))
  try:
    for i, path in enumerate(wanted):
      try:
        picture = read_image(path)
      except (ValueError, OSError) as error:
        unread.append(path.relative_to(folder).as_posix())
        display.line(f"warning: {error}")
        continue
      notes.update(_noted(path))
      _write(targets[path], stylized(model, picture, str(path)))
      display.update("stylize", i + 1, len(wanted), {"seconds": time.perf_counter() - start})
  finally:
    display.close()
  for what, count in notes.items():
    print(f"{count} of the pictures {what}")
  more = f"; {len(left)} were there already and are left (--overwrite replaces them)" if left else ""
  seconds = (time.perf_counter() - start) / max(len(wanted), 1)
  print(f"{out}: {len(wanted) - len(unread)} pictures, {seconds:.2f} s each{more}")
  if unread:
    named = ", ".join(unread[:5]) + (", ..." if len(unread) > 5 else "")
    raise ValueError(f"{len(unread)} of {len(targets)} pictures cannot be read and were left out: {named}")


def stylized(model, picture: np.ndarray, name: str) -> np.ndarray:
  """Returns the picture uint8 [h, w, 3] that the model makes of one.

  Raises:
    ValueError: the model gives numbers that are not finite, or the tiles do not fit together.
  """
  found = through_tiles(
    model,
    picture.astype(np.float32) / 127.5 - 1,
    tile=TILE.value,
    overlap=OVERLAP.value,
    largest=LARGEST.value,
  )
  if not np.isfinite(found).all():
    raise ValueError(f"the model gives numbers that are not finite for {name}: its training diverged")
  return np.clip(np.round((found + 1) * 127.5), 0, 255).astype(np.uint8)


def _targets(folder: Path, out: Path) -> dict[Path, Path]:
  """Picture -> file to write, sorted by name."""
  if not folder.is_dir():
    raise FileNotFoundError(f"no folder {folder}: --in takes a folder of pictures")
  if out.resolve().is_relative_to(folder.resolve()):
    raise ValueError(f"--out={out} is in --in={folder}: its pictures would be pictures of the next run")
  paths = [p for p in folder.rglob("*") if p.name.lower().endswith(SUFFIXES) and p.is_file()]
  paths = sorted(p for p in paths if not any(n.startswith(".") for n in p.relative_to(folder).parts))
  if not paths:
    raise ValueError(f"{folder} has no pictures: they end in {', '.join(SUFFIXES)}")
  targets = {path: (out / path.relative_to(folder)).with_suffix(".png") for path in paths}
  owner: dict[Path, Path] = {}
  for path, target in targets.items():
    if target in owner:
      raise ValueError(f"{owner[target]} and {path} would both become {target}: rename one of them")
    owner[target] = path
  return targets


def _noted(path: Path) -> list[str]:
  """What is said of a picture that is not plain RGB."""
  from PIL import Image

  with Image.open(path) as image:
    found = ["are grey, taken as RGB"] if image.mode[0] in "1L" or image.mode.startswith("I;16") else []
    found += ["have transparent places, taken as white"] if image.has_transparency_data else []
    found += (
      ["are animations, of which the first frame is taken"] if getattr(image, "n_frames", 1) > 1 else []
    )
    return found


def _write(path: Path, picture: np.ndarray) -> None:
  from PIL import Image

  content = io.BytesIO()
  Image.fromarray(picture).save(content, "PNG")
  path.parent.mkdir(parents=True, exist_ok=True)
  write_bytes(path, content.getvalue())


if __name__ == "__main__":
  cli.run(main)
