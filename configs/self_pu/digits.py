"""Self-PU on scikit-learn's 8 x 8 digits, even against odd: nothing to download.

  python launch/train.py --config=configs/self_pu/digits.py:self_pu --config.seeds=10 --workdir=runs/digits

Argument: the method, pn_oracle | pn_naive | upu | nnpu | self_paced | self_calibrated | self_pu; from nnpu on
each adds one block (pn_oracle, with the true labels, is the bound).
40 labelled positives among 1,147 unlabelled rows; 150 rows are held out
for validation and 500 for testing.
Hardware, time, memory: two CPU cores, one minute per seed of Self-PU, 0.9 GB.
Expect 82.2 (nnPU) and 89.7 % (Self-PU) test accuracy in the mean of ten seeds.
"""

from vita_jax.papers.self_pu.recipe import default_config


def get_config(method: str = "self_pu"):
  # 49.6 % of the digits are even.
  return default_config(
    "digits",
    method,
    prior=0.496,
    batch_size=128,
    log_every=100,
    data__n_labelled=40,
    validation__rows=150,
    validation__labelled=15,
  )
