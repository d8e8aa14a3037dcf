"""Meta-training as an experiment: it learns, what it counts and refuses, and how it goes on elsewhere."""

import functools
import itertools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vita_jax import train
from vita_jax.base import named_leaves
from vita_jax.base.files import load_python_file
from vita_jax.optim import KINDS, OPTIMIZEES, Optimizee, library, load_learned, optimize, optimizee
from vita_jax.optim.optimizees import late_log_loss
from vita_jax.optim.segment import mean_gradient, trajectory
from vita_jax.papers import l2o
from vita_jax.papers.l2o import curriculum, resume, tasks
from vita_jax.papers.l2o.curriculum import REBASE, TRAIN, VALIDATE
from vita_jax.papers.l2o.recipe import default_config, recipe_of
from vita_jax.train.weights import load_params, save_params

ROOT = Path(__file__).parents[3]
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


@pytest.mark.slow
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


MIXTURE = {
  "meta_batch": 2,
  "meta_loss": "log_ratio",
  "stages": (20,),
  "epochs": 1000,
  "mixture.tasks": ("quadratic", "family_factorisation:3"),
  "mixture.held_out": ("family_quadratic",),
  "mixture.reparametrise": 2.0,
  "mixture.shortest": 5,
  "mixture.staggered": True,
  "mixture.schedule": "cosine",
  "meta.gradient": "pes",
  "validation.every": 3,
}


@functools.cache
def _mixture():
  return _play("plain", 60, kind="vita_mlp", **MIXTURE)


@pytest.mark.slow
def test_a_mixture_trains_on_its_problems_and_is_validated_on_those_held_out():
  states, metrics = _mixture()
  trained, held = ("quadratic", "family_factorisation"), "validation of family_quadratic"
  assert set(states[0]["task"]) == {*trained, *(f"validation of {name}" for name in ("family_quadratic",))}
  moved = {name: 0 for name in states[0]["task"]}
  for before, after in zip(states[:-1], states[1:], strict=True):
    changed = [name for name in moved if _differ(before["task"][name].x, after["task"][name].x)]
    assert len(changed) == 1 and (changed[0] == held) == (int(before["phase"]) != TRAIN)
    assert _differ(before["params"], after["params"]) == (changed[0] != held)
    moved[changed[0]] += 1
  assert moved["family_factorisation"] > moved["quadratic"] > 0 and moved[held] > 0
  assert all(np.isfinite(x).all() for state in states for x in jax.tree.leaves(state["params"]))
  found = [float(total) for m in metrics for total, weight, *_ in [m["validation_cost"]] if weight > 0]
  assert found and np.isfinite(found).all()


def _differ(a, b):
  return any(
    (np.asarray(x) != np.asarray(y)).any() for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True)
  )


@pytest.mark.slow
def test_staggered_optimizations_begin_one_after_the_other_and_outlast_validations():
  states, _ = _mixture()
  tasks_of = [s["task"]["family_factorisation"] for s in states]
  for task in tasks_of:
    np.testing.assert_array_equal(task.tx[0].count, 5 * task.age)
    np.testing.assert_array_equal(task.tx[1].count, 5 * task.age)  # of the schedule
    assert np.all(task.age <= task.length)
  assert any(task.age[0] != task.age[1] for task in tasks_of)
  lengths = np.unique([task.length for task in tasks_of])
  assert set(lengths.tolist()) <= {0, 1, 2, 3, 4} and len(lengths) > 3  # log-uniform, each its own
  for before, after in zip(states[:-1], states[1:], strict=True):
    if int(before["phase"]) != TRAIN:
      for name in ("quadratic", "family_factorisation"):
        assert not _differ(before["task"][name], after["task"][name])


@pytest.mark.slow
def test_pes_carries_both_optimizations_and_the_sum_of_their_perturbations():
  states, _ = _mixture()
  task = next(
    s["task"]["family_factorisation"] for s in states if s["task"]["family_factorisation"].age[0] == 2
  )
  assert _differ(task.twin[0], task.x)
  size = np.concatenate([np.asarray(x)[0].ravel() for x in jax.tree.leaves(task.noise)]).std()
  np.testing.assert_allclose(size, 0.01 * np.sqrt(2), rtol=0.25)  # of two segments, 173 weights
  factors = np.array([np.unique(x[0]) for x in jax.tree.leaves(task.factors)])
  assert factors.shape == (2, 1) and (factors != 1).all() and (0.5 <= factors).all() and (factors <= 2).all()


@pytest.mark.slow
def test_the_rate_decays_over_each_optimization_as_long_as_it_is():
  """A step of vita_mlp has one size, so that what an optimization moves in a segment is the schedule's."""
  states, _ = _mixture()
  held = "validation of family_quadratic"
  moves, last = {}, 0.0
  for before, after in zip(states[:-1], states[1:], strict=True):
    if int(before["phase"]) == TRAIN or int(before["segment"]) == 0:
      continue
    a, b = before["task"][held], after["task"][held]
    moves[int(a.age[0])] = float(jnp.linalg.norm(b.x["x"][0] - a.x["x"][0]))
    last = float(b.age[0]) / float(b.length[0])
  assert last == 1.0 and sorted(moves) == [1, 2, 3]
  assert moves[3] < 0.3 * moves[1]


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("kind", ["l2o_dm", "l2o_mlp"])
def test_side_by_side_the_axis_of_optimizations_is_the_one_that_is_cut(kind, schedule):
  overrides = {"tasks": "vmap", "meta_batch": 3, "mixture.schedule": schedule, "meta.gradient": "pes"}
  experiment = l2o.build(_config(kind=kind, **overrides))
  state = jax.eval_shape(experiment.init, jax.random.key(0))
  for name, leaf in named_leaves(state).items():
    spec = next(spec for pattern, spec in experiment.shard if re.search(pattern, name))
    for axis, size in zip(spec, leaf.shape, strict=False):
      assert axis is None or size in (3, 3 * 1280), name  # or all coordinates of all three
    assert len(spec) <= leaf.ndim, name


def test_meta_gradients_are_averaged_over_the_finite_ones_each_clipped():
  gradients = {"a": jnp.array([[3.0, 0.0], [jnp.nan, 1.0], [0.0, 0.3]]), "b": jnp.array([4.0, 0.0, 0.4])}
  found = mean_gradient(gradients, largest=1.0)
  np.testing.assert_allclose(found["a"], [0.3, 0.15], rtol=1e-6)
  np.testing.assert_allclose(found["b"], 0.6, rtol=1e-6)
  np.testing.assert_allclose(mean_gradient(gradients)["a"], [1.5, 0.15], rtol=1e-6)
  assert np.isnan(mean_gradient({"a": jnp.full((2, 1), jnp.inf)})["a"]).all()


@pytest.mark.slow
def test_thetas_rate_decays_with_the_budget():
  config = {"inner_steps": 40, "meta.schedule": "cosine"}
  moved = []
  for overrides in (config, {"inner_steps": 40}):
    states, _ = _play("plain", 13, **overrides)
    steps = [
      float(jnp.abs(b["params"]["linear"]["w"] - a["params"]["linear"]["w"]).max())
      for a, b in itertools.pairwise(states)
      if int(a["phase"]) == TRAIN
    ]
    moved.append(steps)
  np.testing.assert_allclose(moved[0][0], moved[1][0], rtol=1e-4)
  assert moved[0][-1] < 0.2 * moved[1][-1]
  with pytest.raises(ValueError, match="config.meta.schedule is cosine: it needs config.inner_steps"):
    l2o.build(_config(**{"meta.schedule": "cosine"}))


def test_the_logged_loss_is_that_of_a_step_whatever_its_form():
  """The logarithm of a ratio is a mean over steps already."""
  states, metrics = _play("plain", 1, meta_loss="log_ratio")
  problem = tasks.problem(optimizee("quadratic"), batch_size=128, kind="l2o_dm")
  x = problem.init(jax.random.split(tasks.stream(jax.random.key(0), tasks.INIT, 0), 1)[0])
  tx, keys = KINDS["l2o_dm"].build(states[0]["params"]), jax.random.split(jax.random.key(0), 6)
  losses = trajectory(tx, problem.loss({}), x, tx.init(x), keys)[2]
  loss, weight = (float(x) for x in metrics[0]["self_loss"])
  assert weight == 1.0
  np.testing.assert_allclose(loss, jnp.mean(jnp.log(losses / losses[0])), rtol=1e-3, atol=1e-5)


def test_the_budget_of_rnnprop_2_reaches_its_longest_optimizations():
  config = load_python_file(ROOT / "configs" / "l2o" / "rnnprop_2.py").get_config()
  least = curriculum.LEAST * config.validation.every * sum(config.stages) * config.meta_batch
  assert least < config.inner_steps and max(config.stages) == 5000


def test_options_of_the_builder_may_be_trained_with():
  config = _config(kind="rnnprop", **{"optimizee.name": "quadratic"})
  config.optimizer.update({"scale": 0.1, "odd": True})
  recipe = recipe_of(config)
  l2o.check(config)
  assert recipe.options == {"scale": 0.1, "odd": True}
  config.optimizer.scale = -1.0
  with pytest.raises(ValueError, match="config.optimizer.scale is -1.0"):
    l2o.check(config)


def test_teachers_may_have_rates_of_their_own():
  config = _config("cl_il", **{"imitation.teachers": ("adam:0.003", "adam", "adam:0.03")})
  teachers = recipe_of(config).teachers
  x, g = {"x": jnp.zeros(2)}, {"x": jnp.ones(2)}
  steps = {name: float(tx.update(g, tx.init(x))[0]["x"][0]) for name, tx in teachers.items()}
  for name, rate in (("adam:0.003", 0.003), ("adam", 0.01), ("adam:0.03", 0.03)):
    np.testing.assert_allclose(steps[name], -rate, rtol=1e-3)
  assert set(l2o.build(config).init(jax.random.key(0))["meta"]) == {"self", *teachers}


def test_a_kind_and_a_problem_of_ones_own_are_entries_of_two_tables(monkeypatch):
  """The documented door: see the README."""

  def build(theta, *, scale=0.1):
    return optax.sgd(scale * theta["rate"])

  kind = library.Kind(build, lambda key: {"rate": jnp.ones(())}, coordinatewise=True)
  monkeypatch.setitem(KINDS, "own_kind", kind)
  bowl = Optimizee("", lambda key: {"x": jnp.ones(3)}, lambda p, b: jnp.sum(p["x"] ** 2), lambda *a: ())
  monkeypatch.setitem(OPTIMIZEES, "bowl", bowl)
  config = _config(kind="own_kind", **{"optimizee.name": "bowl", "meta.learning_rate": 0.1})
  experiment = l2o.build(config)
  state, step = experiment.init(jax.random.key(0)), jax.jit(experiment.stages[0].step)
  for t in range(4):
    state, _ = step(state, {}, t)
  assert state["params"]["rate"] > 1.1  # the bowl asks for larger steps


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
    ({"mixture.tasks": ("quadratic", "quadratic:2")}, "has the problem 'quadratic' twice"),
    ({"mixture.tasks": ("quadratik",)}, "did you mean"),
    ({"mixture.tasks": ("digits_mlp", "mnist_mlp")}, "problems on digits, mnist: choose those of one"),
    ({"mixture.tasks": ("quadratic:0",)}, "names in OPTIMIZEES, each with a weight"),
    ({"mixture.shortest": 100}, "from config.unroll_length"),
    ({"mixture.schedule": "cosine", "variant": "cl_il"}, "teachers of imitation"),
    ({"mixture.staggered": True, "tasks": "vmap"}, "begin all optimizations at once"),
    ({"meta.gradient": "pes", "optimizer.kind": "l2o_scale"}, "which PES does not follow"),
    ({"optimizer.scale": 0.1, "optimizer.kind": "l2o_mlp"}, "l2o_mlp has no such option"),
    ({"imitation.teachers": ("adam:fast",)}, "also as adam:0.003"),
  ],
)
def test_options_that_cannot_be_are_refused_by_name(overrides, said):
  with pytest.raises(ValueError, match=said):
    l2o.build(_config(**overrides))


def test_unknown_variants_are_refused_with_those_there_are():
  with pytest.raises(ValueError, match="Choose one of plain, cl_il"):
    default_config("rnnprop", "clil", variants=PLAIN)
