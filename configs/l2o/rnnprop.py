"""Meta-trains RNNprop, the LSTM behind Adam's moments, on MLP-orig (MNIST, 784-20-10, sigmoid).

  python launch/train.py --config=configs/l2o/rnnprop.py:cl_il --workdir=runs/rnnprop_cl_il

The argument is the variant: plain (100 epochs of 100 steps, as released) | cl_il (the full rule: lengths up
to 3,000 steps, E = 10, R = 4, at least 0.32 million inner steps). Hardware and time: 2 CPU cores; plain
3 minutes, cl_il 2 to 3 hours.
"""

from vita_jax.papers.l2o.config import default_config

VARIANTS = ("plain", "cl_il")


def get_config(variant: str = "plain"):
  config = default_config("rnnprop", variant, variants=VARIANTS)
  if config.variant == "plain":
    config.epochs = 100
  return config
