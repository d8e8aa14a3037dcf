"""Optimizes one small problem with a learned or a classical optimizer.

  python launch/train.py --config=configs/l2o/optimize.py:digits_mlp --workdir=runs/adam \\
    --config.run.optimizer=rnnprop-cl-il --config.run.learning_rate=0

The argument is the problem: digits_mlp | digits_relu | digits_deeper | digits_conv | mnist_mlp | mnist_relu |
mnist_deeper | mnist_conv | cifar10_conv | cifar10_nas | quadratic. Without flags the optimizer is Adam, rate
0.01. Hardware, time and memory on digits_mlp, 10,000 steps: 2 CPU cores, 5 s, 0.7 GB (rnnprop-cl-il TIME_L). Number:
ln_loss, the mean of ln(loss + 1e-12) over the last 100 steps: Adam NUMBER_A, rnnprop-cl-il NUMBER_L.
launch/l2o/optimize.py compares many, and tunes the rates of classical ones.
"""

from vita_jax.papers.l2o.recipe import optimize_config


def get_config(task: str = "digits_mlp"):
  return optimize_config(task or "digits_mlp")
