"""The rule that moves training on, on scripted validation costs."""

import jax
import jax.numpy as jnp
import pytest

from vita_jax.papers.l2o.curriculum import REBASE, TRAIN, judge, rebase, start


def _play(costs, *, stages=3, patience="stop", state=None):
  """Judges the costs one after the other; returns the last state and what each led to."""
  state, verdicts = start() if state is None else state, []
  for cost in costs:
    state, verdict = jax.jit(judge, static_argnames=("stages", "patience"))(
      state, jnp.float32(cost), stages=stages, patience=patience
    )
    verdicts.append((bool(verdict.keep), bool(verdict.restore), int(verdict.next)))
  return state, verdicts


def test_a_stage_ends_at_the_third_evaluation_if_that_is_no_better():
  state, verdicts = _play([5, 4, 4.5])
  assert verdicts == [(True, False, TRAIN), (True, False, TRAIN), (False, True, REBASE)]
  assert (int(state.stage), int(state.evaluations), bool(state.improved), bool(state.over)) == (
    1,
    0,
    False,
    False,
  )


def test_a_stage_goes_on_while_it_improves_and_forgives_early_setbacks():
  state, verdicts = _play([5, 6, 4, 3, 2])
  assert [v[0] for v in verdicts] == [True, False, True, True, True]
  assert int(state.stage) == 0 and float(state.best) == 2
  state, verdicts = _play([2.5], state=state)
  assert int(state.stage) == 1 and verdicts[-1] == (False, True, REBASE)


def test_the_bar_is_set_anew_and_a_stage_without_improvement_ends_training():
  state, _ = _play([5, 4, 4.5])
  state = rebase(state, jnp.float32(7.0))
  assert float(state.best) == 7.0
  state, verdicts = _play([8, 8], state=state)
  assert not state.over
  state, verdicts = _play([8], state=state)
  assert bool(state.over) and int(state.stage) == 1 and verdicts[-1] == (False, False, TRAIN)


def test_an_improvement_over_the_new_bar_is_what_counts():
  state = rebase(_play([5, 4, 4.5])[0], jnp.float32(7.0))
  state, verdicts = _play([6, 8, 8], state=state)
  assert int(state.stage) == 2 and not state.over and verdicts[0][0]


def test_after_the_last_stage_training_ends_with_the_best_weights_kept():
  state, verdicts = _play([5, 4, 4.5], stages=2)
  state = rebase(state, jnp.float32(7.0))
  state, verdicts = _play([6, 5, 5.5], stages=2, state=state)
  assert bool(state.over) and int(state.stage) == 1 and not verdicts[-1][1]


def test_with_a_budget_training_continues_where_it_would_end():
  state = rebase(_play([5, 4, 4.5], patience="continue")[0], jnp.float32(7.0))
  state, verdicts = _play([8, 8, 8, 8], patience="continue", state=state)
  assert not state.over and int(state.stage) == 1 and int(state.evaluations) == 1
  assert all(v == (False, False, TRAIN) for v in verdicts)
  last, verdicts = _play([5, 4, 4.5, 9], stages=1 + 1, patience="continue")
  last, verdicts = _play([3, 2, 2.5], stages=2, patience="continue", state=rebase(last, jnp.float32(9)))
  assert int(last.stage) == 1 and verdicts[-1] == (False, True, REBASE)  # the last stage begins again


def test_a_stage_without_improvement_may_lead_on_to_the_next():
  state = rebase(_play([5, 4, 4.5], patience="advance")[0], jnp.float32(7.0))
  state, verdicts = _play([8, 8, 8], patience="advance", state=state)
  assert not state.over and int(state.stage) == 2 and verdicts[-1] == (False, True, REBASE)
  state, verdicts = _play([9, 9, 9], patience="advance", state=rebase(state, jnp.float32(8.0)))
  assert not state.over and int(state.stage) == 2 and verdicts[-1] == (False, False, TRAIN)


def test_without_a_curriculum_the_best_is_kept_and_nothing_restored():
  state, verdicts = _play([5, 6, 7, 8, 4, 9], stages=1)
  assert [v[0] for v in verdicts] == [True, False, False, False, True, False]
  assert not any(v[1] for v in verdicts) and all(v[2] == TRAIN for v in verdicts) and not state.over


@pytest.mark.parametrize("cost", [float("nan"), float("inf")])
def test_a_diverged_validation_is_never_the_best(cost):
  state, verdicts = _play([cost, cost, cost])
  assert not any(v[0] for v in verdicts) and bool(state.over) and jnp.isinf(state.best)
  assert jnp.isinf(rebase(state, jnp.float32(cost)).best)


def test_unknown_patience_is_refused():
  with pytest.raises(ValueError, match="patience"):
    judge(start(), jnp.float32(1.0), stages=2, patience="never")
