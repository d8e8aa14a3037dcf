"""PCAL on the Taiwan credit cards: 30,000 clients; hides who has a high limit, keeps who defaults.

  python launch/train.py --config=configs/pcal/taiwan.py --config.gamma=2 --workdir=runs/taiwan

The argument is the private attribute to hide: limit_high (the main one) | edu | age | married | sex |
limit (the value itself). `sex` hardly leaks to begin with: whatever one does to hide it succeeds.
Hardware and time: two CPU cores, 42 to 50 s of training per seed (launch/benchmark.py pcal) and about 30 s of
audit, 2 GB.
Expect, at gamma 1, a strongest attacker of AUC 0.58 at a utility AUC of 0.756 (five seeds); the other numbers
are in vita_jax/papers/pcal/README.md.
"""

from vita_jax.papers.pcal.recipe import default_config


def get_config(attribute: str = "limit_high"):
  return default_config("credit/taiwan", (attribute,))
