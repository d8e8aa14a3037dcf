"""A ticket as a file: masks as bits, and the hash of the weights that they were made for."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.files import parse_json
from vita_jax.base.hashing import arrays_sha256
from vita_jax.compress.masks import Masks, pack, path_name, sparsity
from vita_jax.data.files import read_metadata, read_safetensors


class Ticket(NamedTuple):
  """Masks and where they come from.

  Attributes:
    masks: path -> bool array.
    start: weights_sha256 of the weights at which the subnetwork starts, "" where they are not fixed.
    card: plain facts, JSON-able.
  """

  masks: Masks
  start: str
  card: Mapping[str, Any] = {}


def weights_sha256(params: Any) -> str:
  """64 hex digits of names, shapes and values of a tree of weights."""
  leaves = jax.tree_util.tree_leaves_with_path(params)
  return arrays_sha256({path_name(p): np.asarray(x) for p, x in leaves})


def save_ticket(path: str | os.PathLike, ticket: Ticket) -> None:
  """Writes one safetensors file: a bit a weight, shapes, hash and card in its metadata."""
  from safetensors.numpy import save

  facts = {
    "shapes": {name: list(m.shape) for name, m in ticket.masks.items()},
    "start": ticket.start,
    "sparsity": sparsity(ticket.masks),
    "card": dict(ticket.card),
  }
  packed = {name: np.asarray(bits) for name, bits in pack(ticket.masks).items()}
  Path(path).write_bytes(save(packed, metadata={"ticket": json.dumps(facts)}))


def save_sparse(path: str | os.PathLike, params: Any, masks: Masks) -> None:
  """Writes weights as safetensors: of each masked array `<path>#bits` and the kept values, others whole."""
  from safetensors.numpy import save

  tensors = {}
  for key, leaf in jax.tree_util.tree_leaves_with_path(params):
    name, x = path_name(key), np.asarray(leaf)
    if name in masks:
      mask = np.asarray(masks[name])
      tensors[f"{name}#bits"] = np.packbits(mask, axis=-1, bitorder="little")
      x = x[mask]
    tensors[name] = np.ascontiguousarray(x)
  shapes = {name: list(np.shape(m)) for name, m in masks.items()}
  Path(path).write_bytes(save(tensors, metadata={"shapes": json.dumps(shapes)}))


def load_sparse(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads what `save_sparse` wrote: path -> array, with zeros where the mask was False.

  Raises:
    FileNotFoundError: no such file. ValueError: not such a file, or a damaged one.
  """
  if not Path(path).is_file():
    raise FileNotFoundError(f"no sparse weights at {path}: launch/export.py --workdir=DIR writes them")
  try:
    shapes = parse_json(read_metadata(path)["shapes"], "its header")
    tensors = read_safetensors(path)
    for name, shape in shapes.items():
      mask = _unpacked(tensors.pop(f"{name}#bits"), shape)
      whole = np.zeros(shape, tensors[name].dtype)
      whole[mask] = tensors[name]
      tensors[name] = whole
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise ValueError(f"{path} holds no sparse weights, or is damaged ({error}): export it again") from error
  return tensors


def load_ticket(path: str | os.PathLike, *, start: str = "") -> Ticket:
  """Reads what `save_ticket` wrote.

  Args:
    path: the file.
    start: `weights_sha256` of the weights that the masks are to be applied to; "" leaves this unchecked.

  Raises:
    FileNotFoundError: no such file.
    ValueError: no ticket, a damaged one, or one that was made for other weights.
  """
  if not Path(path).is_file():
    raise FileNotFoundError(f"no ticket at {path}: launch/export.py --workdir=DIR writes them to DIR/export")
  try:
    facts = parse_json(read_metadata(path)["ticket"], "its header")
    packed = read_safetensors(path)
    masks = {}
    for name, shape in facts["shapes"].items():
      masks[name] = jnp.asarray(_unpacked(packed[name], shape))
    found = Ticket(masks, facts["start"], facts["card"])
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise ValueError(f"{path} is no ticket, or a damaged one ({error}): export it again") from error
  if start and found.start != start:
    raise ValueError(
      f"{path} was made for other weights: their sha256 is {found.start[:12]}..., that of these is"
      f" {start[:12]}...; give the model that it was found in"
    )
  return found


def _unpacked(bits: np.ndarray, shape: Any) -> np.ndarray:
  """The mask of this shape; what the header declares is compared with the bits that there are."""
  *rows, last = shape
  if bits.dtype != np.uint8 or list(bits.shape) != [*rows, -(-last // 8)]:
    raise ValueError(f"a mask of shape {shape} has bits of shape {list(bits.shape)}")
  return np.unpackbits(bits, axis=-1, count=last, bitorder="little").astype(bool)
