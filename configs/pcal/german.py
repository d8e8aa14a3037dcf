"""PCAL on German Credit: 1,000 loans; for a first look and for tests, not for ranking methods.

  python launch/train.py --config=configs/pcal/german.py --workdir=runs/german

The argument is the private attribute to hide: age (over 25) | sex (miscoded in this file, illustrative
only) | foreign.
Hardware and time: two CPU cores, one minute with its audit, 1 GB.
Expect little: with 200 test rows an AUC has a standard error of about 0.04, so the numbers rank nothing.
"""

from vita_jax.papers.pcal.recipe import default_config


def get_config(attribute: str = "age"):
  config = default_config("credit/german", (attribute,))
  config.update({"batch_size": 128, "steps": 600, "pretrain_steps": 100, "refit_steps": 200})
  config.restart.every = 200
  return config
