"""When a subnetwork counts as matching the full model, and whose standard deviation that needs.

The table of Chen et al. (NeurIPS 2020, arXiv 2007.12223) takes a subnetwork "within one standard deviation of
the unpruned BERT model" and does not say whose. With the full model's (`full_std`) four of its own eleven
entries fail, with the subnetwork's (`own_std`) all pass, so that is the default; `mean` is the stricter rule
of its appendix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vita_jax.base.choose import choose

RULES = ("own_std", "full_std", "mean")


def matches(ticket: Sequence[float], full: Sequence[float], *, rule: str = "own_std") -> bool:
  """Tells whether the values of a ticket over seeds match those of the full model, higher being better.

  `own_std`: mean + std of the ticket >= mean of the full; `full_std`: mean of the ticket >= mean - std of the
  full; `mean`: mean >= mean. Population std.

  Raises:
    ValueError: an unknown rule, no values, or a rule with std and a single seed.
  """
  choose("rule", rule, RULES)
  ours, theirs = np.asarray(ticket, np.float64), np.asarray(full, np.float64)
  if not ours.size or not theirs.size:
    raise ValueError("there are no values to compare")
  if rule != "mean" and (ours if rule == "own_std" else theirs).size < 2:
    raise ValueError(f"rule '{rule}' needs the spread over seeds: give two seeds or more, or rule 'mean'")
  slack = {"own_std": ours.std(), "full_std": theirs.std(), "mean": 0.0}[rule]
  return bool(ours.mean() + slack >= theirs.mean())


def last_matching(
  tickets: Mapping[float, Sequence[float]], full: Sequence[float], *, rule: str = "own_std"
) -> float | None:
  """Finds the highest sparsity whose ticket matches; None where none does.

  Args:
    tickets: sparsity -> values over seeds, higher being better.
    full: values of the full model over seeds.
    rule: see `matches`.

  Examples:
    >>> last_matching({0.5: [0.80, 0.82], 0.9: [0.60, 0.62]}, [0.81, 0.81])
    0.5
  """
  return max((s for s, values in tickets.items() if matches(values, full, rule=rule)), default=None)
