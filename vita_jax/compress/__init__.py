"""Smaller networks: masks on any parameter tree, channels that are really cut, int8 programs.

Masks: magnitude pruning, controls, rewinding, tickets as files, what they save.

    masks = magnitude_masks(params, 0.7, scope="global", select=r"kernel$")  # {path: bool array}
    tx = masked(optax.adam(1e-3), masks)                                     # any optimizer; zeros stay 0
    params = apply_masks(params, masks)
    updates, state = tx.update(grads, state, params)
    params = apply_masks(rewind(params, start, select=r"^bert/"), masks)

A mask is True where a weight stays. Masks are a flat dict from the '/'-joined path of a leaf to a boolean
array of its shape; leaves that are not named are never pruned and do not count in the sparsity.

Channels: gates that training drives to zero, the smaller network, and what it costs.

    graph = generator.channel_graph()                        # or written by hand, for any linen net
    tx = ista(schedule, rho=0.01)                            # of the gammas; see `gates`
    params, kept = shrink(params, graph, round_to=8)
    generator = generator.resized(counts_of(kept))
    count_macs(generator.layers, 256, 256), artifact_bytes(params, kind="int")

Integers: `vita_jax.nn.quantize.Quant` says how a generator is quantised; `integer_program` makes a function
with int8 weights of it, to be exported by `jax.export`, and `write_onnx` a file.
"""

from vita_jax._lazy import submodules
from vita_jax.compress.budget import Found, search_budget, search_threshold, steer_rho
from vita_jax.compress.channels import (
  ChannelGroup,
  Slice,
  channel_widths,
  counts_of,
  cut,
  empty_channels,
  filter_norms,
  graph_of,
  keep_channels,
  largest_channels,
  random_channels,
  shrink,
)
from vita_jax.compress.controls import random_masks, shuffle_entries, shuffle_layers
from vita_jax.compress.counts import (
  artifact_bytes,
  channel_table,
  count_macs,
  count_parameters,
  layer_bytes,
  layer_costs,
  live_bytes,
  live_macs,
  traced_macs,
)
from vita_jax.compress.evolution import Evolution, cec_fitness, evolve
from vita_jax.compress.gates import (
  gate_labels,
  ista,
  proximal_l1,
  pruned_share,
  soft_threshold,
  spare_last,
  zero_shifts,
)
from vita_jax.compress.integer import integer_program
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
from vita_jax.compress.onnx_files import onnx_model, open_onnx, write_onnx
from vita_jax.compress.quantize import (
  Quant,
  calibrate,
  clip_ranges,
  fake_quant,
  fake_quant_weights,
  post_training,
)
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
  "ChannelGroup",
  "Evolution",
  "Found",
  "Masks",
  "Quant",
  "Slice",
  "Ticket",
  "apply_masks",
  "artifact_bytes",
  "calibrate",
  "cec_fitness",
  "channel_table",
  "channel_widths",
  "chosen",
  "clip_ranges",
  "count_macs",
  "count_parameters",
  "counts_of",
  "cut",
  "empty_channels",
  "evolve",
  "fake_quant",
  "fake_quant_weights",
  "filter_norms",
  "full_masks",
  "gate_labels",
  "graph_of",
  "integer_program",
  "ista",
  "keep_channels",
  "largest_channels",
  "last_matching",
  "layer_bytes",
  "layer_costs",
  "layer_sparsity",
  "live_bytes",
  "live_macs",
  "load_sparse",
  "load_ticket",
  "magnitude_masks",
  "make_ticket",
  "mask_gradients",
  "masked",
  "matches",
  "onnx_model",
  "open_onnx",
  "overlap",
  "pack",
  "post_training",
  "proximal_l1",
  "prune",
  "pruned_share",
  "random_channels",
  "random_masks",
  "rewind",
  "save_sparse",
  "save_ticket",
  "search_budget",
  "search_threshold",
  "shrink",
  "shuffle_entries",
  "shuffle_layers",
  "sizes",
  "soft_threshold",
  "spare_last",
  "sparsity",
  "steer_rho",
  "traced_macs",
  "unpack",
  "weights_sha256",
  "write_onnx",
  "zero_shifts",
  "zeros_after",
]

__getattr__, __dir__ = submodules(__name__)
