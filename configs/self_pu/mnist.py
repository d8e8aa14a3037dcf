"""Self-PU on MNIST, even against odd digits, 1,000 labelled positives.

  python launch/train.py --config=configs/self_pu/mnist.py:self_pu --config.seeds=5 --workdir=runs/mnist

Argument: the method, pn_oracle | pn_naive | upu | nnpu | self_paced | self_calibrated | self_pu; from nnpu on
each adds one block (pn_oracle, with the true labels, is the bound).
The data is not shipped: set VITA_DATA_DIR (vita_jax/data/README.md).
1,000 of the 60,000 training images are held out for validation. The six-layer MLP, 200 epochs.
Hardware, time, memory: one CPU core, 7 minutes per seed of nnPU, 28 of Self-PU, 1 GB.
Expect 92.5 (nnPU) and 93.6 % (Self-PU) test accuracy; the paper has 93.4 and 94.2 [memory].
"""

from vita_jax.papers.self_pu.recipe import default_config


def get_config(method: str = "self_pu"):
  return default_config("mnist", method)
