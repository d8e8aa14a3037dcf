"""Optimizes one small problem with a learned or a classical optimizer.

  python launch/train.py --config=configs/l2o/optimize.py:digits_mlp --workdir=runs/adam \\
    --config.run.optimizer=rnnprop-cl-il --config.run.learning_rate=0

The argument is the problem: digits_mlp | digits_relu | digits_deeper | digits_conv | mnist_mlp | mnist_relu |
mnist_deeper | mnist_conv | cifar10_conv | cifar10_nas | quadratic. Without flags the optimizer is Adam, rate
0.01. Hardware, time and peak memory on digits_mlp, 10,000 steps: 2 CPU cores, 12 s with the start, 0.5 GB.
Number: ln_loss, the mean of ln(loss + 1e-12) over the last 100 steps: Adam -11.49, rnnprop-cl-il -27.63 (a
loss of exactly 0). launch/l2o/optimize.py compares many, and tunes the rates of classical ones.
"""

from vita_jax.papers.l2o.recipe import optimize_config


def get_config(task: str = "digits_mlp"):
  return optimize_config(task or "digits_mlp")
