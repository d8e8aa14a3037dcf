"""Whole runs of seconds, and what each method may and may not move."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from papers.asg import small

from vita_jax import papers, train
from vita_jax.data.files import read_safetensors
from vita_jax.data.resident import batch_at
from vita_jax.nn.policy import CategoricalPolicy
from vita_jax.optim import load_controller
from vita_jax.optim.groups import multipliers_of
from vita_jax.optim.windows import window_lengths
from vita_jax.papers.asg import data, model, rates, steps
from vita_jax.papers.asg.recipe import METHODS, default_config, recipe_of
from vita_jax.papers.asg.stages import first_state, stages
from vita_jax.train.batches import stage_data
from vita_jax.train.program_file import write_program


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """(experiment, config, final state, summary, workdir) of ASG, teacher and controller trained here."""
  config, workdir, seen = small.config("asg"), tmp_path_factory.mktemp("run"), {}
  experiment = papers.build(config)

  def report(state, evaluate, sweep):
    seen["state"] = state
    return experiment.report(state, evaluate, sweep)

  summary = train.run(experiment._replace(report=report), config, workdir, quiet=True)
  return experiment, config, seen["state"], summary, workdir


def test_a_run_reports_both_accuracies_the_old_task_and_its_decisions(run):
  _, config, state, summary, workdir = run
  found = {name: entry["mean"] for name, entry in summary["metrics"].items()}
  shares = [found[f"real_class_{i}_accuracy"] for i in range(10)]
  assert found["real_mean_class_accuracy"] == pytest.approx(np.mean(shares))
  assert found["real_overall_accuracy"] != found["real_mean_class_accuracy"]
  assert found["last_overall_accuracy"] == found["real_overall_accuracy"]
  assert {"old_head_accuracy", "teacher_old_head_accuracy", "wise_mean_class_accuracy", "kl"} <= found.keys()
  assert "peeking_mean_class_accuracy" in found and 0 < found["own_reward"] < 1
  lines = (workdir / "policy.csv").read_text().splitlines()
  assert lines[0] == "step,loss,kl,progress,head_mean,head_std,conv1,conv2,fc,head"
  windows = np.cumsum(window_lengths(6, 2, smallest=2))  # 60 pictures in batches of 10
  assert [int(line.split(",")[0]) for line in lines[1:]] == windows[:-1].tolist()
  assert found["decisions"] == len(lines) - 1 == len(windows) - 1
  assert (workdir / "figures" / "policy.png").exists()
  assert int(state["controller"]["updates"]) >= 1 and np.isfinite(float(state["controller"]["best"]))


def test_the_teacher_never_moves_and_the_controller_has(run):
  experiment, _, state, _, _ = run
  enter = experiment.stages[-1].enter
  again = enter(state, None)
  for part in ("trunk", "old"):
    for a, b in zip(
      jax.tree.leaves(again["teacher"][part]), jax.tree.leaves(state["teacher"][part]), strict=True
    ):
      np.testing.assert_array_equal(a, b)
  theta, first = state["controller"]["theta"], state["controller"]["best_theta"]
  assert theta["params"]["head_kernel"].shape == first["params"]["head_kernel"].shape == (4, 101, 11)


def test_the_test_pictures_are_seen_by_the_report_alone(run):
  """Not at the end of a stage as well: they are 10,000 photographs."""
  lines = [json.loads(line) for line in (run[4] / "metrics.jsonl").read_text().splitlines()]
  assert {row["split"] for row in lines} == {"train"}


def test_real_accuracy_at_an_equal_synthetic_one_lies_between_two_looks(monkeypatch):
  """A look is coarse: one method may have 0.55 and another 0.7 when it first has 0.5."""
  tune = SimpleNamespace(look_every=5, steps=20, equal_at=0.5)
  sides = {"held_out": iter([0.3, 0.7, 0.9]), "quick": iter([0.2, 0.4, 0.1])}

  def shares(recipe, nets, params, teacher, places):
    return [jnp.asarray(next(sides[place])) for place in places]

  monkeypatch.setattr(steps, "shares_right", shares)
  monkeypatch.setattr(steps.jax.lax, "cond", lambda due, yes, no, state: yes(state))
  state = {"params": jnp.zeros(1), "teacher": {}, "equal": jnp.asarray(-1.0)}
  state |= {name: {"synthetic": jnp.asarray(0.1), "target": jnp.asarray(0.1)} for name in ("best", "last")}
  state["kept"] = {side: jnp.zeros(1) for side in state["best"]}
  found = []
  for t in (4, 9, 14):
    state = steps.looked(SimpleNamespace(tune=tune), None, state, {n: n for n in sides}, jnp.int32(t))
    found.append(round(float(state["equal"]), 4))
  assert found == [-1.0, 0.3, 0.3]


def test_a_look_counts_each_side_by_itself(run, monkeypatch):
  """Pictures may have a size per side, as drawings of 64 x 64 and CIFAR-10's photographs have."""
  _, config, state, _, _ = run
  recipe = recipe_of(config)
  inputs = data.read_inputs(recipe)
  nets = model.nets_of(recipe, len(inputs.classes), inputs.old_groups)
  sides = [{name: x[:7] for name, x in inputs.held_out.items()}, {n: x[:5] for n, x in inputs.quick.items()}]
  sides[1]["image"] = np.repeat(np.repeat(sides[1]["image"], 2, axis=1), 2, axis=2)
  expected = [
    np.mean(
      model.see(nets, state["params"], state["teacher"], side["image"]).logits.argmax(-1) == side["label"]
    )
    for side in sides
  ]
  for size in (50, 5):  # one batch; three, the last with three pictures that do not count
    monkeypatch.setattr(steps, "LOOKED_AT", size)
    found = steps.shares_right(recipe, nets, state["params"], state["teacher"], tuple(sides))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_run_leaves_its_controller_for_others(run):
  """As the rows of the table take it: from the workdir, before anything is exported."""
  _, _, state, _, workdir = run
  theta, best = load_controller(workdir, CategoricalPolicy(4)), state["controller"]["best_theta"]
  for a, b in zip(jax.tree.leaves(theta), jax.tree.leaves(best), strict=True):
    np.testing.assert_array_equal(a, b)
  assert json.loads((workdir / "controller.json").read_text())["kl_weight"] == 0.1


def test_the_export_runs_and_its_controller_drives_another_run(run, tmp_path):
  experiment, config, state, _, _ = run
  exported = experiment.export(state)
  image = np.zeros((2, 8, 8, 1), np.uint8)
  found = exported.program(exported.params, image=image)
  assert found["probabilities"].shape == (2, 10) and found["old_logits"].shape == (2, 4)
  exported.write(tmp_path)
  card = json.loads((tmp_path / "controller.json").read_text())
  assert list(card["groups"]) == ["conv1", "conv2", "fc", "head"]
  assert "trunk/conv1/kernel" in read_safetensors(tmp_path / "teacher.safetensors")
  teacher = str(tmp_path / "teacher.safetensors")
  other = small.config("asg", **{"controller.path": str(tmp_path), "model.weights": teacher})
  assert [stage.name for stage in papers.build(other).stages] == ["finetune"]


@pytest.mark.slow
def test_the_export_is_a_program(run, tmp_path):
  experiment, _, state, _, _ = run
  write_program(tmp_path / "program.jax", experiment.export(state), platforms=("cpu",))
  assert (tmp_path / "program.jax").stat().st_size > 1000


@pytest.fixture(scope="module")
def teacher_file(run, tmp_path_factory):
  experiment, _, state, _, _ = run
  folder = tmp_path_factory.mktemp("teacher")
  experiment.export(state).write(folder)
  return str(folder / "teacher.safetensors")


def _started(method, teacher_file, **overrides):
  """(recipe, nets, stage, state at its start, batch 0) of fine-tuning from a given teacher."""
  config = small.config(method, **{"model.weights": teacher_file, "model.hidden": 3, **overrides})
  recipe = recipe_of(config)
  inputs = data.read_inputs(recipe)
  nets = model.nets_of(recipe, 10, inputs.old_groups)
  stage = stages(recipe, nets, inputs)[-1]
  state = stage.enter(first_state(recipe, nets, jax.random.key(0)), None)
  found = stage_data(stage)
  batch = batch_at(found["data"], found["data"].arrays, 0, 0)
  return recipe, nets, stage, state, {**batch, **{k: found[k].arrays for k in found if k != "data"}}


@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("asg",)])
def test_every_method_takes_the_one_step(method, teacher_file):
  _, nets, stage, state, batch = _started(method, teacher_file)
  new, found = jax.eval_shape(stage.step, state, batch, jnp.int32(0))
  assert jax.tree.structure(new) == jax.tree.structure(state)
  assert {"task", "kl", "anchor", *(f"multiplier_{name}" for name in nets.names)} == found.keys()


def test_a_method_without_a_teacher_says_nothing_of_its_loss():
  """0 would say that nothing is forgotten."""
  compared = {m for m in METHODS if steps.compares(recipe_of(small.config(m)))}
  without = ("source_only", "backbone_x01", "frozen", "early_stop", "l2_sp", "layer_decay", "lp_ft")
  assert compared == set(METHODS) - {*without, "surgical", "wise_ft"}


def test_methods_of_one_seed_start_from_one_student(teacher_file):
  heads = [
    _started(m, teacher_file)[3]["params"]["head"]["out"]["kernel"] for m in ("frozen", "random_policy")
  ]
  np.testing.assert_array_equal(*heads)


def test_frozen_features_do_not_move_by_a_bit(teacher_file):
  recipe, nets, _, state, batch = _started("frozen", teacher_file)
  optimizer = rates.grouped_optimizer(recipe, nets, 12)
  take = jax.jit(
    lambda params, tx: steps.take_step(recipe, nets, optimizer, params, tx, state["teacher"], batch)
  )
  taken = take(state["params"], state["tx"])
  again = take(taken.params, taken.tx)
  for a, b in zip(
    jax.tree.leaves(again.params["trunk"]), jax.tree.leaves(state["params"]["trunk"]), strict=True
  ):
    np.testing.assert_array_equal(a, b)
  moved = again.params["head"]["out"]["kernel"] - state["params"]["head"]["out"]["kernel"]
  assert float(jnp.abs(moved).max()) > 0


def test_the_head_alone_trains_while_probing(teacher_file):
  recipe, nets, *_ = _started("lp_ft", teacher_file)
  assert rates.multipliers_at(recipe, nets, jnp.int32(0)).tolist() == [0, 1]
  assert rates.multipliers_at(recipe, nets, jnp.int32(4)).tolist() == [1, 1]  # 0.3 of 12 steps


def test_a_cached_teacher_gives_the_same_step_as_the_teacher_itself(teacher_file):
  recipe, nets, _, state, batch = _started("proxy", teacher_file)
  cached = _started("proxy", teacher_file, **{"proxy.cache_teacher": True})[4]
  assert cached["old_logits"].dtype == np.float16
  np.testing.assert_array_equal(cached["index"], batch["index"])
  optimizer = rates.grouped_optimizer(recipe, nets, 12)
  moved = jax.tree.map(lambda x: x * 1.01, state["params"])  # else there is no KL

  @jax.jit
  def taken(params, batch):
    return steps.take_step(recipe, nets, optimizer, params, state["tx"], state["teacher"], batch)

  assert abs(float(taken(state["params"], batch).terms.kl)) < 1e-6
  ours, theirs = taken(moved, cached), taken(moved, batch)
  assert float(ours.terms.kl) == pytest.approx(float(theirs.terms.kl), rel=0.05) and ours.terms.kl > 0
  for a, b in zip(jax.tree.leaves(ours.params), jax.tree.leaves(theirs.params), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_random_multipliers_are_drawn_once_and_stay(teacher_file):
  found = multipliers_of(_started("random_init_policy", teacher_file)[3]["tx"])
  assert found.shape == (4,) and np.allclose(np.asarray(found) * 10, np.round(np.asarray(found) * 10))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_to_its_end_with_self_training(method, tmp_path):
  config = small.config(method, **{"cbst.rounds": 2, "cbst.steps": 3})
  summary = train.run(papers.build(config), config, tmp_path, quiet=True)
  assert summary["complete"] and summary["steps"] == [40 if method == "asg" else 22]


@pytest.mark.slow
def test_pixels_train_and_train_themselves(tmp_path):
  """Scenes of 16 x 16: every real pixel gets a label of its own, or none."""
  changes = {"data.name": "segmentation", "data.size": 16, "data.count": 4, "data.held_out": 2}
  changes |= {"data.quick": 4, "model.kind": "fcn8s", "model.width": 2, "pretrain.steps": 1}
  changes |= {"finetune.batch": 1, "finetune.steps": 2, "finetune.sgd": "torch", "steps_per_call": 1}
  config, seen = default_config("proxy", {**changes, "cbst.rounds": 2, "cbst.steps": 1}), {}
  experiment = papers.build(config)

  def report(state, evaluate, sweep):
    seen["pseudo"] = np.asarray(state["pseudo"])
    return experiment.report(state, evaluate, sweep)

  summary = train.run(experiment._replace(report=report), config, tmp_path, quiet=True)
  assert summary["complete"] and summary["steps"] == [5]
  assert seen["pseudo"].shape == (4, 16, 16) and set(np.unique(seen["pseudo"])) <= set(range(-1, 8))
  assert 0 < np.mean(seen["pseudo"] >= 0) < 1
  assert (tmp_path / "figures" / "segments.png").exists()
