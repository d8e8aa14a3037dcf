"""Adversarial logos on bodies in photographs, against person detectors.

  python launch/train.py --config=configs/adv_logo/person.py:logo --workdir=runs/logo
"""

from vita_jax.papers.adv_logo.recipe import default_config


def get_config(method: str = "logo"):
  return default_config(method)
