"""Functions of pictures, loaded from what they were exported as: programs, CycleGAN weights, ONNX files.

a folder that launch/export.py wrote     its program.jax and params.safetensors; with int8 the program of
(or the run's workdir)                   integers, program_int8.jax and int8.safetensors
FILE.safetensors                         a CycleGAN generator trained in torch, see `vita_jax.nn.gan_files`
FILE.onnx                                run by onnxruntime, e.g. model.onnx or model_int8.onnx
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vita_jax.data.files import cause, existing, read_safetensors
from vita_jax.nn.gan_files import load_cyclegan

FLOAT = ("program.jax", "params.safetensors")
INT8 = ("program_int8.jax", "int8.safetensors")
ENDINGS = (".safetensors", ".onnx")

Pictures = Callable[[np.ndarray], np.ndarray]


def load_pictures(path: str | os.PathLike, *, int8: bool = False) -> Pictures:
  """Loads a function from images float32 [n, h, w, 3] in [-1, 1] to the same; it compiles once per shape.

  Args:
    path: a folder or a file, see the module.
    int8: of a folder, the program of integers.

  Raises:
    FileNotFoundError: no such file or folder, or it lacks what is asked for.
    ValueError: a file that is damaged, of another kind, or that does not fit the one beside it; int8 of a
      file.
    ImportError: an ONNX file without onnxruntime.
  """
  place = Path(path).expanduser()
  if place.is_dir():
    program, weights = _in_folder(place, INT8 if int8 else FLOAT)
    return from_program(program, weights)
  existing(place)
  if int8:
    raise ValueError(f"int8 needs the folder of an export, and {place} is a file: name the int8 file itself")
  if place.name in FLOAT:
    return from_program(*_in_folder(place.parent, FLOAT))
  if place.suffix == ".safetensors":
    return from_cyclegan_file(place)
  if place.suffix == ".onnx":
    return open_onnx(place, threads=0, channels=3)
  raise ValueError(f"{place} is no model: give the folder of an export, or a file {' or '.join(ENDINGS)}")


def from_program(program: Path, weights: Path) -> Pictures:
  """Loads a program (weights by name, images or {name: images}) -> pictures or {"picture": pictures}."""
  try:
    exported = jax.export.deserialize(bytearray(program.read_bytes()))
    (own, inputs), _ = jax.tree.unflatten(exported.in_tree, exported.in_avals)
    (images, *more) = jax.tree.leaves(inputs)
  except Exception as error:  # flatbuffers and jax raise many types on damaged files
    raise ValueError(f"{program} is not an exported program of pictures ({type(error).__name__})") from error
  if more or len(images.shape) != 4 or images.shape[-1] != 3:
    raise ValueError(f"{program} is a program of {inputs}, not of pictures")
  if any(isinstance(side, int) for side in images.shape[1:3]):
    raise ValueError(f"{program} takes images of {images.shape[1:3]} only: export it with an open size")
  params = read_safetensors(weights)
  found, wanted = ({k: (tuple(x.shape), str(x.dtype)) for k, x in p.items()} for p in (params, own))
  if found != wanted:
    odd = next(k for k in sorted(found | wanted) if found.get(k) != wanted.get(k))
    raise ValueError(f"{weights} does not fit {program.name}: '{odd}' is not the same in both; export again")
  names = list(inputs) if isinstance(inputs, dict) else []

  def call(params: Any, images: jax.Array) -> jax.Array:
    found = exported.call(params, {names[0]: images} if names else images)
    return found["picture"] if isinstance(found, dict) else found

  return _compiled(call, params)


def from_cyclegan_file(path: Path) -> Pictures:
  """Loads torch's weights of a CycleGAN generator."""
  generator, params = load_cyclegan(path)
  generator = generator.clone(form="top")

  def call(params: Any, images: jax.Array) -> Any:
    return generator.apply({"params": params}, images)

  return _compiled(call, params)


def open_onnx(path: str | os.PathLike, *, threads: int = 1, channels: int | None = None) -> Pictures:
  """Opens an ONNX file of pictures [n, c, h, w] -> the same, in onnxruntime on the CPU.

  Args:
    path: e.g. a file of `vita_jax.compress.write_onnx`.
    threads: of onnxruntime; 0: one for each core.
    channels: that its pictures must have; None: any number.

  Returns:
    images [n, h, w, c] -> pictures, the same layout, float32.

  Raises:
    ImportError: onnxruntime is not installed.
    FileNotFoundError: no such file.
    ValueError: it is not an ONNX file that onnxruntime reads, or not of such pictures.
  """
  try:
    import onnxruntime
  except ImportError as error:
    raise ImportError(f"{path} needs the package onnxruntime: pip install 'vita_jax[onnx]'") from error
  place, options = existing(path), onnxruntime.SessionOptions()
  options.intra_op_num_threads = threads
  try:
    session = onnxruntime.InferenceSession(str(place), options, providers=["CPUExecutionProvider"])
  except Exception as error:  # onnxruntime raises types of its own
    raise ValueError(f"{place} is not an ONNX file that onnxruntime reads: {cause(error)}") from error
  taken, given = session.get_inputs(), session.get_outputs()
  fits = [len(x.shape) == 4 and channels in (None, x.shape[1]) and x.type == "tensor(float)" for x in taken]
  if len(given) != 1 or fits != [True]:
    found = ", ".join(f"'{x.name}' {x.shape} {x.type}" for x in taken)
    raise ValueError(
      f"{place} takes {found} and gives {len(given)} arrays: it must take float32 pictures"
      f" [n, {channels or 'c'}, h, w] and give one array"
    )

  def call(images: np.ndarray) -> np.ndarray:
    pixels = np.ascontiguousarray(np.moveaxis(np.asarray(images, np.float32), -1, 1))
    (pictures,) = session.run([given[0].name], {taken[0].name: pixels})
    return np.moveaxis(pictures, 1, -1)

  return call


def _in_folder(folder: Path, names: tuple[str, str]) -> tuple[Path, Path]:
  """The two files, of an export or of the run it belongs to."""
  for place in (folder, folder / "export"):
    if all((place / name).is_file() for name in names):
      return place / names[0], place / names[1]
  raise FileNotFoundError(
    f"{folder} has no {' and '.join(names)}: python launch/export.py --workdir=RUN writes them"
  )


def _compiled(program: Callable[[Any, jax.Array], Any], params: Any) -> Pictures:
  compiled, on_device = jax.jit(program), jax.device_put(params)

  def call(images: np.ndarray) -> np.ndarray:
    return np.asarray(compiled(on_device, np.asarray(images, np.float32)))

  return call
