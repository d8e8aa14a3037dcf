"""Where the weights of a detector are, and whether they fit it.

In this order: the folder that the caller names; what ships with the package; what
`launch/prepare_data.py --dataset=detectors/NAME` wrote; the published files under $VITA_DATA_DIR.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from vita_jax.base.files import write_bytes
from vita_jax.data.files import read_safetensors
from vita_jax.data.op_graph import Convolution
from vita_jax.data.sources import SOURCES, missing, source_files
from vita_jax.data.tfds_files import tfds_dir

FILE = "params.safetensors"
Read = Callable[[Path], dict[str, Any]]  # the published file -> parameters


def source_name(name: str) -> str:
  """Returns the name of a detector in `SOURCES`, and as a data set of launch/prepare_data.py."""
  return f"detectors/{name}"


def prepared_folder(name: str) -> Path:
  """Returns where launch/prepare_data.py writes the weights of a detector."""
  return tfds_dir() / "detectors" / name


def find(name: str, folder: str | os.PathLike | None, published: str, read: Read) -> dict[str, Any]:
  """Returns the parameters of a detector as they are stored: a dict, nested or with '/'-joined names.

  Args:
    name: of the detector.
    folder: where to look, or the file itself; None: the places of this module's docstring.
    published: name of the published file.
    read: reads it.

  Raises:
    FileNotFoundError: there are none.
    ValueError: a damaged file, or one of another network.
  """
  if folder is not None:
    return _in_folder(name, Path(folder).expanduser(), published, read)
  if name in SOURCES and (files := source_files(name)):
    return read_safetensors(*files.values())
  if (prepared := prepared_folder(name) / FILE).is_file():
    return read_safetensors(prepared)
  return read(published_file(name, published))


def published_file(name: str, published: str) -> Path:
  """Finds and checks the published files of a detector under $VITA_DATA_DIR; returns the one that is read.

  Raises:
    FileNotFoundError: one is not there, or they cannot be: YOLO's are recorded nowhere.
    ValueError: one that is not the recorded one.
  """
  source = source_name(name)
  if source not in SOURCES:
    raise FileNotFoundError(f"no weights of {name} come with the package: load('{name}', '.../{published}')")
  files = source_files(source)
  if files is None:
    raise FileNotFoundError(
      f"no weights of {name}: there is {missing(source)}; put it there, or run launch/prepare_data.py"
      f" --dataset={source} where it is"
    )
  return next(path for path in files.values() if path.name == published)


def write(params: Mapping[str, Any], folder: Path) -> Path:
  """Writes the parameters to `folder`/params.safetensors, tensors named by their '/'-joined path.

  Weights that are float16 numbers, as published ones are, are stored as such: nothing is rounded.
  """
  from safetensors.numpy import save

  folder.mkdir(parents=True, exist_ok=True)
  tensors = {key: _smallest(x) for key, x in sorted(flatten_dict(params, sep="/").items())}
  write_bytes(folder / FILE, save(tensors))
  return folder


def fitted(name: str, params: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the parameters as float32 on the device, if they are those of the network.

  Args:
    name: of the detector, for the messages.
    params: dict of arrays, nested or with '/'-joined names.
    expected: nested dict of what has a shape.

  Raises:
    ValueError: one is missing, one too many, one of another shape, or one that is not finite.
  """
  found, wanted = flatten_dict(params, sep="/"), flatten_dict(expected, sep="/")
  for key in sorted(wanted.keys() | found.keys()):
    if key not in found or key not in wanted:
      what = "has no" if key in wanted else "has an unknown"
      raise ValueError(f"these weights are not of {name}: the file {what} tensor '{key}'; give another file")
    if found[key].shape != wanted[key].shape:
      raise ValueError(
        f"these weights are not of {name}: '{key}' is {found[key].shape}, not {wanted[key].shape}; give"
        " another file"
      )
    if not np.isfinite(np.asarray(found[key], np.float32)).all():
      raise ValueError(f"the weights of {name} are damaged: '{key}' is not finite; fetch the file again")
  return unflatten_dict({key: jnp.asarray(x, jnp.float32) for key, x in found.items()}, sep="/")


def _in_folder(name: str, place: Path, published: str, read: Read) -> dict[str, Any]:
  if place.is_file():
    return read_safetensors(place) if place.suffix == ".safetensors" else read(place)
  readers = ((FILE, read_safetensors), (f"{name}.safetensors", read_safetensors), (published, read))
  for file, reader in readers:
    if (place / file).is_file():
      return reader(place / file)
  what = f"no {FILE} and no {published} in {place}" if place.is_dir() else f"no folder {place}"
  raise FileNotFoundError(f"no weights of {name}: there is {what}")


def _smallest(x: Any) -> np.ndarray:
  x = np.ascontiguousarray(x)
  with np.errstate(over="ignore"):
    half = x.astype(np.float16)
  return half if np.array_equal(half.astype(x.dtype), x) else x


def nested(layers: Mapping[str, Convolution]) -> dict[str, Any]:
  """Turns '/'-joined names of layers -> convolutions into a nested dict of parameters."""
  flat = {}
  for name, layer in layers.items():
    flat[f"{name}/kernel"] = layer.kernel
    if layer.bias is not None:
      flat[f"{name}/bias"] = layer.bias
  return unflatten_dict(flat, sep="/")


def shapes_of(module: Any, size: int) -> dict[str, Any]:
  """Returns the shapes of a module's parameters for an image [1, size, size, 3], without computing any."""
  image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
  return jax.eval_shape(module.init, jax.random.key(0), image)["params"]
