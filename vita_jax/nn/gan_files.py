"""Weights of CycleGAN generators trained in torch, as safetensors files.

The layout is that of the official implementation's `ResnetGenerator`, one `nn.Sequential` called "model".
With n blocks (the places of modules without weights are left out):

    model.1                      stem      convolution 7x7          model.2        its norm
    model.4, model.7             down_0, down_1, stride 2           model.5, .8    their norms
    model.{10 + i}.conv_block.1  block_i_a convolution 3x3          .conv_block.2  its norm
    model.{10 + i}.conv_block.5  block_i_b (.6 with dropout)        .conv_block.6  its norm (.7 with dropout)
    model.{10 + n}, .{13 + n}    up_0, up_1, transposed             .{11 + n}, .{14 + n}  their norms
    model.{17 + n}               head      convolution 7x7

A weight [out, in, k, k] becomes a kernel [k, k, in, out]; a transposed convolution's [in, out, k, k]
likewise. Norms without weight and bias, torch's default, get scale 1 and shift 0. Running statistics of norms
are left out: the implementation drops them as well. To write such a file:

    from safetensors.torch import save_file
    save_file(torch.load("latest_net_G.pth", weights_only=True), "generator.safetensors")
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from vita_jax.data.files import read_safetensors
from vita_jax.nn.gan import ResnetGenerator, ResnetWidths


def load_cyclegan(path: str | os.PathLike) -> tuple[ResnetGenerator, dict[str, Any]]:
  """Loads a CycleGAN generator from a safetensors file.

  Returns:
    (generator, params): widths and number of blocks are those of the file. Images [n, h, w, 3] in [-1, 1] are
    mapped by `generator.apply({"params": params}, images)`.

  Raises:
    FileNotFoundError: no such file.
    ValueError: not a safetensors file, or see `from_cyclegan`.
  """
  try:
    return from_cyclegan(read_safetensors(path))
  except ValueError as error:
    raise ValueError(error if str(path) in str(error) else f"{path}: {error}") from error


def from_cyclegan(state: Mapping[str, np.ndarray]) -> tuple[ResnetGenerator, dict[str, Any]]:
  """Converts a torch state dict (name -> array) of the layout above; returns (generator, params).

  Raises:
    ValueError: an array that is missing, unknown, not of floats, or of a shape that does not fit the others.
  """
  left = {
    name.removeprefix("module."): np.asarray(x)
    for name, x in state.items()
    if not re.search(r"\.(running_mean|running_var|num_batches_tracked)$", name)
  }
  blocks = sorted({int(m[1]) for name in left if (m := re.match(r"model\.(\d+)\.conv_block\.", name))})
  n = len(blocks)
  if not n or blocks != list(range(10, 10 + n)):
    raise ValueError(f"it is no CycleGAN generator: its residual blocks are {blocks}, not model.10 and on")
  places = {"stem": "model.1", "down_0": "model.4", "down_1": "model.7"}
  for i in blocks:
    # Dropout, where there is some, stands between the two halves.
    second = 6 if np.ndim(left.get(f"model.{i}.conv_block.6.weight", 0)) == 4 else 5
    places |= {f"block_{i - 10}_a": f"model.{i}.conv_block.1"}
    places |= {f"block_{i - 10}_b": f"model.{i}.conv_block.{second}"}
  places |= {"up_0": f"model.{10 + n}", "up_1": f"model.{13 + n}", "head": f"model.{17 + n}"}
  generator = _generator(left, places, n)
  params = {
    layer.name: _layer(left, layer.name, places[layer.name], layer.transposed, layer.norm == "affine")
    for layer in generator.layers
  }
  if left:
    raise ValueError(f"'{next(iter(left))}' is not an array of a CycleGAN generator with {n} blocks")
  for layer in generator.layers:
    shape = (layer.kernel, layer.kernel, layer.inputs, layer.features)
    wanted = {"kernel": shape, "bias": shape[-1:], "scale": shape[-1:], "shift": shape[-1:]}
    for leaf, x in params[layer.name].items():
      if x.shape != wanted[leaf]:
        where = f"{leaf} of {layer.name} ({places[layer.name]})"
        raise ValueError(f"the {where} is {x.shape}: beside the other layers it must be {wanted[leaf]}")
  return generator, params


def _generator(state: Mapping[str, np.ndarray], places: Mapping[str, str], n: int) -> ResnetGenerator:
  def outputs(name: str, axis: int = 0) -> int:
    return _weight(state, f"{places[name]}.weight").shape[axis]

  return ResnetGenerator(
    ResnetWidths(
      stem=outputs("stem"),
      down=(outputs("down_0"), outputs("down_1")),
      blocks=tuple(outputs(f"block_{i}_a") for i in range(n)),
      up=(outputs("up_0", 1), outputs("up_1", 1)),
    ),
    images=outputs("head"),
  )


def _layer(
  left: dict[str, np.ndarray], name: str, place: str, transposed: bool, affine: bool
) -> dict[str, np.ndarray]:
  """The parameters of a layer, taken out of `left`."""
  weight = _weight(left, f"{place}.weight")
  del left[f"{place}.weight"]
  found = {"kernel": np.transpose(weight, (2, 3, 0, 1) if transposed else (2, 3, 1, 0))}
  width = found["kernel"].shape[-1]
  head, number = place.rsplit(".", 1)
  norm = f"{head}.{int(number) + 1}"
  if f"{place}.bias" not in left:
    raise ValueError(
      f"'{place}.bias' is missing: convolutions without bias are those of a net with batch norm"
    )
  wanted = {"bias": f"{place}.bias"}
  if affine:
    found |= {"scale": np.ones(width, np.float32), "shift": np.zeros(width, np.float32)}
    wanted |= {"scale": f"{norm}.weight", "shift": f"{norm}.bias"}
  for leaf, key in wanted.items():
    if key in left:
      found[leaf] = left.pop(key)
      if not _is_float(found[leaf]):
        raise ValueError(f"'{key}' is of {found[leaf].dtype}: weights are floats")
  return {leaf: np.ascontiguousarray(x, np.float32) for leaf, x in found.items()}


def _weight(state: Mapping[str, np.ndarray], key: str) -> np.ndarray:
  if key not in state:
    raise ValueError(f"'{key}' is missing: it is not the layout of the official CycleGAN generator")
  if state[key].ndim != 4 or not _is_float(state[key]):
    raise ValueError(f"'{key}' is {state[key].dtype} {state[key].shape}: a weight is floats of four axes")
  return state[key]


def _is_float(x: np.ndarray) -> bool:
  return bool(jnp.issubdtype(x.dtype, jnp.floating))
