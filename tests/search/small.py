"""A space of three tokens that can be listed: the third counts only if the second is 1."""

import itertools

import jax.numpy as jnp
import numpy as np

from vita_jax.search import TokenSpace


def _live(tokens):
  return jnp.stack([jnp.asarray(True), jnp.asarray(True), tokens[1] == 1])


# The first may not be 0; the third has three values.
SPACE = TokenSpace(
  ("first", "second", "third"),
  (0, 1, 2),
  np.array([[False, True, True], [True, True, False], [True, True, True]]),
  _live,
)


def all_architectures():
  """Lists all tokens of the space, int [8, 3]."""
  found = [one for one in itertools.product((1, 2), (0, 1), (0, 1, 2)) if one[1] == 1 or one[2] == 0]
  return np.array(found)


def one_token(values=2):
  """A space of one token."""
  return TokenSpace(("arm",), (0,), np.ones((1, values), bool), lambda tokens: jnp.ones(1, bool))
