"""A search space as a sequence of tokens: how many values each has, which are allowed, and which count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

MASKED = -1e9  # a logit that is as good as impossible; minus infinity would make NaN in gradients


class TokenSpace(NamedTuple):
  """A space of architectures, each a sequence of T tokens from 0 on.

  Attributes:
    names: of the tokens, e.g. "cells of branch 1 in stage 2".
    kinds: of each token the number of its kind, from 0 on; tokens of a kind share decoder and embedding.
    allowed: bool [T, most]: the values that each token may have, at least one.
    live: `tokens [T] -> bool [T]`: which tokens say anything, given those before them; entry t may depend on
      tokens 0 to t - 1 alone. A dead token is 0. Traced.

  Examples:
    >>> def live(tokens):
    ...   return jnp.stack([True, tokens[0] == 1])  # the second counts only if the first is 1
    >>> two = TokenSpace(("a", "b"), (0, 1), np.ones((2, 2), bool), live)
    >>> two.length, two.most
    (2, 2)
  """

  names: tuple[str, ...]
  kinds: tuple[int, ...]
  allowed: np.ndarray
  live: Callable[[Any], Any]

  @property
  def length(self) -> int:
    """T, the number of tokens."""
    return len(self.names)

  @property
  def most(self) -> int:
    """The most values that a token has."""
    return self.allowed.shape[1]

  @property
  def n_kinds(self) -> int:
    """The number of kinds of tokens."""
    return max(self.kinds) + 1


def masked_logits(logits: jax.Array, allowed: Any) -> jax.Array:
  """Replaces the logits of values that are not allowed by -1e9; no gradient reaches them.

  Examples:
    >>> jax.nn.softmax(masked_logits(jnp.zeros(3), jnp.array([True, False, True]))).tolist()
    [0.5, 0.0, 0.5]
  """
  return jnp.where(allowed, logits, MASKED)


def check_tokens(space: TokenSpace, tokens: Any) -> np.ndarray:
  """Returns the tokens of an architecture as int32 [T].

  Raises:
    ValueError: another length, a live token whose value is not allowed, or a dead one that is not 0.
  """
  found = np.asarray(tokens)
  if found.shape != (space.length,) or found.dtype.kind not in "iu":
    raise ValueError(
      f"tokens are {found.dtype} {list(found.shape)}: this space has {space.length} whole numbers"
    )
  live = np.asarray(space.live(jnp.asarray(found)))
  for name, value, counts, allowed in zip(space.names, found, live, space.allowed, strict=True):
    if counts and not (0 <= value < len(allowed) and allowed[value]):
      raise ValueError(f"{name} is {value}: it must be one of {np.flatnonzero(allowed).tolist()}")
    if not counts and value:
      raise ValueError(f"{name} is {value}: the tokens before it leave it no meaning, so it must be 0")
  return found.astype(np.int32)
