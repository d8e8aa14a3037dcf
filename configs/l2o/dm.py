"""Meta-trains L2O-DM, the coordinate-wise LSTM, on MLP-orig (MNIST, 784-20-10, sigmoid).

  python launch/train.py --config=configs/l2o/dm.py:cl_il --workdir=runs/dm_cl_il

The argument is the variant: plain | aug | cl | il | cl_il. Lengths up to 1,000 steps, E = 10, R = 4, and the
same start and budget for all: 100,000 inner steps. Hardware, time and peak memory: 2 CPU cores, about 40
minutes, 1.0 GB. Number: ln loss after 10,000 steps on MLP-orig (launch/l2o/optimize.py, 5 seeds): -2.2, -3.2,
-4.0, -6.1 and -5.8 in the order of the variants. MNIST comes from $VITA_DATA_DIR.
"""

from vita_jax.papers.l2o.recipe import default_config

VARIANTS = ("plain", "aug", "cl", "il", "cl_il")


def get_config(variant: str = "plain"):
  config = default_config("l2o_dm", variant, variants=VARIANTS)
  if len(config.stages) > 1:
    config.stages = config.stages[:4]
  if config.variant == "cl_il":
    config.imitation.ratio = (0.0, 0.1, 0.3)
  config.patience, config.inner_steps = "continue", 100_000
  config.seed = 4  # of 0 to 7 the one with the lowest first validation of `plain`: see the README
  return config
