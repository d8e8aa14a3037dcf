"""Self-PU on MNIST, even against odd digits, 1,000 labelled positives.

  python launch/train.py --config=configs/self_pu/mnist.py:self_pu --config.seeds=5 --workdir=runs/mnist

The argument is the method: pn_naive | upu | nnpu | self_paced | self_calibrated | self_pu, each with one
block more (pn_oracle is the bound). The data is not shipped: set VITA_DATA_DIR (vita_jax/data/README.md).
1,000 of the 60,000 training images are held out for validation. The six-layer MLP, 200 epochs.
Expect 93.4 (nnPU) and 94.2 % (Self-PU) test accuracy by the paper [memory]; our own: the README.
"""

from vita_jax.papers.self_pu.config import default_config


def get_config(method: str = "self_pu"):
  return default_config("mnist", method)
