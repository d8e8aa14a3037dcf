"""Attacks on graph networks: pure functions that choose what is flipped, each with its threat model.

| module | who | knows | changes |
|---|---|---|---|
| `nettack` | Nettack | the graph and a linear surrogate | links and features of one node |
| `pr_bcd` | PR-BCD | the network itself, through its gradients | links of one node, or any |
| `gr_bcd` | GR-BCD | the same | any links |
| `fgsm` | one gradient step | the same | features of one node |
| `simple` | random, DICE | nothing, or labels | links of one node |

A network to attack is any `logits(graph) -> float32 [N, C]` of a `jraph.GraphsTuple` (`space.network_graph`).
It normalises what it reads inside the program, so that gradients pass through. `by_name` runs attacks as
scripts ask for them, `robustness` judges networks by what attacks left; through `defences` a network may read
its graph, and attacks with gradients see through them.
"""

from vita_jax._lazy import submodules
from vita_jax.attacks.defences import Defence, defended
from vita_jax.attacks.fgsm import fgsm_features
from vita_jax.attacks.graph_edits import (
  Flips,
  apply_flips,
  disconnected,
  flip_links,
  flip_words,
  read_flips,
  write_flips,
  write_graph,
)
from vita_jax.attacks.nettack import accumulate, prepare
from vita_jax.attacks.simple import dice_links, random_links
from vita_jax.attacks.space import link_space, network_graph
from vita_jax.attacks.surrogate import train_surrogate

__all__ = [
  "Defence",
  "Flips",
  "accumulate",
  "apply_flips",
  "defended",
  "dice_links",
  "disconnected",
  "fgsm_features",
  "flip_links",
  "flip_words",
  "link_space",
  "network_graph",
  "prepare",
  "random_links",
  "read_flips",
  "train_surrogate",
  "write_flips",
  "write_graph",
]

__getattr__, __dir__ = submodules(__name__)
