"""Masks on any parameter tree: magnitude pruning, controls, rewinding, tickets as files, what they save.

    masks = magnitude_masks(params, 0.7, scope="global", select=r"kernel$")  # {path: bool array}
    tx = masked(optax.adam(1e-3), masks)                                     # any optimizer; zeros stay 0
    params = apply_masks(params, masks)
    updates, state = tx.update(grads, state, params)
    params = apply_masks(rewind(params, start, select=r"^bert/"), masks)

A mask is True where a weight stays. Masks are a flat dict from the '/'-joined path of a leaf to a boolean
array of its shape; leaves that are not named are never pruned and do not count in the sparsity.
"""

from vita_jax._lazy import submodules
from vita_jax.compress.controls import random_masks, shuffle_entries, shuffle_layers
from vita_jax.compress.magnitude import magnitude_masks, prune, zeros_after
from vita_jax.compress.masks import (
  Masks,
  apply_masks,
  chosen,
  full_masks,
  pack,
  rewind,
  sparsity,
  unpack,
)
from vita_jax.compress.matching import last_matching, matches
from vita_jax.compress.statistics import layer_sparsity, overlap, sizes
from vita_jax.compress.ticket import (
  Ticket,
  load_sparse,
  load_ticket,
  make_ticket,
  save_sparse,
  save_ticket,
  weights_sha256,
)
from vita_jax.compress.training import mask_gradients, masked

__all__ = [
  "Masks",
  "Ticket",
  "apply_masks",
  "chosen",
  "full_masks",
  "last_matching",
  "layer_sparsity",
  "load_sparse",
  "load_ticket",
  "magnitude_masks",
  "make_ticket",
  "mask_gradients",
  "masked",
  "matches",
  "overlap",
  "pack",
  "prune",
  "random_masks",
  "rewind",
  "save_sparse",
  "save_ticket",
  "shuffle_entries",
  "shuffle_layers",
  "sizes",
  "sparsity",
  "unpack",
  "weights_sha256",
  "zeros_after",
]

__getattr__, __dir__ = submodules(__name__)
