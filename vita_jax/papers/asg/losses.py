"""The objective of fine-tuning: the new task, the proxy on the old one, and what else holds the student."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vita_jax.losses.anchor import feature_l2, l2_sp
from vita_jax.losses.distil import capped_weight, proxy_kl
from vita_jax.losses.xent import cross_entropy
from vita_jax.papers.asg.model import Seen
from vita_jax.papers.asg.recipe import Anchor, Proxy

Tree = Any


class Terms(NamedTuple):
  """Terms of the objective, float32 scalars: the new task's, L_KL, the anchor's."""

  task: jax.Array
  kl: jax.Array
  anchor: jax.Array


def task_loss(logits: jax.Array, labels: jax.Array, *, ignore: int | None = None) -> jax.Array:
  """Computes the cross-entropy, the mean over pictures, or over all pixels that are not ignored.

  Args:
    logits: [n, classes] or [n, h, w, classes].
    labels: int [n] or [n, h, w].
    ignore: the label that counts nowhere.

  Examples:
    >>> logits = jnp.log(jnp.array([[0.5, 0.5], [0.25, 0.75]]))
    >>> round(float(task_loss(logits, jnp.array([0, 255]), ignore=255)), 6)  # ln 2
    0.693147
  """
  labels = labels.astype(jnp.int32)
  weights = jnp.ones(labels.shape) if ignore is None else labels != ignore
  return cross_entropy(logits, labels, weights)


def anchor_loss(
  anchor: Anchor, trunk: Tree, start: Tree, seen: Seen, features: jax.Array, importance: Tree
) -> jax.Array:
  """Computes what holds the trunk's weights or the features, without its weight; 0 where nothing does.

  Args:
    anchor: which.
    trunk: the student's.
    start: the trunk that fine-tuning started from.
    seen: by the student.
    features: of the teacher, for feature_l2.
    importance: of each weight, for synaptic.
  """
  if anchor.kind == "l2_sp":
    return l2_sp(trunk, start)
  if anchor.kind == "synaptic":
    return l2_sp(trunk, start, importance=importance)
  if anchor.kind == "feature_l2":
    return feature_l2(seen.features, features)
  return jnp.zeros(())


def total_loss(proxy: Proxy, anchor: Anchor, terms: Terms) -> jax.Array:
  """Computes L_task + lambda L_KL + mu L_anchor; with a cap lambda is lowered where the term exceeds it."""
  weight = capped_weight(proxy.weight, terms.kl, proxy.cap)
  return terms.task + weight * terms.kl + anchor.weight * terms.anchor


def kl_of(seen: Seen, old: jax.Array) -> jax.Array:
  """Computes L_KL: of the teacher's old logits [n, old classes] to the student's."""
  return proxy_kl(seen.old, old)
