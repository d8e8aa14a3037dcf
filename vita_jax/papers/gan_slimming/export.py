"""What a user takes away: the smaller generator, as float32 and as a real int8 program, JAX and ONNX."""

from __future__ import annotations

import functools
import importlib.util
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from vita_jax.base.files import read_json, write_bytes, write_json
from vita_jax.base.latency import measure_latency
from vita_jax.base.tree import named_leaves
from vita_jax.compress import integer_program, layer_bytes, open_onnx, post_training, write_onnx
from vita_jax.data.files_image import read_image
from vita_jax.data.tiles import continued
from vita_jax.metrics import decibels
from vita_jax.papers.gan_slimming.data import Inputs, in_parts, middles, to_bytes, to_floats
from vita_jax.papers.gan_slimming.model import DISCRIMINATOR, MEASURED, Nets, describe, extracted, macs
from vita_jax.papers.gan_slimming.recipe import Recipe
from vita_jax.train.experiment import Exported, State
from vita_jax.train.weights import save_params

SHAPE = (
  "n, 4*h+4, 4*w+4, 3"  # multiples of 4: pictures are halved twice; from 8 on: their borders are mirrored
)
PLATFORMS = ("cpu", "cuda", "tpu")


def export(recipe: Recipe, nets: Nets, inputs: Inputs, state: State) -> Exported:
  """Exports the extracted network; a quantised one computes its simulation in float32.

  `write` adds the integer arrays and program, and ONNX files where `onnx` is installed.
  """
  small, variables = extracted(nets, state)
  plain = {"form": "top", "dtype": None}  # the CPU's products stand beside convolutions for accelerators
  small, others = small.clone(**plain), {}
  if "teacher" in state:
    others["teacher"] = functools.partial(nets.teacher.clone(**plain).apply, {"params": state["teacher"]})
  else:
    others["discriminator"] = jax.device_get(state["params"]["discriminator"])
  return Exported(
    params=variables["params"],
    program=functools.partial(stylize, small, variables.get("clips")),
    inputs={"image": (SHAPE, "float32")},
    read=read_picture,
    card={
      "inputs": {"image": f"float32 [{SHAPE}], RGB in [-1, 1]: x / 127.5 - 1 of bytes"},
      "outputs": {"picture": "the same shape, in [-1, 1]"},
      "generator": json.loads(describe(small)),
      "trained on": {"method": recipe.method, "style": recipe.data.style, "pictures": inputs.source},
      "macs of 256 x 256": macs(small),
      "macs of 256 x 256, transposed convolutions at their output": macs(small, convention="paper"),
      "share of the teacher's macs": macs(small) / macs(nets.teacher),
      "bytes as float32": layer_bytes(small.layers),
      "bytes as int8": layer_bytes(small.layers, bits=8),
      "bytes of the teacher as float32": layer_bytes(nets.teacher.layers),
    },
    write=functools.partial(write_files, inputs, small, variables, others),
    decode=decode,
  )


def stylize(generator: Any, clips: Any, params: Any, *, image: jax.Array) -> dict[str, jax.Array]:
  """Computes the picture of an image [n, h, w, 3], h and w multiples of 4, in [-1, 1]."""
  variables = {"params": params} if clips is None else {"params": params, "clips": clips}
  return {"picture": generator.apply(variables, image)}


def read_picture(path: str) -> dict[str, np.ndarray]:
  """Reads a picture as `image` float32 [1, h, w, 3]; see `data.tiles.continued`."""
  return {"image": to_floats(continued(read_image(path)))[None]}


def decode(path: str, outputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Returns `rgb` uint8 [h, w, 3], of the size of the picture at `path`."""
  height, width = read_image(path).shape[:2]
  return {"rgb": to_bytes(outputs["picture"][0])[:height, :width]}


def write_files(
  inputs: Inputs, small: Any, variables: Mapping[str, Any], others: Mapping[str, Any], folder: Path
) -> None:
  """Writes int8.safetensors, program_int8.jax and ONNX files, and measures each into card.json.

  model.onnx is in float32 (also of a network that was trained with 8 bits), model_int8.onnx for any runtime,
  model_integer.onnx integer arithmetic in onnxruntime (see `compress.onnx_files`). Beside them stand the
  quality and latency of the dense teacher, and of each the difference to program.jax, the network as trained.
  Clips of activations are those of training; of a network that was not trained so they are the largest inputs
  on training crops. Without `onnx`, and of 257 levels (`quant.compat`), a warning says what is left out.
  Of a teacher its discriminator is written, too: students begin with it.
  """
  if "discriminator" in others:
    save_params(folder / DISCRIMINATOR, others["discriminator"])
  facts: dict[str, Any] = {"clips": "as trained" if small.quant is not None else "measured on training crops"}
  quantised, complete = small, dict(variables)
  if small.quant is None:
    quantised, complete = post_training(small, variables["params"], [to_floats(middles(inputs))])
  runs: dict[str, Callable[[Any], Any]] = {
    "program.jax": jax.jit(functools.partial(small.apply, dict(variables)))
  }
  if "teacher" in others:
    runs["teacher"] = jax.jit(others["teacher"])
  if quantised.quant.paper_code_compat:
    warnings.warn("no int8 files: config.quant.compat has 257 levels, which no 8 bits hold", stacklevel=2)
  else:
    program, arrays = integer_program(quantised, complete)
    save_params(folder / "int8.safetensors", arrays)
    write_bytes(folder / "program_int8.jax", serialized(program, arrays))
    runs["program_int8.jax"] = jax.jit(functools.partial(program, arrays))
  for name, bytes_ in _onnx_files(folder, small.clone(quant=None), quantised, variables, complete).items():
    facts[f"bytes of {name}"] = bytes_
    if importlib.util.find_spec("onnxruntime") is not None:
      runs[name] = open_onnx(folder / name)
  pictures = {name: in_parts(run, inputs.test["image"]) for name, run in runs.items()}
  far = {name: np.abs(x - pictures["program.jax"]) for name, x in pictures.items()}
  facts["largest and mean difference to program.jax, held out, of [-1, 1]"] = {
    name: [float(x.max()), float(x.mean())] for name, x in far.items() if name != "program.jax"
  }
  if inputs.paired:
    facts["held-out psnr, dB"] = {name: _psnr(x, inputs) for name, x in pictures.items()}
  image = np.zeros((1, MEASURED, MEASURED, 3), np.float32)
  facts["seconds for 256 x 256 on this machine, p50 and p95 of 10, ONNX on one thread"] = {
    name: measure_latency(functools.partial(run, image)) for name, run in runs.items()
  }
  card = folder / "card.json"
  write_json(card, {**(read_json(card) if card.is_file() else {}), **facts})


def serialized(program: Callable[..., Any], arrays: Any, *, platforms: Sequence[str] = PLATFORMS) -> bytes:
  """Exports the integer program with open sizes: `call(flat arrays, image)`, names as in int8.safetensors."""

  def flat_program(flat: Mapping[str, jax.Array], image: jax.Array) -> jax.Array:
    return program(unflatten_dict(flat, sep="/"), image)

  flat = {n: jax.ShapeDtypeStruct(np.shape(x), np.asarray(x).dtype) for n, x in named_leaves(arrays).items()}
  image = jax.ShapeDtypeStruct(jax.export.symbolic_shape(SHAPE), jnp.float32)
  return bytes(jax.export.export(jax.jit(flat_program), platforms=tuple(platforms))(flat, image).serialize())


def _onnx_files(folder: Path, plain: Any, quantised: Any, variables: Any, complete: Any) -> dict[str, int]:
  try:
    found = {"model.onnx": write_onnx(folder / "model.onnx", plain, variables)}
    if not quantised.quant.paper_code_compat:
      for name, kind in (("model_int8.onnx", "qdq"), ("model_integer.onnx", "integer")):
        found[name] = write_onnx(folder / name, quantised, complete, kind=kind)
  except ImportError as error:
    warnings.warn(f"no ONNX files: {error}", stacklevel=3)
    return {}
  return found


def _psnr(pictures: np.ndarray, inputs: Inputs) -> float:
  errors = np.square(pictures - to_floats(inputs.test["target"]))
  return float(decibels(float(np.mean(errors)), data_range=2.0))
