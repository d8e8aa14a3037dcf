"""The two protocols on hand-made validation curves."""

import jax.numpy as jnp
import pytest

from vita_jax.papers.ss_gcn import protocol


def _judged(name, losses, accuracies=None, ties="first"):
  """Judges one epoch after the other; returns the index of the last epoch that was trained, and the state."""
  state = {"params": jnp.array(0), **protocol.start(name, jnp.array(0))}
  for t in range(len(losses) + 1):  # at t = 0 nothing was trained yet
    loss = 99.0 if t == 0 else losses[t - 1]
    accuracy = 1.0 if t == 0 else (accuracies or losses)[t - 1]
    state = {**state, "params": jnp.array(t)}
    state = protocol.judge(
      state, jnp.array(t), loss=jnp.float32(loss), accuracy=jnp.float32(accuracy), ties=ties
    )
    if state["stopped"]:
      return t - 1, state
  return None, state


def test_early_stop_on_a_list_made_by_hand():
  assert _judged("early_stop", [1.0] * 11 + [0.9, 1.05, 5.0])[0] == 12


def test_no_stop_within_the_first_eleven_epochs():
  assert _judged("early_stop", [0.1] * 10 + [9.0])[0] is None
  assert _judged("early_stop", [0.1] * 10 + [9.0, 9.1])[0] == 11


def test_equal_to_the_mean_goes_on():
  assert _judged("early_stop", [1.0] * 40)[0] is None


def test_the_untrained_weights_are_never_judged():
  assert _judged("early_stop", [1.0, *([0.5] * 30)])[0] is None  # 99 at t = 0 would raise every mean
  _, state = _judged("best_validation", [0.0] * 4, [0.2, 0.3, 0.3, 0.1])
  assert int(state["kept"]) == 2  # the first of the highest, not t = 0 with accuracy 1
  _, state = _judged("best_validation", [0.0] * 4, [0.2, 0.3, 0.3, 0.1], ties="last")
  assert int(state["kept"]) == 3


def test_the_mean_is_of_the_ten_epochs_before():
  falling = [2.0 - 0.1 * e for e in range(15)]
  mean = sum(falling[-10:]) / 10
  assert _judged("early_stop", [*falling, mean + 1e-3])[0] == 15
  assert _judged("early_stop", [*falling, mean - 1e-3])[0] is None


def test_an_unknown_protocol_names_the_nearest():
  with pytest.raises(ValueError, match="did you mean 'early_stop'"):
    protocol.start("early_stopp", None)
