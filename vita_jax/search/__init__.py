"""Architecture search, whatever the space: sequences of tokens, cells of mixed operations, and who chooses.

A network level is a sequence of tokens (`TokenSpace`): a controller draws it and learns by REINFORCE, uniform
draws and ageing evolution are drop-ins. A cell level is a softmax over operations on each edge, trained by
gradient (`mixing_weights`) and made discrete afterwards (`strongest`).
"""

from vita_jax._lazy import submodules
from vita_jax.search.controller import Choice, evaluate, greedy, init_controller, sample
from vita_jax.search.evolution import Population, empty_population, insert, propose
from vita_jax.search.mixture import anneal, mixing_weights, strongest
from vita_jax.search.operations import OPERATIONS, Norm, Operation, operation_macs, weightless_share
from vita_jax.search.reinforce import Learner, cost_aware, init_learner, learn
from vita_jax.search.tokens import TokenSpace, check_tokens, masked_logits

__all__ = [
  "OPERATIONS",
  "Choice",
  "Learner",
  "Norm",
  "Operation",
  "Population",
  "TokenSpace",
  "anneal",
  "check_tokens",
  "cost_aware",
  "empty_population",
  "evaluate",
  "greedy",
  "init_controller",
  "init_learner",
  "insert",
  "learn",
  "masked_logits",
  "mixing_weights",
  "operation_macs",
  "propose",
  "sample",
  "strongest",
  "weightless_share",
]

__getattr__, __dir__ = submodules(__name__)
