"""The configuration that all L2O experiments share."""

from __future__ import annotations

import ml_collections

from vita_jax.base.choose import choose
from vita_jax.train.config import base_config

STAGES = (100, 200, 500, 1000, 1500, 2000, 2500, 3000)
# variant -> (lengths of an optimization, share of imitation epochs per stage)
VARIANTS = {
  "plain": ((100,), (0.0,)),
  "aug": ((500,), (0.0,)),
  "cl": (STAGES, (0.0,)),
  "il": ((100,), (0.3,)),
  "cl_il": (STAGES, (0.3,)),
}


def default_config(kind: str, variant: str, *, variants: tuple[str, ...]) -> ml_collections.ConfigDict:
  """The settings for meta-training one kind of optimizer.

  Args:
    kind: one of `vita_jax.optim.KINDS`.
    variant: one of `variants`; "" is "plain".
    variants: those that this kind has.

  Raises:
    ValueError: unknown variant.
  """
  variant = choose("variant", variant or "plain", variants)
  stages, imitation = VARIANTS[variant]
  config = base_config()
  config.update(
    {
      "paper": "l2o",
      "variant": variant,
      "log_every": 50,
      "replicate": "map",  # seeds one after the other: each is at its own place in the curriculum
      "optimizer": {"kind": kind},  # and options of its builder
      "optimizee": {"name": "mnist_mlp", "batch_size": 128, "logit_relu": False},
      "unroll_length": 20,  # T: steps that a meta-gradient goes back through; always the same
      "stages": stages,  # N: steps of an optimization; each is a multiple of T
      # share of imitation epochs at each stage; the last one also holds for later stages
      "imitation": {"ratio": imitation, "teachers": ("adam",), "learning_rate": 0.01, "steps": 1},
      # after every `every` epochs, `runs` optimizations of the next stage's length; from "fixed" starts and
      # minibatches, so that few runs suffice to tell two thetas apart, or "fresh" ones (the released code)
      "validation": {"every": 10, "runs": 4, "draws": "fixed"},
      # what happens where a stage never improved, or the last one is over: "stop" | "continue" in the
      # same stage | "advance" to the next, "continue" in the last
      "patience": "stop",
      "inner_steps": 0,  # budget of training steps of the optimizee, 0 for none
      "epochs": 10_000,  # at most
      "meta": {"optimizer": "adam", "learning_rate": 1e-3, "clip_norm": 0.0, "clip_value": 0.0},
      "meta_loss": "sum",  # of a segment: "sum" | "log_ratio"
      "meta_batch": 1,  # optimizations at once; their meta-gradients are averaged
      # "map": one after the other, which a CPU's caches like | "vmap": side by side, over the mesh axis data
      "tasks": "map",
      "save_every": 1,  # states kept for the pass back: every such step; more saves memory for time
      "resume_from": "",  # a file of `launch/l2o/state.py`: goes on from where another workdir was
      # after training: `runs` optimizations of that many steps with the best weights
      "final": {"steps": 1000, "runs": 5},
    }
  )
  return config
