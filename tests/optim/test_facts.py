"""What cards and the README say of a learned optimizer is what is measured."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optim.table import jit
from vita_jax.optim import learned, learned_card, learned_names
from vita_jax.optim.by_name import read_optimizer
from vita_jax.optim.facts import cautions, facts, step_bound, table


def test_a_card_says_what_is_measured():
  found, card = facts(read_optimizer("rnnprop-cl-il", 0.0)), learned_card("rnnprop-cl-il")
  assert found["step bound"] == 0.01 and found["travel"] == 100 and found["bytes"] == 328
  assert found == pytest.approx(card["in use"], rel=0.05)  # another machine's rounding moves the drift
  assert cautions(card["in use"], longest=3000) == card["when not to use"]
  assert "| rnnprop-cl-il | 0.01 | 100 |" in table({"rnnprop-cl-il": found})


@pytest.mark.parametrize("name", ["rnnprop-cl-il", "dm-cl-il"])
def test_no_step_passes_the_bound(name):
  tx, bound = learned(name), step_bound(read_optimizer(name, 0.0))
  gradients = jnp.exp(10.0 * jax.random.normal(jax.random.key(0), (100, 64)))

  def step(state, g):
    updates, state = tx.update(g, state)
    return state, updates

  largest = jnp.abs(jit(lambda g: jax.lax.scan(step, tx.init(g[0]), g)[1])(gradients)).max()
  assert 0.1 * bound < largest <= bound


@pytest.mark.parametrize("name", learned_names())
def test_every_card_has_numbers_and_warnings(name):
  card = learned_card(name)
  assert {"step bound", "travel", "drift", "gradient scale", "FLOP", "bytes"} == card["in use"].keys()
  assert np.isfinite(card["in use"]["drift"]) and len(card["when not to use"]) >= 3
