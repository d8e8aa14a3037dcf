"""Learned optimizers as optax transformations, with shipped weights.

    tx = optax.chain(optax.clip_by_global_norm(1.0), vita_jax.optim.learned("rnnprop-cl-il"))
    tx = vita_jax.optim.l2o_dm(my_theta)
    tx = vita_jax.optim.load_learned("runs/mine/export")

Updates are to be added (`optax.apply_updates`). Theta never sits in the optimizer's state.
"""

from vita_jax._lazy import submodules
from vita_jax.optim.dm import l2o_dm
from vita_jax.optim.ema import interpolate_weights
from vita_jax.optim.groups import (
  FROZEN,
  group_by_pattern,
  layer_decay,
  multipliers_of,
  scale_by_group,
  set_multipliers,
  torch_adam,
  torch_sgd,
  velocity_sgd,
)
from vita_jax.optim.layerwise import Settings as LayerwiseSettings
from vita_jax.optim.layerwise import layerwise_policy
from vita_jax.optim.layerwise_files import (
  controller_card,
  controller_names,
  load_controller,
  save_controller,
)
from vita_jax.optim.library import KINDS, learned, learned_card, learned_names, load_learned
from vita_jax.optim.mlp import l2o_mlp
from vita_jax.optim.optimizees import OPTIMIZEES, Optimizee, optimize, optimizee
from vita_jax.optim.outputs import make_odd, with_rate
from vita_jax.optim.rnn_prop import rnnprop
from vita_jax.optim.scale import l2o_scale
from vita_jax.optim.schedules import epoch_cosine, warmup_poly
from vita_jax.optim.vita import init_vita_mlp, scale_by_vita_mlp, vita_mlp

__all__ = [
  "FROZEN",
  "KINDS",
  "OPTIMIZEES",
  "LayerwiseSettings",
  "Optimizee",
  "controller_card",
  "controller_names",
  "epoch_cosine",
  "group_by_pattern",
  "init_vita_mlp",
  "interpolate_weights",
  "l2o_dm",
  "l2o_mlp",
  "l2o_scale",
  "layer_decay",
  "layerwise_policy",
  "learned",
  "learned_card",
  "learned_names",
  "load_controller",
  "load_learned",
  "make_odd",
  "multipliers_of",
  "optimize",
  "optimizee",
  "rnnprop",
  "save_controller",
  "scale_by_group",
  "scale_by_vita_mlp",
  "set_multipliers",
  "torch_adam",
  "torch_sgd",
  "velocity_sgd",
  "vita_mlp",
  "warmup_poly",
  "with_rate",
]

__getattr__, __dir__ = submodules(__name__)
