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

from vita_jax.base.hashing import arrays_sha256
from vita_jax.compress.masks import Masks, pack, path_name, sparsity


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
  from safetensors import SafetensorError, safe_open

  if not Path(path).is_file():
    raise FileNotFoundError(f"no sparse weights at {path}: launch/export.py --workdir=DIR writes them")
  try:
    with safe_open(str(path), framework="numpy") as file:
      shapes = json.loads((file.metadata() or {})["shapes"])
      tensors = {name: file.get_tensor(name) for name in file.keys()}
    for name, shape in shapes.items():
      bits = tensors.pop(f"{name}#bits")
      mask = np.unpackbits(bits, axis=-1, count=shape[-1], bitorder="little").astype(bool)
      whole = np.zeros(shape, tensors[name].dtype)
      whole[mask] = tensors[name]
      tensors[name] = whole
  except (SafetensorError, KeyError, ValueError, TypeError) as error:
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
  from safetensors import SafetensorError, safe_open

  if not Path(path).is_file():
    raise FileNotFoundError(f"no ticket at {path}: launch/export.py --workdir=DIR writes them to DIR/export")
  try:
    with safe_open(str(path), framework="numpy") as file:
      facts = json.loads((file.metadata() or {})["ticket"])
      packed = {name: file.get_tensor(name) for name in file.keys()}
    masks = {}
    for name, shape in facts["shapes"].items():
      bits = np.unpackbits(packed[name], axis=-1, count=shape[-1], bitorder="little")
      masks[name] = jnp.asarray(bits.reshape(shape).astype(bool))
    found = Ticket(masks, facts["start"], facts["card"])
  except (SafetensorError, KeyError, ValueError, TypeError) as error:
    raise ValueError(f"{path} is no ticket, or a damaged one ({error}): export it again") from error
  if start and found.start != start:
    raise ValueError(
      f"{path} was made for other weights: their sha256 is {found.start[:12]}..., that of these is"
      f" {start[:12]}...; give the model that it was found in"
    )
  return found
