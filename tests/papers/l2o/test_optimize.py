"""One optimization as an experiment: a loop written by hand, paired seeds, streams apart, divergence."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vita_jax import optim, train
from vita_jax.data import load_images
from vita_jax.optim import OPTIMIZEES, Optimizee
from vita_jax.optim.by_name import CLASSICAL
from vita_jax.optim.optimizees import as_float
from vita_jax.papers import l2o
from vita_jax.papers.l2o import optimize, tasks
from vita_jax.papers.l2o.recipe import optimize_config
from vita_jax.train.weights import load_params, save_params

STEPS = 120
# Programs here run for a hundred short steps: half the time to compile at this level.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def _config(task="digits_relu", optimizer="sgd", rate=0.5, **overrides):
  config = optimize_config(task)
  config.run.update({"optimizer": optimizer, "learning_rate": rate, "steps": STEPS})
  config.log_every = 60
  config.update_from_flattened_dict(overrides)
  return config


def _losses(config, seed=0, steps=STEPS):
  """(first, losses) of the stage played in one program, without the loop."""
  experiment = l2o.build(config)
  stage = experiment.stages[0]
  images = jax.tree.map(jnp.asarray, dict(stage.data.arrays))

  @jit
  def play(key, images):
    state = stage.enter(experiment.init(key), lambda fn, state, over="data": fn(state, images))
    return jax.lax.fori_loop(0, steps, lambda t, s: stage.step(s, images, t)[0], state)

  state = play(jax.random.key(seed), images)
  return float(state["first"]), np.asarray(state["losses"])[:steps], bool(state["over"])


@functools.cache
def _pieces(task, split):
  """(init(key), batch(key, t), (loss, gradient)(x, batch)) of a task."""
  problem = OPTIMIZEES[task]
  arrays = jax.device_put(getattr(load_images(problem.data), split))
  batch = jax.jit(lambda key, t: problem.sample(arrays, tasks.stream(key, optimize.BATCH, t), 128))
  return jax.jit(problem.init), batch, jax.jit(jax.value_and_grad(problem.loss))


def _by_hand(task, tx, seed, *, split="test", steps=STEPS, draws="report"):
  """(parameters, first loss, losses) of a plain loop over the optimizee's own tree of parameters."""
  init, batch, loss = _pieces(task, split)
  key = tasks.stream(jax.random.key(0), optimize.STREAMS[draws], seed)
  x = init(tasks.stream(key, optimize.X_0))
  update, state, losses = jax.jit(tx.update), tx.init(x), []
  for t in range(steps + 1):
    value, gradient = loss(x, batch(key, t))
    losses.append(float(value))
    if t < steps:
      delta, state = update(gradient, state)
      x = jax.tree.map(jnp.add, x, delta)
  return x, losses[0], np.array(losses[1:])


class Descent:
  """x - rate * gradient."""

  def __init__(self, rate):
    self.rate = rate

  def init(self, x):
    return ()

  def update(self, gradient, state):
    return jax.tree.map(lambda g: -self.rate * g, gradient), state


@pytest.fixture(scope="module")
def sgd(tmp_path_factory):
  """(workdir, summary) of plain descent over seeds 3 and 4."""
  workdir = tmp_path_factory.mktemp("sgd")
  config = _config(seed=3, seeds=2, **{"run.timed_steps": 5})
  experiment = train.replicate(l2o.build(config), 2, "map")
  return workdir, train.run(experiment, config, workdir, quiet=True)


def test_sgd_is_a_plain_loop(sgd):
  workdir, summary = sgd
  found = {name: entry["values"] for name, entry in summary["metrics"].items()}
  held = load_images("digits").train  # the other split
  for i, seed in enumerate((3, 4)):
    params, _, losses = _by_hand("digits_relu", Descent(0.5), seed)
    np.testing.assert_allclose(found["loss"][i], losses[-100:].mean(), rtol=1e-3)
    np.testing.assert_allclose(found["ln_loss"][i], np.log(losses[-100:]).mean(), rtol=1e-3)
    logits = OPTIMIZEES["digits_relu"].logits(params, as_float(jnp.asarray(held["image"])))
    share = np.mean(np.argmax(logits, -1) == held["label"])
    assert abs(found["accuracy"][i] - share) <= 1.5 / len(held["label"])
    assert found["microseconds"][i] > 0
    if i == 0:  # the weights that are exported are the problem's own tree
      kept = load_params(workdir / "export" / "params.safetensors")
      np.testing.assert_allclose(kept["linear_1/w"], params["linear_1"]["w"], atol=1e-4)


def test_the_logged_curve_is_the_mean_over_each_window(sgd):
  workdir, _ = sgd
  rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  curve = [row["metrics"]["ln_loss"] for row in rows if row["split"] == "train"]
  expected = [np.log(_by_hand("digits_relu", Descent(0.5), s)[2]).reshape(2, 60).mean(1) for s in (3, 4)]
  np.testing.assert_allclose(curve, np.transpose(expected), rtol=1e-3, atol=1e-3)


def test_the_train_split_and_other_streams_are_other_numbers():
  first, losses, _ = _losses(_config(**{"run.split": "train", "run.draws": "tuning"}))
  _, by_hand_first, by_hand = _by_hand("digits_relu", Descent(0.5), 0, split="train", draws="tuning")
  np.testing.assert_allclose([first, *losses], [by_hand_first, *by_hand], rtol=1e-3)
  others = {_by_hand("digits_relu", Descent(0.5), 0, steps=0, draws=draws)[1] for draws in optimize.STREAMS}
  assert len(others) == 2


def test_a_learned_optimizer_from_a_folder_is_load_learned(tmp_path):
  save_params(tmp_path / "params.safetensors", optim.KINDS["l2o_dm"].init_theta(jax.random.key(7)))
  config = {"config": {"optimizer": {"kind": "l2o_dm", "scale": 0.001}}}
  (tmp_path / "config.json").write_text(json.dumps(config))
  losses = _losses(_config("digits_mlp", str(tmp_path), 0.0))[1]
  expected = _by_hand("digits_mlp", optim.load_learned(tmp_path), 0)[2]
  np.testing.assert_allclose(np.log(losses), np.log(expected), atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["untrained-scale", "untrained-mlp", "untrained-rnnprop"])
def test_every_kind_of_learned_optimizer_runs(name):
  first, losses, over = _losses(_config("digits_mlp", name, 0.0), steps=10)
  assert np.isfinite([first, *losses]).all() and not over


@pytest.mark.parametrize(
  "name", ["adam", *(pytest.param(n, marks=pytest.mark.slow) for n in CLASSICAL if n != "adam")]
)
def test_a_seed_has_the_same_start_and_minibatches_for_all_optimizers(name):
  first, losses, _ = _losses(_config("digits_mlp", name, 1e-20), seed=2, steps=3)
  x, by_hand_first, expected = _by_hand("digits_mlp", Descent(0.0), 2, steps=3)
  np.testing.assert_allclose([first, *losses], [by_hand_first, *expected], rtol=1e-5)
  assert np.std(losses) > 0  # a new minibatch each step


@pytest.mark.parametrize(
  "name",
  [
    "muon",
    *(
      pytest.param(n, marks=pytest.mark.slow)
      for n in ("adamw", "lion", "adafactor", "schedule_free_adamw", "untrained-vita_mlp")
    ),
  ],
)
def test_optimizers_that_see_whole_tensors_lower_a_loss_with_a_cosine(name):
  config = _config("family_relu", name, 0.01, **{"run.schedule": "cosine"})
  first, losses, over = _losses(config)
  assert not over and losses[-20:].mean() < 0.7 * first


def test_a_cosine_ends_in_steps_of_zero():
  losses = _losses(_config("digits_mlp", "sgd", 0.1, **{"run.schedule": "cosine"}), steps=STEPS)[1]
  init, batch, loss = _pieces("digits_mlp", "test")
  key = tasks.stream(jax.random.key(0), optimize.STREAMS["report"], 0)
  x, rates = init(tasks.stream(key, optimize.X_0)), 0.05 * (1 + np.cos(np.pi * np.arange(3) / STEPS))
  for t, rate in enumerate(rates):
    gradient = loss(x, batch(key, t))[1]
    x = jax.tree.map(lambda p, g, rate=rate: p - np.float32(rate) * g, x, gradient)
  np.testing.assert_allclose(losses[2], loss(x, batch(key, 3))[0], rtol=1e-5)


def test_a_quadratic_bowl_is_its_closed_form(monkeypatch):
  """A task of a user's own: f = 2 |x|^2, where a step of gradient descent multiplies x by 1 - 4 rate."""

  def init(key):
    return {"x": jax.random.normal(key, (5,))}

  def loss(params, batch):
    return 2.0 * jnp.sum(params["x"] ** 2)

  monkeypatch.setitem(OPTIMIZEES, "bowl", Optimizee("", init, loss, lambda arrays, key, n: ()))
  first, losses, _ = _losses(_config("bowl", "sgd", 1e-2))
  np.testing.assert_allclose(losses, first * 0.96 ** (2.0 * np.arange(1, STEPS + 1)), rtol=1e-3)


def test_divergence_ends_an_optimization_and_is_counted(tmp_path, monkeypatch):
  config = _config(rate=1e30)
  summary = train.run(l2o.build(config), config, tmp_path, quiet=True)
  assert summary["steps"][0] < 10  # over, at the first step that is not finite
  for name in ("ln_loss", "accuracy", "loss"):
    assert summary["metrics"][name]["diverged"] == 1 and summary["metrics"][name]["mean"] is None
  kept = load_params(tmp_path / "export" / "params.safetensors")
  assert all(np.isfinite(x).all() for x in kept.values())  # the last that was finite


@pytest.mark.parametrize("name", ["adam", "schedule_free_adamw"])
def test_what_is_kept_of_a_divergence_is_finite_where_an_optimizer_keeps_an_average(
  name, tmp_path, monkeypatch
):
  """Schedule-Free's average is made of its state: that of the step that was not taken must not stay."""

  def loss(params, batch):
    return jnp.sum(jnp.sqrt(4.0 - params["x"] ** 2))  # no number beyond 2

  bowl = Optimizee("", lambda key: {"x": jnp.ones(3)}, loss, lambda arrays, key, n: ())
  monkeypatch.setitem(OPTIMIZEES, "bowl", bowl)
  config = _config("bowl", name, 1.0)
  summary = train.run(l2o.build(config), config, tmp_path, quiet=True)
  assert summary["metrics"]["loss"]["diverged"] == 1
  assert np.isfinite(load_params(tmp_path / "export" / "params.safetensors")["x"]).all()


def test_one_program_serves_all_rates_of_a_learned_optimizer():
  """The rate is in the state, and a step is proportional to it."""
  configs = [_config("quadratic", "untrained-vita_mlp", rate) for rate in (1e-3, 1e-2)]
  texts, moves = [], []
  for config in configs:
    experiment = l2o.build(config)
    (stage,) = experiment.stages
    state = jax.jit(experiment.init)(jax.random.key(0))
    state = {**state, "gradient": jax.tree.map(jnp.ones_like, state["x"])}
    step = jax.jit(stage.step).lower(state, {}, 0)
    texts.append(step.as_text())
    after, _ = step.compile()(state, {}, 0)
    moves.append(jax.tree.map(lambda a, b: a - b, after["x"], state["x"]))
  assert texts[0] == texts[1]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(10 * a, b, rtol=1e-4, atol=1e-7), *moves)


def test_a_key_that_this_experiment_does_not_read_is_refused():
  with pytest.raises(ValueError, match="config.epochs is 3: an experiment 'optimize' does not read it"):
    l2o.build(_config(epochs=3))
  with pytest.raises(ValueError, match="config.run.split is tset: .*|did you mean 'test'"):
    l2o.build(_config(**{"run.split": "tset"}))


def test_schedule_free_is_seen_where_it_averages():
  """Its loss is that of the average, not of the point where its gradients are taken."""
  config = _config("quadratic", "schedule_free_sgd", 0.1)
  first, losses, _ = _losses(config, steps=3)
  problem, key = OPTIMIZEES["quadratic"], tasks.stream(jax.random.key(0), optimize.STREAMS["report"], 0)
  tx = optax.contrib.schedule_free_sgd(0.1)
  y, batch = problem.init(tasks.stream(key, optimize.X_0)), problem.sample({}, key, 1)
  state = tx.init(y)
  found = []
  for _ in range(3):
    updates, state = tx.update(jax.grad(problem.loss)(y, batch), state, y)
    y = optax.apply_updates(y, updates)
    found.append(float(problem.loss(optax.contrib.schedule_free_eval_params(state, y), batch)))
  np.testing.assert_allclose(losses, found, rtol=1e-4)
  assert abs(found[-1] - float(problem.loss(y, batch))) > 1e-3 * found[-1]
