"""Attacks by name: what is asked is checked, and each flips what it says within its budget."""

import jax.numpy as jnp
import numpy as np
import pytest
from attacks.test_nettack import make_graph
from attacks.test_robustness import _network

from vita_jax.attacks import by_name


@pytest.mark.parametrize(
  "arguments,message",
  [
    (("nettak", None, 1), "did you mean 'nettack'"),
    (("pr_bcd", "features", 1), "flips links, not features"),
    (("random", None, 0), "budgets must be at least 1"),
  ],
)
def test_what_cannot_be_asked_is_refused(arguments, message):
  with pytest.raises(ValueError, match=message):
    by_name.asked(*arguments)


@pytest.mark.parametrize("attack", [name for name in by_name.FLIPS if name not in by_name.WHOLE])
def test_flips_keep_their_budget_and_their_kind(attack, tmp_path, monkeypatch):
  monkeypatch.setenv("VITA_CACHE_DIR", str(tmp_path))
  graph, w = make_graph(4)
  network = _network(w.astype(np.float32))

  def logits(g):  # reads changed features from `globals`, as a run's network does
    x = np.asarray(graph.features.todense(), np.float32)
    if g.globals is not None:
      x = jnp.asarray(x).at[g.globals.node].set(g.globals.row)
    return network(g._replace(nodes={**g.nodes, "features": x}))

  targets = np.array([2, 5])
  for flip in by_name.FLIPS[attack]:
    one = by_name.asked(attack, flip, 2)
    found = by_name.flips_of(one, graph, logits, targets, graph.labels)
    assert [f.target for f in found] == [2, 5]
    for f in found:
      assert len(f.links) <= 2 * (flip != "features") and len(f.words) <= 20 * (flip != "links")
    assert sum(len(f.links) + len(f.words) for f in found)
