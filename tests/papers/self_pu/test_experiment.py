"""The experiment as a whole, on the digits: blocks that must be exact, and what the method claims."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax import papers, train
from vita_jax.data import volumes
from vita_jax.data.resident import batch_at
from vita_jax.papers.self_pu.recipe import RELEASED, default_config, recipe_of
from vita_jax.train.finish import load_state
from vita_jax.train.writers import read_rows


def _config(method, **changes):
  config = default_config("digits", method, prior=0.496, batch_size=64, data__n_labelled=40)
  config.validation.update({"rows": 150, "labelled": 15})
  config.model.hidden, config.learning_rate = (32,), 2e-3
  config.self_paced.update({"start": 3, "stop": 9, "every": 3, "form": "linear"})
  config.calibration.update({"start": 4, "stop": 9})
  config.distillation.start, config.epochs = 9, 12
  config.update_from_flattened_dict(changes)
  return config


@pytest.fixture(scope="module")
def self_pu(tmp_path_factory):
  """(config, experiment, summary, state, rows of the log) of a finished run with every block."""
  config, folder = _config("self_pu"), tmp_path_factory.mktemp("self_pu")
  config.log_every = 20
  experiment = papers.build(config)
  summary = train.run(experiment, config, folder, quiet=True)
  state, _ = load_state(experiment, config, folder)
  return config, experiment, summary, state, read_rows(folder / "metrics.jsonl")


def test_phases_and_trusted_sets(self_pu):
  _, experiment, summary, state, _ = self_pu
  assert [s.name for s in experiment.stages] == [
    "warm_up", "self_paced_1", "self_paced_2", "distil"
  ]  # fmt: skip
  # Phases with the same blocks share a step function, hence a program.
  assert experiment.stages[1].step is experiment.stages[2].step
  n, size = 1147, np.asarray(state["history"]["size"])
  np.testing.assert_array_equal(size, 2 * np.floor(n * np.array([[0.4, 0.6]]) * [[0.25], [0.5]]))
  labelled = set(np.asarray(state["labelled"]).tolist())
  for s in range(2):
    side, order = np.asarray(state["trusted"].side[s]), np.asarray(state["trusted"].order[s])
    assert (side == 1).sum() == (side == 2).sum() == size[-1, s] / 2
    trusted = np.asarray(state["unlabelled"])[order[: int(size[-1, s])]]
    assert not labelled & set(trusted.tolist())
  # Two students, not one twice.
  assert (np.asarray(state["trusted"].side[0]) != np.asarray(state["trusted"].side[1])).any()
  found = summary["metrics"]
  for s in (1, 2):  # the pool itself has half of either class
    assert found[f"purity_positive_{s}"]["mean"] > 0.7 and found[f"purity_negative_{s}"]["mean"] > 0.7


def test_teachers_are_means_of_half_epochs(self_pu):
  _, experiment, _, state, _ = self_pu
  assert int(state["teacher_updates"]) == 2 * 3
  students, teachers = (jax.tree.leaves(tree["params"]) for tree in (state, state["teachers"]))
  assert any((np.asarray(a) != b).any() for a, b in zip(students, teachers, strict=True))
  # They see the batches, too: their running statistics are their own.
  stats = [jax.tree.leaves(tree["batch_stats"])[0] for tree in (state, state["teachers"])]
  assert (np.asarray(stats[0]) != stats[1]).any()
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state["params"]) + teachers)


def test_the_log_shows_every_block_at_work(self_pu):
  _, _, summary, state, rows = self_pu
  last = {}  # stage -> metric -> its last value there: a row may hold batches of one kind only
  for row in rows:
    if row["split"] == "train":
      found = {name: value for name, value in row["metrics"].items() if value is not None}
      last[row["stage"]] = {**last.get(row["stage"], {}), **found}
  assert not {"trusted_loss", "entropy_weight", "consistency"} & set(last["warm_up"])
  assert 0 < last["self_paced_1"]["entropy_weight"] <= 1 / 16 + 1 / 64
  assert 0 < last["self_paced_2"]["trusted_loss"] < np.log(2)
  assert last["distil"]["consistency"] > 0 and "entropy_weight" not in last["distil"]
  found = summary["metrics"]
  chosen = int(np.argmax(np.asarray(state["values"]))) + 1
  assert found["test_accuracy"] == found["last_test_accuracy"] == found[f"test_teacher_{chosen}_accuracy"]
  assert found["test_accuracy"]["mean"] > 0.7
  assert {"validation_accuracy", "validation_auc", "test_f1"} <= set(found)


def _one_step(config, *, stage=0, t=0, steps=1, change=lambda state: state):
  """The state after `steps` steps of one stage (all before it entered, none of their steps taken)."""
  experiment = papers.build(config)
  from vita_jax.train.mesh import make_mesh
  from vita_jax.train.programs import make_programs

  programs = make_programs(experiment, make_mesh(config.mesh), on_nonfinite="stop")
  state = programs.init(programs.place(np.uint32(0)))
  for one in experiment.stages[: stage + 1]:
    state = programs.enter(one, state)
  state, chosen = change(state), experiment.stages[stage]
  batch = batch_at(chosen.data, chosen.data.arrays, 0, 0)
  batch |= {name: batch_at(d, d.arrays, 0, 0) for name, d in chosen.also.items()}
  step = jax.jit(chosen.step)
  for i in range(steps):
    new, metrics = step(state, batch, jnp.int32(t + i))
    before, state = state, new
  return before, state, metrics


@pytest.mark.slow
def test_the_student_with_fewer_trusted_batches_rests():
  changes = {"calibration.enabled": False, "distillation.enabled": False, "model.hidden": (8,)}
  config = _config("self_pu", **changes)
  # 228 and 344 trusted rows: 4 and 6 batches of 64.
  before, after, metrics = _one_step(config, stage=1, t=5)
  pairs = list(zip(*map(jax.tree.leaves, (before["tx"], after["tx"])), strict=True))
  assert all(np.array_equal(a[0], b[0]) for a, b in pairs)
  assert not any(np.array_equal(a[1], b[1]) for a, b in pairs if a[1].size > 1)
  assert float(metrics["trusted_loss"][1]) == 1 and float(metrics["risk"][1]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("data", ["volumes", "cifar10"])
def test_a_step_of_the_convolutional_networks(data, tmp_path):
  """Generated volumes, and the images that VITA_DATA_DIR has: not a measure of accuracy."""
  if data == "volumes":
    config = default_config("volumes", "nnpu", prior=0.5, batch_size=3, model__kind="volumes")
    config.validation.rows, config.data.path = 2, str(tmp_path / "volumes.npz")
    random = np.random.default_rng(0)
    regions = {name: random.random((9, *shape), np.float32) for name, shape in volumes.SHAPES.items()}
    np.savez(config.data.path, **regions, labelled=np.arange(9) < 4)
  else:
    if "VITA_DATA_DIR" not in os.environ:
      pytest.skip("VITA_DATA_DIR is not set: CIFAR-10 is not shipped")
    config = default_config("cifar10", "nnpu", prior=0.4, batch_size=16, model__kind="cnn")
  before, after, metrics = _one_step(config)
  assert np.isfinite(metrics["loss"][0])
  pairs = list(zip(*map(jax.tree.leaves, (before["params"], after["params"])), strict=True))
  assert all(np.isfinite(b).all() for _, b in pairs)
  assert all(not np.array_equal(a, b) for a, b in pairs if a.ndim > 2)  # a bias before batch norm may stay


@pytest.fixture(scope="module")
def nnpu_step():
  """The first step of nnPU: (state before, after, metrics)."""
  return _one_step(_config("nnpu"))


def test_calibration_without_budget_is_nnpu(nnpu_step):
  start, plain = {"calibration.start": 0}, nnpu_step[1]
  calibrated = _one_step(
    _config("nnpu", **start, **{"calibration.enabled": True, "calibration.budget": 0.0})
  )[1]
  for a, b in zip(jax.tree.leaves(plain["params"]), jax.tree.leaves(calibrated["params"]), strict=True):
    np.testing.assert_allclose(a, b, atol=2e-5)


def test_the_nnpu_step_is_adam_with_the_decay_inside_the_gradient(nnpu_step):
  """One step by hand: the sampler's rows, gradients by jax.grad of the losses, optax.adam."""
  import optax

  from vita_jax.data import pu_batches
  from vita_jax.losses import pu
  from vita_jax.papers.self_pu.data import read_inputs
  from vita_jax.papers.self_pu.model import MLP

  config = _config("nnpu")
  before, after, metrics = nnpu_step
  n_labelled, n_unlabelled = before["labelled"].size, before["unlabelled"].size
  draw = jax.jit(pu_batches.draw_pu)(
    jnp.arange(64), epoch=jnp.int32(0), order=before["order"], student=jnp.int32(0),
    labelled_rows=before["labelled"], unlabelled_rows=before["unlabelled"],
    interleave=jnp.int32(n_unlabelled // n_labelled + 1),
  )  # fmt: skip
  x = jnp.asarray(read_inputs(recipe_of(config)).rows["x"])[draw.row] / 255.0

  def one(tree):
    return jax.tree.map(lambda a: a[0], tree)

  params, stats = one(before["params"]), one(before["batch_stats"])

  def loss(params):
    variables = {"params": params, "batch_stats": stats}
    logits, _ = MLP(hidden=config.model.hidden).apply(variables, x, train=True, mutable=["batch_stats"])
    return pu.nnpu_gradient_objective(logits, draw.labelled, prior=0.496)

  value, grads = jax.jit(jax.value_and_grad(loss))(params)
  grads = jax.tree.map(lambda g, p: g + 5e-3 * p, grads, params)
  tx = optax.adam(2e-3)
  updates, _ = jax.jit(tx.update)(grads, jax.jit(tx.init)(params), params)
  expected = optax.apply_updates(params, updates)
  np.testing.assert_allclose(metrics["loss"][0], value, rtol=1e-5)
  for a, b in zip(jax.tree.leaves(one(after["params"])), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.mark.slow
def test_uPU_overfits_where_nnPU_does_not(tmp_path):
  """Real digits, 40 labels, two seeds: the negative risk of uPU falls below 0 and its accuracy to chance.

  The network that validation rows choose stems from before that.
  """
  accuracy, chosen = {}, {}
  for method in ("upu", "nnpu"):
    config = _config(method, epochs=60, batch_size=128, seeds=2, **{"model.hidden": (100, 100, 100)})
    experiment = train.replicate(papers.build(config), 2)
    summary = train.run(experiment, config, tmp_path / method, quiet=True)
    accuracy[method] = summary["metrics"]["last_test_accuracy"]["mean"]
    chosen[method] = summary["metrics"]["test_accuracy"]["mean"]
    last = [row for row in read_rows(tmp_path / method / "metrics.jsonl") if row["split"] == "train"][-1]
    assert (max(last["metrics"]["negative_risk"]) < -0.05) == (method == "upu")
  assert accuracy["nnpu"] > 0.75 and accuracy["nnpu"] > accuracy["upu"] + 0.1
  assert min(chosen.values()) > 0.75 and chosen["upu"] > accuracy["upu"] + 0.1


@pytest.mark.slow
def test_released_switches_run_and_kill_the_consistency(tmp_path):
  config = _config("self_pu", epochs=2, **RELEASED)
  config.self_paced.update({"start": 0, "stop": 1, "every": 1})
  config.calibration.update({"start": 0, "stop": 1})
  config.distillation.start = 1
  summary = train.run(papers.build(config), config, tmp_path, quiet=True)
  rows = read_rows(tmp_path / "metrics.jsonl")
  last = [row for row in rows if row["split"] == "train"][-1]
  assert last["metrics"]["consistency"] == 0 and summary["complete"]


@pytest.mark.slow
def test_self_pu_is_no_worse_than_nnpu_on_the_digits(tmp_path):
  """Five paired seeds at full length; what the README's table has for ten."""
  from golden.update import ROOT

  from vita_jax.base.files import load_python_file

  module = load_python_file(ROOT / "configs/self_pu/digits.py")
  found = {}
  for method in ("nnpu", "self_pu"):
    config = module.get_config(method)
    config.seeds = 5
    experiment = train.replicate(papers.build(config), 5)
    found[method] = train.run(experiment, config, tmp_path / method, quiet=True)["metrics"]
  assert found["self_pu"]["test_accuracy"]["diverged"] == 0
  assert found["self_pu"]["test_accuracy"]["mean"] >= found["nnpu"]["test_accuracy"]["mean"]
  for s in (1, 2):
    assert found["self_pu"][f"purity_positive_{s}"]["mean"] > 0.9
