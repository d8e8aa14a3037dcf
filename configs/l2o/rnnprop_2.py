"""Meta-trains RNNprop anew, for wider use: larger steps, six networks, three teachers, no drift.

  python launch/train.py --config=configs/l2o/rnnprop_2.py --workdir=runs/rnnprop_2

The paper's network and techniques (CL and IL) with output scale 0.1, odd output (parameters without gradient
stay), Adam at 0.003, 0.01 and 0.03 as teachers, sigmoid, ReLU and tanh networks from two kinds of first
weights, tensors scaled at random by up to e^3 (as the released code's option), lengths up to 5,000 steps in
four stages: three evaluations of each are 228,000 inner steps, so that the budget reaches the last one. No
argument. Hardware: CPU, resumable at any step. Time, peak memory and Number: not measured
yet (rnnprop.py:cl_il takes 2 to 3 hours and 1.1 GB for as many steps; this one has twice the state). MNIST
comes from $VITA_DATA_DIR.
"""

from vita_jax.papers.l2o.recipe import default_config

TASKS = tuple(f"mnist_{net}{start}" for start in ("", "_by_inputs") for net in ("mlp", "relu", "tanh"))


def get_config(argument: str = ""):
  config = default_config("rnnprop", argument or "cl_il", variants=("cl_il",))
  config.optimizer.update({"scale": 0.1, "odd": True})
  config.stages = (100, 500, 2000, 5000)
  config.imitation.teachers = ("adam:0.003", "adam:0.01", "adam:0.03")
  config.mixture.update({"tasks": TASKS, "reparametrise": 20.0})
  config.meta_loss, config.meta.clip_norm = "log_ratio", 1.0
  config.validation.runs = 1  # of each of the six
  config.patience, config.inner_steps = "advance", 300_000
  return config
