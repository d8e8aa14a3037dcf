"""A ticket as a file: masks as bits, and the hash of the weights that they were made for.

    ticket = make_ticket(masks, theta0)
    save_ticket("ticket.safetensors", ticket)
    masks = load_ticket("ticket.safetensors", params=theta0).masks     # refused for other weights
    subnetwork = apply_masks(theta0, masks)

One tree is meant throughout: its paths are those of the masks, and the hash is that of the masked leaves in
it. So a head, or anything else that is never pruned, may be there or not.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from vita_jax.base.files import parse_json, write_bytes
from vita_jax.base.hashing import arrays_sha256
from vita_jax.compress.masks import Masks, leaves_by_path, map_named, pack, sparsity
from vita_jax.data.files import read_metadata, read_safetensors


class Ticket(NamedTuple):
  """Masks and where they come from.

  Attributes:
    masks: path -> bool array.
    start: `weights_sha256(params, masks)` of the weights at which the subnetwork starts, "" where they are
      not fixed.
    card: plain facts, JSON-able.
  """

  masks: Masks
  start: str
  card: Mapping[str, Any] = {}


def weights_sha256(params: Any, names: Iterable[str] | None = None) -> str:
  """Computes 64 hex digits of names, dtypes, shapes and values of weights.

  Args:
    params: any tree.
    names: paths of the leaves that count; masks, e.g.; None: all.

  Raises:
    ValueError: a path that the tree does not have.
  """
  leaves = leaves_by_path(params)
  names = list(leaves) if names is None else list(names)
  for name in names:
    if name not in leaves:
      raise ValueError(f"there are no weights '{name}': they are {', '.join(list(leaves)[:4])}, ...")
  return arrays_sha256({name: np.asarray(leaves[name]) for name in names})


def make_ticket(masks: Masks, params: Any, card: Mapping[str, Any] | None = None) -> Ticket:
  """Makes the ticket of masks that belong to these weights.

  Args:
    masks: path -> bool array.
    params: the weights that the masked training starts from; the ticket has their hash.
    card: plain facts to store with it (JSON-able).

  Raises:
    ValueError: masks that do not fit.
  """
  map_named(params, masks, _keep)  # checks paths and shapes
  return Ticket(masks, weights_sha256(params, masks), card or {})


def _keep(x: Any, mask: Any) -> Any:
  del mask
  return x


def save_ticket(path: str | os.PathLike, ticket: Ticket) -> None:
  """Writes one safetensors file: one bit per weight; shapes, hash and card in its metadata."""
  from safetensors.numpy import save

  facts = {
    "shapes": {name: list(m.shape) for name, m in ticket.masks.items()},
    "masked_weights": ticket.start,
    "sparsity": sparsity(ticket.masks),
    "card": dict(ticket.card),
  }
  packed = {name: np.asarray(bits) for name, bits in pack(ticket.masks).items()}
  write_bytes(path, save(packed, metadata={"ticket": json.dumps(facts)}))


def save_sparse(path: str | os.PathLike, params: Any, masks: Masks) -> None:
  """Writes weights as safetensors: of each masked array `<path>#bits` and the kept values, others whole.

  Args:
    path: of the file.
    params: any tree of arrays.
    masks: path -> bool array, of some of its leaves. `load_sparse` reads the file back.
  """
  from safetensors.numpy import save

  tensors = {}
  for name, leaf in leaves_by_path(params).items():
    x = np.asarray(leaf)
    if name in masks:
      mask = np.asarray(masks[name])
      tensors[f"{name}#bits"] = np.packbits(mask, axis=-1, bitorder="little")
      x = x[mask]
    tensors[name] = np.ascontiguousarray(x)
  shapes = {name: list(np.shape(m)) for name, m in masks.items()}
  write_bytes(path, save(tensors, metadata={"shapes": json.dumps(shapes)}))


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


def load_ticket(path: str | os.PathLike, *, params: Any = None) -> Ticket:
  """Reads what `save_ticket` wrote.

  Args:
    path: the file.
    params: the weights that the masks are to be applied to; None leaves it unchecked whether they fit.

  Raises:
    FileNotFoundError: no such file.
    ValueError: not a ticket, a damaged one, or one that was made for other weights.
  """
  if not Path(path).is_file():
    raise FileNotFoundError(f"no ticket at {path}: launch/export.py --workdir=DIR writes them to DIR/export")
  try:
    facts = parse_json(read_metadata(path)["ticket"], "its header")
    packed = read_safetensors(path)
    masks = {}
    for name, shape in facts["shapes"].items():
      masks[name] = jnp.asarray(_unpacked(packed[name], shape))
    found = Ticket(masks, facts["masked_weights"], facts["card"])
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise ValueError(f"{path} is not a ticket, or is damaged ({error}): export it again") from error
  if params is not None:
    _check(found, params, path)
  return found


def _check(ticket: Ticket, params: Any, path: str | os.PathLike) -> None:
  """Refuses weights that the ticket was not made for; where no hash was recorded, those that do not fit."""
  try:
    map_named(params, ticket.masks, _keep)
  except ValueError as error:
    raise ValueError(f"{path} was made for other weights: {error}") from error
  if ticket.start and (digest := weights_sha256(params, ticket.masks)) != ticket.start:
    raise ValueError(
      f"{path} was made for other weights: their sha256 is {ticket.start[:12]}..., that of these is"
      f" {digest[:12]}...; give the model that it was found in"
    )


def _unpacked(bits: np.ndarray, shape: Any) -> np.ndarray:
  """The mask of this shape; what the header declares is compared with the bits that there are."""
  *rows, last = shape
  if bits.dtype != np.uint8 or list(bits.shape) != [*rows, -(-last // 8)]:
    raise ValueError(f"a mask of shape {shape} has bits of shape {list(bits.shape)}")
  return np.unpackbits(bits, axis=-1, count=last, bitorder="little").astype(bool)
