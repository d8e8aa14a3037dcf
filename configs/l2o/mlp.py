"""Meta-trains the per-parameter MLP, the cheap optimizer, on MLP-orig (MNIST, 784-20-10, sigmoid).

  python launch/train.py --config=configs/l2o/mlp.py:cl_il --workdir=runs/mlp_cl_il

The argument is the variant: plain | cl_il. Lengths up to 1,000 steps, E = 10, R = 4, and the same budget for
both: 100,000 inner steps. The meta-gradient is clipped to norm 1 (not the paper's: this optimizer is from
later work). Hardware, time and peak memory: 2 CPU cores, about 20 minutes, 1.0 GB. Number: ln loss of cl_il
after 10,000 steps on MLP-orig (launch/l2o/optimize.py, 5 seeds): -4.1. MNIST comes from $VITA_DATA_DIR.
"""

from vita_jax.papers.l2o.recipe import default_config

VARIANTS = ("plain", "cl_il")


def get_config(variant: str = "plain"):
  config = default_config("l2o_mlp", variant, variants=VARIANTS)
  if len(config.stages) > 1:
    config.stages = config.stages[:4]
  config.meta.clip_norm = 1.0
  config.patience, config.inner_steps = "continue", 100_000
  return config
