"""Self-PU on CIFAR-10, vehicles (airplane, automobile, ship, truck) against animals, 1,000 labels.

  python launch/train.py --config=configs/self_pu/cifar10.py:self_pu --workdir=runs/cifar10

Argument: the method, pn_oracle | pn_naive | upu | nnpu | self_paced | self_calibrated | self_pu; from nnpu on
each adds one block (pn_oracle, with the true labels, is the bound).
The data is not shipped: set VITA_DATA_DIR or TFDS_DATA_DIR (vita_jax/data/README.md). What VITA_DATA_DIR
holds may be a subset of 10,000 images, whose accuracy is not CIFAR-10's.
Hardware, time, memory: a GPU or TPU; time not measured; nnPU needs 3 GB by launch/train.py --dry_run. To try
it on a CPU, whose form of convolution holds nine copies of each input, take --config.batch_size=64 and a few
epochs. Expect 88.6 (nnPU) and 89.7 % (Self-PU) by the paper [memory], on all 50,000 images.
"""

from vita_jax.papers.self_pu.recipe import default_config


def get_config(method: str = "self_pu"):
  return default_config("cifar10", method, prior=0.4, model__kind="cnn")
