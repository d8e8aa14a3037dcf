"""Comparing optimizers: loops written by hand, paired seeds, tuning apart from reporting, the store."""

import csv
import functools
import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vita_jax import optim
from vita_jax.papers.l2o import comparison, curves, programs, runs, tasks
from vita_jax.papers.l2o.optimizees import OPTIMIZEES, Optimizee, as_float
from vita_jax.train.weights import save_params

STEPS = 120


@functools.cache
def pieces(task, split):
  """(init(key), batch(key, t), (loss, gradient)(x, batch)) of a task."""
  problem = OPTIMIZEES[task]
  arrays = jax.device_put(getattr(programs.load_images(problem.data), split))
  batch = jax.jit(lambda key, t: problem.sample(arrays, tasks.stream(key, programs.BATCH, t), 128))
  return jax.jit(problem.init), batch, jax.jit(jax.value_and_grad(problem.loss))


def by_hand(task, tx, seed, *, split="test", steps=STEPS):
  """(parameters, first loss, losses) of a plain loop over the optimizee's own tree of parameters."""
  init, batch, loss = pieces(task, split)
  key = tasks.stream(jax.random.key(0), runs.REPORT, seed)
  x = init(tasks.stream(key, programs.X_0))
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
def export(tmp_path_factory):
  """The export folder of an L2O-DM with a tenth of the usual scale."""
  folder = tmp_path_factory.mktemp("export")
  save_params(folder / "params.safetensors", optim.KINDS["l2o_dm"].init_theta(jax.random.key(7)))
  config = {"config": {"optimizer": {"kind": "l2o_dm", "scale": 0.001}}}
  (folder / "config.json").write_text(json.dumps(config))
  return folder


@pytest.fixture
def small_grid(monkeypatch):
  monkeypatch.setattr(comparison, "GRID", (0.01, 0.1, 1.0))


def test_sgd_is_a_plain_loop():
  (result,) = comparison.compare(["sgd:0.5"], ["digits_relu"], steps=STEPS, seeds=2, seed=3)
  assert result.seeds == (3, 4) and result.rate == 0.5 and not result.grid
  for seed, run in zip(result.seeds, result.runs, strict=True):
    params, first, losses = by_hand("digits_relu", Descent(0.5), seed)
    np.testing.assert_allclose(run.first, first, rtol=1e-5)
    np.testing.assert_allclose(run.curve, np.log(losses), rtol=1e-3, atol=1e-3)  # 120 points: each step
    np.testing.assert_array_equal(run.steps, np.arange(1, STEPS + 1))
    np.testing.assert_allclose(run.loss, losses[-100:].mean(), rtol=1e-3)
    np.testing.assert_allclose(run.ln_loss, np.log(losses[-100:]).mean(), rtol=1e-3)
    held = programs.load_images("digits").train  # the other split
    logits = OPTIMIZEES["digits_relu"].logits(params, as_float(jnp.asarray(held["image"])))
    share = np.mean(np.argmax(logits, -1) == held["label"])
    assert abs(run.accuracy - share) <= 1.5 / len(held["label"])
    assert run.seconds > 0


def test_the_train_split_can_be_fitted():
  (result,) = comparison.compare(["sgd:0.5"], ["digits_relu"], steps=STEPS, seeds=1, split="train")
  (run,), (_, first, losses) = result.runs, by_hand("digits_relu", Descent(0.5), 0, split="train")
  np.testing.assert_allclose([run.first, run.loss], [first, losses[-100:].mean()], rtol=1e-3)


def test_long_runs_take_many_calls_and_give_the_same(monkeypatch):
  run = lambda: comparison.compare(["adam:0.01"], ["digits_mlp"], steps=1203, seeds=1)[0].runs[0]  # noqa: E731
  whole = run()
  monkeypatch.setattr(runs, "SECONDS", 1e-9)  # ten steps in a call
  short = run()
  np.testing.assert_array_equal(short.curve, whole.curve)
  assert len(short.curve) == runs.POINTS and short.steps[-1] == 1203


def test_a_learned_optimizer_from_a_folder_is_load_learned(export):
  programs.program.cache_clear()
  mine = comparison.entrant(f"mine={export}")
  other = mine._replace(label="other", theta=jax.tree.map(lambda x: 1.5 * x, mine.theta))
  found = comparison.compare([f"mine={export}", other], ["digits_mlp"], steps=STEPS, seeds=1)
  by_folder = optim.load_learned(export)
  for result, tx in zip(found, (by_folder, optim.l2o_dm(other.theta, scale=0.001)), strict=True):
    losses = by_hand("digits_mlp", tx, 0)[2]
    np.testing.assert_allclose(result.runs[0].curve, np.log(losses), atol=2e-3)
    assert result.rate is None
  assert abs(found[0].runs[0].ln_loss - found[1].runs[0].ln_loss) > 1e-4
  assert programs.program.cache_info().misses == 1  # theta is an argument: one kind compiles once
  compiled = programs.program("digits_mlp", "l2o_dm", (("scale", 0.001),), 128, False)
  assert compiled.advance._cache_size() == 1


@pytest.mark.slow
def test_every_kind_of_learned_optimizer_runs():
  results = comparison.compare(list(comparison.UNTRAINED), ["digits_mlp"], steps=100, seeds=1)
  assert [r.entrant.kind for r in results] == list(optim.KINDS)
  assert all(np.isfinite(r.runs[0].first) for r in results)


@pytest.fixture
def bowl(monkeypatch):
  """A task of a user's own: f = 2 |x|^2, where a step of gradient descent multiplies x by 1 - 4 rate."""
  init = lambda key: {"x": jax.random.normal(key, (5,))}  # noqa: E731
  loss = lambda params, batch: 2.0 * jnp.sum(params["x"] ** 2)  # noqa: E731
  monkeypatch.setitem(OPTIMIZEES, "bowl", Optimizee("", init, loss, lambda arrays, key, n: ()))
  yield
  programs.program.cache_clear()


def test_tuning_finds_the_best_rate_of_a_quadratic(bowl, monkeypatch):
  rates = (1e-3, 3e-3, 1e-2, 1.0)
  monkeypatch.setattr(comparison, "GRID", rates)
  (result,) = comparison.compare(["sgd"], ["bowl"], steps=150, seeds=2)
  starts = [tasks.stream(jax.random.key(0), runs.TUNING, seed, programs.X_0) for seed in range(3)]
  first = np.mean([2 * np.sum(np.square(jax.random.normal(key, (5,)))) for key in starts])
  for rate in rates[:3]:
    expected = first * np.mean((1 - 4 * rate) ** (2 * np.arange(51, 151)))
    assert result.grid[rate] == pytest.approx(expected, rel=1e-3)
  assert result.rate == 1e-2 and result.grid[1.0] == np.inf and not result.at_edge
  assert np.isnan(result.runs[0].accuracy) and curves.accuracy(result) is None
  assert "not finite" in curves.markdown([result], reference="sgd")
  monkeypatch.setattr(comparison, "GRID", rates[:3])
  assert comparison.compare(["sgd"], ["bowl"], steps=150, seeds=2)[0].at_edge


def test_tuning_never_sees_the_reported_seeds(monkeypatch, small_grid):
  seen, original = [], comparison.run_all

  def spy(task, entrant, jobs, *rest, **options):
    seen.append(jobs)
    return original(task, entrant, jobs, *rest, **options)

  monkeypatch.setattr(comparison, "run_all", spy)
  one, two = (comparison.compare(["sgd"], ["digits_mlp"], steps=100, seeds=2, seed=s)[0] for s in (0, 7))
  assert one.grid == two.grid and one.rate == two.rate  # whatever is reported
  assert one.runs[0].first != two.runs[0].first
  key = lambda job: tasks.stream(jax.random.key(0), job.stream, job.seed)  # noqa: E731
  keys = [[tuple(jax.random.key_data(key(job)).tolist()) for job in jobs] for jobs in seen]
  assert len(keys) == 4 and len(set(keys[0])) == 3 == comparison.TUNING_SEEDS
  assert not set(keys[0]) & (set(keys[1]) | set(keys[3]))


def test_seeds_are_the_same_for_all_optimizers():
  names = ["sgd:1e-20", "momentum:1e-20", "nag:1e-20", "rmsprop:1e-20", "adam:1e-20", "adagrad:1e-20"]
  results = comparison.compare(names, ["digits_mlp"], steps=100, seeds=3)
  for result in results[1:]:  # none moves: what is left are x_0 and the minibatches
    for ours, theirs in zip(result.runs, results[0].runs, strict=True):
      np.testing.assert_allclose([ours.first, *ours.curve], [theirs.first, *theirs.curve], rtol=1e-5)
  assert len({run.first for run in results[0].runs}) == 3
  assert np.std(results[0].runs[0].curve) > 0  # a new minibatch each step


def test_divergence_is_counted_and_never_averaged():
  exploding, good = comparison.compare(["sgd:1e6", "adam:0.03"], ["digits_relu"], steps=STEPS, seeds=3)
  assert all(run.diverged for run in exploding.runs) and not any(run.diverged for run in good.runs)
  entry = curves.final(exploding)
  assert entry["diverged"] == 3 and entry["mean"] is None
  mixed = good._replace(runs=(*good.runs[:2], exploding.runs[0]))
  assert curves.final(mixed)["mean"] == pytest.approx(np.mean([run.ln_loss for run in good.runs[:2]]))
  named = mixed._replace(entrant=mixed.entrant._replace(label="mixed"))
  text = curves.markdown([exploding, good, named], reference="adam:0.03")
  assert "(1 diverged)" in text and "| sgd:1e+06 | diverged " in text
  assert curves.figure([exploding, good, named])


def test_numbers_of_made_up_losses():
  losses = np.concatenate([np.full(100, 1.0), np.full(200, np.exp(-2.6)), np.full(100, 0.5)])
  run = runs.summary(1.0, losses, 0.9, seconds=1e-3)
  assert (run.loss, run.best_step, run.diverged) == (0.5, 200, False)
  assert run.best_ln_loss == pytest.approx(-2.6) and run.ln_loss == pytest.approx(np.log(0.5))
  assert run.reached.tolist() == [139, 177, 0]  # -2.6 k/100 <= level after k steps
  assert runs.summary(0.49, losses, 0.9, seconds=1e-3).diverged
  assert not runs.summary(0.4999, losses, 0.9, seconds=1e-3).diverged  # dead, not diverged
  losses[350:] = np.nan
  gone = runs.summary(1.0, losses, np.nan, seconds=1e-3)
  assert gone.diverged and gone.best_step == 200 and np.isnan(gone.curve[-1])
  zero = runs.summary(1.0, np.zeros(100), 1.0, seconds=1e-3)
  assert zero.ln_loss == pytest.approx(np.log(1e-12)) and not zero.diverged


def test_the_store_reuses_what_it_has(tmp_path, monkeypatch, small_grid):
  options = {"steps": STEPS, "store": tmp_path}
  before = comparison.compare(["adam", "sgd:0.1"], ["digits_mlp"], seeds=2, **options)
  files = sorted(tmp_path.rglob("*"))
  assert len([f for f in files if f.suffix == ".npz"]) == 3 * 3 + 2 + 2
  ran, original = [], runs._optimize

  def spy(task, entrant, *rest):
    ran.append(entrant.label)
    return original(task, entrant, *rest)

  monkeypatch.setattr(runs, "_optimize", spy)
  after = comparison.compare(["adam", "sgd:0.1"], ["digits_mlp"], seeds=2, **options)
  assert not ran and sorted(tmp_path.rglob("*")) == files
  text = [curves.comma_separated(results, reference="adam") for results in (before, after)]
  assert text[0] == text[1]  # times, too
  comparison.compare(["adam", "nag:0.1", "sgd:0.1"], ["digits_mlp"], seeds=3, **options)
  assert ran == ["adam", "nag:0.1", "nag:0.1", "nag:0.1", "sgd:0.1"]
  ran.clear()
  files[-1].write_bytes(b"broken")
  told = []
  comparison.compare(["adam", "sgd:0.1"], ["digits_mlp"], seeds=2, log=told.append, **options)
  assert len(ran) == 1 and any("is damaged" in line for line in told)
  for change in ({"steps": 130}, {"split": "train"}, {"batch_size": 64}):
    ran.clear()
    comparison.compare(["sgd:0.1"], ["digits_mlp"], seeds=1, **{**options, **change})
    assert len(ran) == 1, change


def test_tables_have_paired_differences_and_all_values(small_grid):
  results = comparison.compare(["adam", "sgd"], ["digits_mlp"], steps=STEPS, seeds=3)
  rows = list(csv.DictReader(io.StringIO(curves.comma_separated(results, reference="adam"))))
  ours, theirs = ([run.ln_loss for run in r.runs] for r in (results[1], results[0]))
  interval = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
  found = [float(rows[1][key]) for key in ("difference", "difference_low", "difference_high")]
  np.testing.assert_allclose(found, [np.mean(ours) - np.mean(theirs), *interval], rtol=1e-6)
  assert [float(v) for v in rows[1]["ln_loss_values"].split()] == ours and rows[0]["difference"] == ""
  assert rows[0]["grid"].startswith("0.01:") and float(rows[0]["time_ratio"]) == 1.0
  text = curves.markdown(results, reference="adam")
  assert f"[{interval[0]:+.2f}, {interval[1]:+.2f}]" in text and "## digits_mlp" in text


def test_bad_input_is_named(export, tmp_path):
  with pytest.raises(ValueError, match="unknown optimizer 'adma': did you mean 'adam'.*LABEL=FOLDER"):
    comparison.entrant("adma")
  for text in ("adam:", "adam:fast", "adam:-1", "adam:inf"):
    with pytest.raises(ValueError, match="the rate has to be a positive number"):
      comparison.entrant(text)
  with pytest.raises(ValueError, match="unknown optimizer 'untrained-dm:0.1'"):
    comparison.entrant("untrained-dm:0.1")
  with pytest.raises(ValueError, match="LABEL=FOLDER"):
    comparison.entrant("=folder")
  with pytest.raises(FileNotFoundError, match="give the export/ folder"):
    comparison.entrant(f"mine={tmp_path}/none")
  (tmp_path / "config.json").write_text('{"config": {"optimizer": {"kind": "l2o_dm", "depth": 3}}}')
  (tmp_path / "params.safetensors").write_bytes((export / "params.safetensors").read_bytes())
  with pytest.raises(ValueError, match="l2o_dm has no option 'depth'"):
    comparison.entrant(f"mine={tmp_path}")
  for change, words in (
    ({"steps": 99}, "at least 100"),
    ({"seeds": 0}, "at least 1"),
    ({"split": "tset"}, "did you mean 'test'"),
    ({"names": ["mnist_mpl"]}, "did you mean 'mnist_mlp'"),
    ({"optimizers": ["adam", "adam"]}, "'adam' is given twice"),
    ({"optimizers": []}, "no optimizer"),
  ):
    with pytest.raises(ValueError, match=words):
      comparison.compare(**{"optimizers": ["adam"], "names": ["digits_mlp"], **change})


def test_missing_images_are_found_before_anything_runs(monkeypatch, tmp_path):
  monkeypatch.delenv("VITA_DATA_DIR", raising=False)
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  monkeypatch.setattr(comparison, "run_all", lambda *a, **k: pytest.fail("ran"))
  programs.images_of.cache_clear()
  with pytest.raises(FileNotFoundError, match="no images 'mnist'"):
    comparison.each_result(["adam"], ["digits_mlp", "mnist_mlp"])
