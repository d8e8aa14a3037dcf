"""GraphMix: in half of the epochs the same weights, without the graph, learn mixtures of nodes.

Which half is decided by a fixed hash of the epoch, the same for all seeds, so that replicated seeds branch
together. In a mixing epoch pseudo-labels are the sharpened mean of stochastic predictions of the graph
network; the layers without the graph learn, by manifold mixup of the hidden layer, training nodes and as
many unlabelled ones. Other epochs learn the training labels as a graph network does. Source: Verma et al.,
AAAI 2021 (arXiv 1909.11715), in the form of SS-GCN's released code.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.hashing import mix
from vita_jax.data.resident import Resident
from vita_jax.optim.ramps import ramp_up
from vita_jax.papers.ss_gcn import losses
from vita_jax.papers.ss_gcn.recipe import Recipe
from vita_jax.papers.ss_gcn.steps import Batch, Objective, labelled, make_step, training_labels
from vita_jax.train.experiment import Stage, State

_SALT = np.uint32(0x6D697865)


def stages(recipe: Recipe, model: Any, data: Resident, objective: Objective) -> tuple[Stage, ...]:
  """Returns the one stage of a run; `objective` is that of multi-task learning."""
  supervised = functools.partial(mixed_or_plain, recipe.graphmix)
  step = make_step(model, recipe.tx, objective._replace(supervised=supervised, ties="last"))
  return (Stage("train", recipe.epochs + 1, step, data),)


def mixes(t: jax.Array) -> jax.Array:
  """Tells whether epoch t is a mixing one: a fair coin that is a hash of t.

  Examples:
    >>> [int(mixes(t)) for t in range(8)]
    [0, 0, 1, 1, 1, 1, 1, 1]
  """
  return (mix(jnp.asarray(t).astype(jnp.uint32) ^ _SALT) & 1).astype(bool)


def mixed_or_plain(
  own: Any,
  model: Any,
  params: Any,
  projected: Any,
  state: State,
  batch: Batch,
  key: jax.Array,
  t: jax.Array,
) -> jax.Array:
  """Computes the target loss of epoch t; called as `steps.labelled` is, with the settings first."""
  arguments = (model, params, projected, state, batch, key, t)
  return jax.lax.cond(mixes(t), functools.partial(mixed, own, *arguments), lambda: labelled(*arguments))


def mixed(
  own: Any,
  model: Any,
  params: Any,
  projected: Any,
  state: State,
  batch: Batch,
  key: jax.Array,
  t: jax.Array,
) -> jax.Array:
  """Computes the loss of a mixing epoch: of training nodes, and of as many unlabelled ones with a ramp."""
  passes, alone, drawn, first, second = jax.random.split(key, 5)
  hidden = model.apply({"params": params}, projected, alone, method="alone")
  train, others = batch["nodes"]["train"], batch["nodes"]["others"]
  labels, _ = training_labels(state, batch)
  classify = functools.partial(model.apply, {"params": params}, method="classify")
  known = jax.nn.one_hot(labels[train], model.n_classes)
  loss = mixup(classify, first, hidden[train], known)
  chosen = jax.random.choice(drawn, others, train.shape)
  guesses = pseudo_labels(own, model, params, projected, batch, chosen, passes)
  unlabelled = mixup(classify, second, hidden[chosen], guesses)
  weight = ramp_up(t, peak=own.unlabelled_weight, length=own.ramp_epochs, shift=own.ramp_start)
  return loss + weight * unlabelled


def pseudo_labels(
  own: Any, model: Any, params: Any, projected: Any, batch: Batch, nodes: jax.Array, key: jax.Array
) -> jax.Array:
  """Returns the mean softmax of `own.passes` passes with dropout, to the power 1 / temperature: [n, C]."""
  params = jax.lax.stop_gradient({"params": params})

  def one(i):
    once = jax.random.fold_in(key, i)
    outputs = model.apply(params, projected, batch["adjacency"], "full", once, method="heads")
    return jax.nn.softmax(outputs["target"][nodes])

  mean = jax.lax.map(one, jnp.arange(own.passes)).mean(axis=0)
  return jax.nn.softmax(jnp.log(mean) / own.temperature)


def mixup(classify: Any, key: jax.Array, hidden: jax.Array, targets: jax.Array) -> jax.Array:
  """Computes the loss of pairs of rows mixed in one proportion, drawn uniformly (Beta(1, 1)).

  Args:
    classify: hidden rows [n, d] -> logits [n, C].
    key: of the proportion and of the pairs.
    hidden: [n, d].
    targets: float32 [n, C].
  """
  share_key, order_key = jax.random.split(key)
  share = jax.random.uniform(share_key)
  order = jax.random.permutation(order_key, hidden.shape[0])
  mixed_hidden, mixed_targets = (share * x + (1 - share) * x[order] for x in (hidden, targets))
  return losses.binary_cross_entropy(classify(mixed_hidden), mixed_targets)
