"""Token spaces: what is allowed, what is dead, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from search.small import SPACE, all_architectures

from vita_jax.search import check_tokens, sample


def test_every_draw_is_an_architecture_of_the_space():
  known = {tuple(one) for one in all_architectures()}
  drawn = jax.vmap(lambda key: sample(key, SPACE, None).tokens)(jax.random.split(jax.random.key(0), 300))
  assert {tuple(one) for one in np.asarray(drawn).tolist()} == known
  for one in drawn[:5]:
    check_tokens(SPACE, one)


@pytest.mark.parametrize(
  ("tokens", "says"),
  [
    ([0, 0, 0], "first is 0: it must be one of"),
    ([1, 0, 2], "third is 2: the tokens before it leave it no meaning"),
    ([1, 5, 0], "second is 5"),
    ([1, 0], "this space has 3 whole numbers"),
    ([1.0, 0.0, 0.0], "float64"),
  ],
)
def test_tokens_of_no_architecture_are_refused(tokens, says):
  with pytest.raises(ValueError, match=says):
    check_tokens(SPACE, np.asarray(tokens))


def test_live_tokens_depend_on_those_before_alone():
  for one in all_architectures():
    live = np.asarray(SPACE.live(jnp.asarray(one)))
    for t in range(SPACE.length):
      cut = np.where(np.arange(SPACE.length) < t, one, 0)
      assert np.asarray(SPACE.live(jnp.asarray(cut)))[t] == live[t]
