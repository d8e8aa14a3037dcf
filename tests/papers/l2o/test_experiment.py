"""Meta-training as an experiment: it learns, what it counts and refuses, and how it goes on elsewhere."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax import train
from vita_jax.base import named_leaves
from vita_jax.optim import KINDS, OPTIMIZEES, load_learned, optimize, optimizee
from vita_jax.optim.optimizees import late_log_loss
from vita_jax.papers import l2o
from vita_jax.papers.l2o import resume, tasks
from vita_jax.papers.l2o.curriculum import REBASE, TRAIN, VALIDATE
from vita_jax.papers.l2o.recipe import default_config
from vita_jax.train.weights import load_params, save_params

PLAIN = ("plain", "cl_il")


def _config(variant="plain", kind="l2o_dm", **overrides):
  config = default_config(kind, variant, variants=PLAIN)
  config.optimizee.name = "quadratic"
  config.update({"unroll_length": 5, "stages": (10,), "epochs": 4, "log_every": 1})
  config.validation.update({"every": 2, "runs": 2})
  config.final.update({"steps": 100, "runs": 2})
  if variant == "cl_il":
    config.stages, config.imitation.ratio = (10, 20), (0.5,)
  config.update_from_flattened_dict(overrides)
  return config


# Theta moves so far that costs go up, too, and stages end.
WILD = {
  "imitation.ratio": (0.5,),
  "epochs": 1000,
  "validation.every": 1,
  "patience": "continue",
  "meta.learning_rate": 0.3,
}


@functools.cache
def _compiled(variant, **overrides):
  experiment = l2o.build(_config(variant, **overrides))
  # Compiled for some hundred short steps: half the time at this level.
  jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
  return jit(experiment.init), jit(experiment.stages[0].step), experiment


@functools.cache
def _play(variant, n, **overrides):
  """The states after 0 ... n steps and the metrics of each step."""
  init, step, _ = _compiled(variant, **overrides)
  states, found = [init(jax.random.key(0))], []
  for t in range(n):
    state, metrics = step(states[-1], {}, t)
    states.append(state)
    found.append(metrics)
  return states, found


def test_epochs_validations_and_counters_follow_each_other_as_the_config_says():
  # Epochs of 2 segments; after every 2 epochs 2 validation runs of 2 segments; 4 epochs in all.
  states, _ = _play("plain", 17)
  phases = [int(s["phase"]) for s in states]
  assert phases[:16] == [TRAIN] * 4 + [VALIDATE] * 4 + [TRAIN] * 4 + [VALIDATE] * 4
  assert [int(s["epoch"]) for s in states[:6]] == [0, 0, 1, 1, 2, 2]
  assert int(states[16]["inner_steps"]) == 4 * 10 and int(states[16]["validations"]) == 2
  assert bool(states[16]["over"]) and not bool(states[15]["over"])


def test_validation_changes_neither_weights_nor_moments():
  states, _ = _play("plain", 8)
  before, after = states[4], states[7]
  for name in ("params", "meta"):
    for a, b in zip(jax.tree.leaves(before[name]), jax.tree.leaves(after[name]), strict=True):
      np.testing.assert_array_equal(a, b)
  moved = jax.tree.map(lambda a, b: bool((a != b).any()), states[0]["params"], before["params"])
  assert all(jax.tree.leaves(moved))


def test_an_optimization_is_carried_over_segments_and_starts_anew_with_its_epoch():
  states, _ = _play("plain", 3)
  first, second, anew = (s["task"]["quadratic"].x for s in states[1:])
  assert float(jnp.abs(states[1]["task"]["quadratic"].tx.h2).sum()) > 0 and (first != second).any()
  problem = tasks.problem(optimizee("quadratic"), batch_size=128, kind="l2o_dm")

  def of_epoch(n):
    return jax.random.split(tasks.stream(jax.random.key(0), tasks.INIT, n), 1)[0]

  starts = [problem.init(of_epoch(n)) for n in (0, 1)]
  # Both segments of an epoch stay near its x_0, the next epoch's near another: updates are of 0.01.
  distances = [[float(jnp.abs(x - start).mean()) for start in starts] for x in (first, second, anew)]
  assert [d[0] < d[1] for d in distances] == [True, True, False]


def test_every_lesson_has_its_own_moments():
  states, _ = _play("cl_il", 120, **WILD)
  lessons = [int(s["lesson"]) for s in states[1:] if int(s["phase"]) == TRAIN]
  assert set(lessons) == {0, 1}, "the coin should show both sides here: choose another seed"
  for before, after in zip(states[:-1], states[1:], strict=True):
    if int(before["phase"]) != TRAIN:
      continue
    changed = {
      name: any(
        (np.asarray(a) != np.asarray(b)).any()
        for a, b in zip(
          jax.tree.leaves(before["meta"][name]), jax.tree.leaves(after["meta"][name]), strict=True
        )
      )
      for name in ("self", "adam")
    }
    imitates = int(after["lesson"]) == 1
    assert changed == {"self": not imitates, "adam": imitates}


def test_a_stage_that_ends_restores_its_best_weights_and_sets_the_bar_anew():
  states, _ = _play("cl_il", 120, **WILD)
  ends = [i for i, s in enumerate(states[1:], 1) if int(s["phase"]) == REBASE != int(states[i - 1]["phase"])]
  assert ends, "no stage ended: play longer"
  end = states[ends[0]]
  assert int(end["curriculum"].stage) == 1
  for a, b in zip(jax.tree.leaves(end["params"]), jax.tree.leaves(end["kept"]), strict=True):
    np.testing.assert_array_equal(a, b)
  after = next(s for s in states[ends[0] :] if int(s["phase"]) == TRAIN)
  np.testing.assert_allclose(after["curriculum"].best, after["validation"]["cost"])


@pytest.mark.slow
def test_side_by_side_and_one_after_the_other_give_one_gradient():
  # The quadratic draws nothing, so both see the same losses from the same starts.
  found = []
  for how in ("map", "vmap"):
    states, metrics = _play("plain", 2, meta_batch=3, tasks=how)
    found.append((states[1]["meta"]["self"], states[2]["params"], metrics[1]["self_loss"]))
  for a, b in zip(*map(jax.tree.leaves, found), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)


def test_a_gradient_that_is_not_finite_is_skipped_and_counted():
  init, step, _ = _compiled("plain")
  state = init(jax.random.key(0))
  state["params"]["linear"]["b"] = jnp.full(1, jnp.nan)
  after, metrics = step(state, {}, 0)
  assert int(after["skipped"]) == 1
  for a, b in zip(jax.tree.leaves(state["meta"]), jax.tree.leaves(after["meta"]), strict=True):
    np.testing.assert_array_equal(a, b)
  assert all(np.isfinite(total) for total, *_ in metrics.values()) and float(metrics["self_loss"][1]) == 0


def test_streams_of_random_numbers_do_not_meet():
  tags = [
    tasks.INIT,
    tasks.TRAIN,
    tasks.TEACHER,
    tasks.COIN,
    tasks.VALIDATION_INIT,
    tasks.VALIDATION,
    tasks.FINAL,
  ]
  assert len(set(tags)) == len(tags)
  keys = [tasks.stream(jax.random.key(0), tag, 3, 1) for tag in tags]
  assert len({jax.random.key_data(k).tobytes() for k in keys}) == len(tags)


def test_a_run_goes_on_in_another_workdir_from_a_small_file(tmp_path):
  states, _ = _play("cl_il", 8, **WILD)
  save_params(tmp_path / "state.safetensors", resume.packed(states[8]))
  assert (tmp_path / "state.safetensors").stat().st_size < 200_000
  init = l2o.build(_config("cl_il", resume_from=str(tmp_path / "state.safetensors"), **WILD)).init
  again = init(jax.random.key(0))
  for name in resume.PARTS:
    for a, b in zip(jax.tree.leaves(states[8][name]), jax.tree.leaves(again[name]), strict=True):
      np.testing.assert_array_equal(a, b)
  assert int(again["segment"]) == 0
  with pytest.raises(ValueError, match="another config"):
    l2o.build(_config("plain", kind="rnnprop", resume_from=str(tmp_path / "state.safetensors"))).init(
      jax.random.key(0)
    )
  with pytest.raises(FileNotFoundError, match="l2o/state"):
    l2o.build(_config(resume_from=str(tmp_path / "none"))).init(jax.random.key(0))


def test_it_learns_to_optimize_and_exports_what_load_learned_reads(tmp_path):
  config = _config(epochs=60, **{"validation.every": 20, "meta.learning_rate": 0.01})
  summary = train.run(l2o.build(config), config, tmp_path, quiet=True)
  untrained = KINDS["l2o_dm"].init_theta(jax.random.fold_in(jax.random.key(0), tasks.INIT))
  trained = load_learned(tmp_path / "export")
  ours, theirs = (_ln_loss(tx) for tx in (trained, KINDS["l2o_dm"].build(untrained)))
  assert ours < theirs - 0.5
  assert summary["metrics"]["final_diverged"]["values"] == [0.0]
  assert summary["metrics"]["inner_steps"]["values"] == [600.0]


def test_a_run_whose_every_optimization_diverges_says_so():
  init, _, experiment = _compiled("plain")
  state, diverged = init(jax.random.key(0)), {"ln_loss": float("nan"), "diverged": 1.0}
  with pytest.warns(UserWarning, match="all 2 final optimizations diverged.* started with"):
    found = experiment.report(state, lambda name, state: diverged, None)
  assert found.metrics["final_diverged"] == 1.0 and found.metrics["skipped"] == 0


@pytest.mark.slow
def test_weights_stay_finite_where_every_loss_is_not(tmp_path, monkeypatch):
  nowhere = OPTIMIZEES["quadratic"]._replace(loss=lambda x, batch: jnp.nan * jnp.sum(x["x"]))
  monkeypatch.setitem(OPTIMIZEES, "nowhere", nowhere)
  config = _config(**{"optimizee.name": "nowhere"})
  with pytest.warns(UserWarning, match="all 2 final optimizations diverged"):
    summary = train.run(l2o.build(config), config, tmp_path, quiet=True)
  assert summary["metrics"]["skipped"]["values"] == [8.0]  # 4 epochs of 2 segments
  kept = load_params(tmp_path / "export" / "params.safetensors")
  start = KINDS["l2o_dm"].init_theta(jax.random.fold_in(jax.random.key(0), tasks.INIT))
  for name, leaf in named_leaves(start).items():
    np.testing.assert_allclose(kept[name], leaf, rtol=1e-6)


def test_a_loss_that_is_no_scalar_is_refused(monkeypatch):
  monkeypatch.setitem(OPTIMIZEES, "rows", OPTIMIZEES["quadratic"]._replace(loss=lambda x, batch: x["x"]))
  experiment = l2o.build(_config(**{"optimizee.name": "rows"}))
  with pytest.raises(ValueError, match=r"loss has shape .*average it over the minibatch"):
    jax.eval_shape(experiment.stages[0].step, jax.eval_shape(experiment.init, jax.random.key(0)), {}, 0)


def _ln_loss(tx):
  problem = optimizee("quadratic")

  def loss(x, key):
    return problem.loss(x, problem.sample({}, key, 1))

  run = jax.jit(lambda x: optimize(tx, loss, x, jax.random.key(1), steps=100)[1])
  return float(late_log_loss(run(problem.init(jax.random.key(5)))))


@pytest.mark.parametrize(
  "overrides, said",
  [
    ({"stages": (12,)}, "multiples of config.unroll_length, 5"),
    ({"stages": ()}, "whole numbers, at least 1"),
    ({"imitation.ratio": (1.5,)}, "numbers from 0 to 1"),
    ({"meta_batch": 0}, "at least 1"),
    ({"save_every": 2}, "must divide"),
    ({"patience": "stopp"}, "did you mean 'stop'"),
    ({"tasks": "pmap"}, "Choose one of map, vmap"),
    ({"meta_loss": "mean"}, "Choose one of sum, log_ratio"),
    ({"validation.draws": "old"}, "Choose one of fresh, fixed"),
    ({"meta.optimizer": "sgd"}, "Choose one of adam, rmsprop"),
    ({"optimizer.kind": "dm"}, "did you mean"),
    ({"optimizee.name": "mnist_mpl"}, "did you mean 'mnist_mlp'"),
    ({"run.steps": 500}, "'meta_train' does not read it"),
  ],
)
def test_options_that_cannot_be_are_refused_by_name(overrides, said):
  with pytest.raises(ValueError, match=said):
    l2o.build(_config(**overrides))


def test_unknown_variants_are_refused_with_those_there_are():
  with pytest.raises(ValueError, match="Choose one of plain, cl_il"):
    default_config("rnnprop", "clil", variants=PLAIN)
