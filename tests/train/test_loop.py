"""The loop itself, on an experiment that can be followed by hand."""

import json
import shutil
import signal

import jax.numpy as jnp
import numpy as np
import pytest

from train import tiny
from vita_jax import train
from vita_jax.data.stream import read_batch
from vita_jax.train.checkpoint import good_steps
from vita_jax.train.finish import load_state
from vita_jax.train.weights import load_params


def _run(experiment, config, workdir):
  summary = train.run(experiment, config, workdir, quiet=True)
  rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  return summary, rows, load_params(workdir / "export" / "params.safetensors")["w"]


def _by_hand(seed, steps):
  """The weight after each step, from the rows that `index(seed, t)` names."""
  w, losses = float(seed), []
  for t in range(steps):
    batch = read_batch(tiny.data("stream"), seed, t)
    mask = batch["mask"]
    losses.append((np.sum(mask * (w - batch["x"]) ** 2 / 2), mask.sum()))
    w -= tiny.DECAY * np.sum(mask * (w - batch["x"])) / mask.sum()
  return w, np.array(losses)


@pytest.mark.parametrize("kind", ["resident", "stream"])
def test_the_loop_computes_what_a_loop_by_hand_does(kind, tmp_path):
  config = tiny.get_config(seed=3, steps_per_call=5)
  summary, rows, weight = _run(tiny.experiment(tiny.data(kind)), config, tmp_path)
  expected, losses = _by_hand(3, 12)
  np.testing.assert_allclose(weight, expected, rtol=1e-6)
  trained = [row for row in rows if row["split"] == "train"]
  assert [row["step"] for row in trained] == [4, 8, 12]
  for row, part in zip(trained, np.split(losses, 3), strict=True):
    np.testing.assert_allclose(row["metrics"]["loss"], part[:, 0].sum() / part[:, 1].sum(), rtol=1e-6)
  assert [row["step"] for row in rows if row["split"] == "all"] == [6, 12]
  (error,) = summary["metrics"]["all_error"]["values"]
  np.testing.assert_allclose(error, expected - tiny.ROWS.mean(), atol=1e-6)


def test_resident_and_stream_are_equal_replicated_too(tmp_path):
  found = []
  for kind in ("resident", "stream"):
    experiment = train.replicate(tiny.experiment(tiny.data(kind)), 2)
    config = tiny.get_config(seeds=2, steps_per_call=3)
    found.append(_run(experiment, config, tmp_path / kind)[1])
  for one, two in zip(*found, strict=True):
    assert (one["step"], one["split"]) == (two["step"], two["split"])
    for name in one["metrics"]:
      np.testing.assert_allclose(one["metrics"][name], two["metrics"][name], rtol=1e-6, atol=1e-6)


def _done(state, t):
  return t >= 3 + 4 * state["seed"]  # seed 0 after 3 steps, seed 1 after 7


@pytest.mark.parametrize("how", ["vmap", "map"])
def test_a_stage_ends_when_all_are_done_and_frozen_replicas_weigh_nothing(how, tmp_path):
  experiment = train.replicate(tiny.experiment(done=_done, steps=100), 2, how)
  config = tiny.get_config(seeds=2, replicate=how, log_every=1, steps_per_call=4)
  summary, rows, _ = _run(experiment, config, tmp_path)
  assert summary["steps"] == [3, 7]
  errors = summary["metrics"]["all_error"]["values"]
  expected = [_by_hand(seed, steps)[0] - tiny.ROWS.mean() for seed, steps in ((0, 3), (1, 7))]
  np.testing.assert_allclose(errors, expected, atol=1e-6)
  trained = [row for row in rows if row["split"] == "train"]
  assert [row["step"] for row in trained] == list(range(1, 8))
  frozen = [row["metrics"]["loss"][0] is None for row in trained]
  assert frozen == [False] * 3 + [True] * 4
  assert all(row["metrics"]["loss"][1] is not None for row in trained)


def test_the_number_of_steps_done_at_once_does_not_matter_for_an_early_end(tmp_path):
  found = []
  for length in (1, 2, 50):
    experiment = tiny.experiment(done=lambda state, t: t >= 5, steps=100)
    config = tiny.get_config(steps_per_call=length)
    summary, rows, weight = _run(experiment, config, tmp_path / str(length))
    assert summary["steps"] == [5]
    found.append(([(row["step"], row["split"]) for row in rows], weight.tobytes()))
  assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("length", [1, 5])
def test_a_non_finite_loss_stops_with_step_metric_and_last_good_checkpoint(length, tmp_path):
  config = tiny.get_config(seed=1, steps_per_call=length, save_seconds=0.0)
  with pytest.raises(train.RunError) as error:
    train.run(tiny.experiment(poison=7), config, tmp_path, quiet=True)
  (*_, last) = good_steps(tmp_path / "checkpoints")
  assert 0 < last <= 7
  assert f"loss not finite at step 7 (stage fit, seed 1); last good checkpoint: step {last}" in str(
    error.value
  )
  assert "\n" not in str(error.value) and "on_nonfinite=skip" in str(error.value)


def test_skipping_goes_on_without_the_bad_steps_and_counts_them(tmp_path):
  experiment = train.replicate(tiny.experiment(poison=7), 2)
  config = tiny.get_config(seeds=2, on_nonfinite="skip", log_every=12)
  summary, rows, _ = _run(experiment, config, tmp_path)
  (row,) = [row for row in rows if row["split"] == "train"]
  assert row["metrics"]["skipped"] == [0, 5 / 12]
  errors = summary["metrics"]["all_error"]["values"]
  expected = [_by_hand(0, 12)[0], _by_hand(1, 7)[0]] - tiny.ROWS.mean()
  np.testing.assert_allclose(errors, expected, atol=1e-6)


def test_a_workdir_is_one_run_at_a_time(tmp_path):
  config = tiny.get_config()

  def also(state, t):  # traced inside the first run
    with pytest.raises(train.RunError, match="another process is running in"):
      train.run(tiny.experiment(), config, tmp_path, quiet=True)
    return jnp.asarray(t < 0)

  assert train.run(tiny.experiment(done=also), config, tmp_path, quiet=True)["complete"]


def test_ctrl_c_ends_a_report_at_once_and_the_next_run_makes_it(tmp_path):
  reported = []

  def report(state, evaluate, sweep):
    reported.append(state)
    if len(reported) == 1:
      signal.raise_signal(signal.SIGINT)
    return train.Report({"weight": state["params"]["w"]})

  experiment = tiny.experiment()._replace(report=report)
  before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
  try:
    with pytest.raises(KeyboardInterrupt):
      train.run(experiment, tiny.get_config(), tmp_path, quiet=True)
  finally:
    signal.signal(signal.SIGINT, before)
  assert good_steps(tmp_path / "checkpoints") == [12] and not (tmp_path / "summary.json").exists()
  assert train.run(experiment, tiny.get_config(), tmp_path, quiet=True)["complete"] and len(reported) == 2


@pytest.mark.parametrize("kind", ["resident", "stream"])
@pytest.mark.parametrize("seeds", [1, 2])
def test_a_report_gets_the_rows_of_an_eval_in_order(kind, seeds, tmp_path):
  seen = []

  def errors(state, batch):
    return batch["x"] - state["params"]["w"]

  def report(state, evaluate, sweep):
    rows = sweep(errors, state, over="all")
    seen.append((rows, np.asarray(state["params"]["w"])))
    return train.Report({"error": evaluate("all", state)["error"], "mean": -rows.mean()})

  single = tiny.experiment()
  evals = {"all": single.evals["all"]._replace(data=tiny.data(kind, 3))}  # 10 rows: the last batch is padded
  single = single._replace(report=report, evals=evals)
  config = tiny.get_config(seeds=seeds)
  summary, *_ = _run(single if seeds == 1 else train.replicate(single, seeds), config, tmp_path)
  for rows, weight in seen:
    np.testing.assert_allclose(rows, tiny.ROWS - weight, rtol=1e-6)
  means = [summary["metrics"][name]["values"] for name in ("error", "mean")]
  np.testing.assert_allclose(*means, rtol=1e-5)


def test_a_finished_run_without_its_checkpoints_says_what_can_be_done(tmp_path):
  experiment, config = tiny.experiment(), tiny.get_config()
  with pytest.raises(train.RunError, match="has no checkpoint: run launch/train.py"):
    load_state(experiment, config, tmp_path)
  train.run(experiment, config, tmp_path, quiet=True)
  shutil.rmtree(tmp_path / "checkpoints")
  with pytest.raises(
    train.RunError, match="checkpoints are gone: train in another --workdir, or delete .*summary.json and"
  ):
    load_state(experiment, config, tmp_path)
  path = tmp_path / "summary.json"
  path.write_text(json.dumps({**json.loads(path.read_text()), "steps": [0]}))
  with pytest.raises(train.RunError, match="trains nothing: it has no weights to load"):
    load_state(experiment, config, tmp_path)
  path.unlink()
  train.run(experiment, config, tmp_path, quiet=True)
  load_state(experiment, config, tmp_path)


def test_a_finished_run_is_returned_as_it_is_and_another_config_refused(tmp_path):
  summary = train.run(tiny.experiment(), tiny.get_config(), tmp_path, quiet=True)
  again = train.run(tiny.experiment(), tiny.get_config(save_seconds=1.0), tmp_path, quiet=True)
  assert again == summary
  with pytest.raises(train.RunError, match="another config .*differ in log_every, seed.*another --workdir"):
    train.run(tiny.experiment(), tiny.get_config(seed=1, log_every=5), tmp_path, quiet=True)
  (tmp_path / "config.json").unlink()  # the checkpoints know their config, too
  with pytest.raises(train.RunError, match="another config .*differ in seed"):
    train.run(tiny.experiment(), tiny.get_config(seed=1), tmp_path, quiet=True)
  assert train.run(tiny.experiment(), tiny.get_config(), tmp_path, quiet=True) == summary
  assert (tmp_path / "config.json").exists()
  (tmp_path / "summary.json").write_text('{"complete": tr')
  with pytest.raises(train.RunError, match="summary.json is damaged.*delete it"):
    train.run(tiny.experiment(), tiny.get_config(), tmp_path, quiet=True)
