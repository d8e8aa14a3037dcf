"""Steps that are not finite: found in the loss or in the weights, never saved, named with seed and leaf."""

import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from train import tiny
from vita_jax import train
from vita_jax.report import join_summaries
from vita_jax.train.checkpoint import good_steps
from vita_jax.train.finish import load_state
from vita_jax.train.programs import SKIPS

STEPS = SKIPS + 20


def _bad_gradient(at, *, until=10**6, seed=1):
  """From step `at` on the loss is finite and the gradient of one seed is not, as of a square root at 0."""
  experiment = tiny.experiment(steps=STEPS)
  (stage,) = experiment.stages

  def step(state, batch, t):
    new, metrics = stage.step(state, batch, t)
    bad = (t >= at) & (t < until) & (state["seed"] == seed)
    safe = jnp.isfinite(state["params"]["w"])
    # The weight is not read by the loss: only a look at it can tell.
    metrics = {"loss": tuple(jnp.where(safe, x, 1.0) for x in metrics["loss"])}
    return {**new, "params": {"w": jnp.where(bad, jnp.nan, new["params"]["w"])}}, metrics

  return experiment._replace(stages=(stage._replace(step=step),), evals={})


@pytest.mark.parametrize("length", [1, 7])
def test_weights_that_are_not_finite_stop_a_run_and_are_never_saved(length, tmp_path):
  config = tiny.get_config(seed=1, steps_per_call=length, save_seconds=0.0)
  with pytest.raises(train.RunError) as error:
    train.run(_bad_gradient(9), config, tmp_path, quiet=True)
  text = str(error.value)
  assert "params/w not finite at step" in text and "(stage fit, seed 1)" in text
  assert "loss not" not in text and "loss and" not in text
  saved = good_steps(tmp_path / "checkpoints")
  assert saved and saved[-1] <= 9 and f"last good checkpoint: step {saved[-1]}." in text
  state, _ = load_state(_bad_gradient(9), config, tmp_path)
  assert np.isfinite(state["params"]["w"])


def test_a_bad_update_is_undone_when_it_is_skipped(tmp_path):
  """Three bad gradients cost three steps; before, all that followed were undone on NaN weights."""
  config = tiny.get_config(seed=1, on_nonfinite="skip", log_every=STEPS)
  experiment = _bad_gradient(9, until=12)
  train.run(experiment, config, tmp_path, quiet=True)
  state, _ = load_state(experiment, config, tmp_path)
  assert abs(float(state["params"]["w"]) - tiny.ROWS.mean()) < 0.1


def test_many_skips_in_a_row_stop_a_run_with_seed_and_leaf(tmp_path):
  config = tiny.get_config(seed=1, on_nonfinite="skip", steps_per_call=4)
  with pytest.raises(train.RunError) as error:
    train.run(_bad_gradient(9), config, tmp_path, quiet=True)
  last = 9 + SKIPS - 1
  words = f"params/w not finite in {SKIPS} steps in a row up to step {last} (stage fit, seed 1)"
  assert words in str(error.value) and "on_nonfinite" not in str(error.value)


@pytest.mark.parametrize("length", [1, 7])
def test_one_diverged_seed_is_frozen_counted_and_named_and_the_others_go_on(length, tmp_path, capsys):
  summaries = []
  for seed in (1, 5):  # seed 5 is not in the run
    config = tiny.get_config(seeds=3, on_nonfinite="skip", steps_per_call=length)
    experiment = _bad_gradient(9, seed=seed)._replace(evals=tiny.experiment().evals)
    workdir = tmp_path / str(seed)
    summaries.append(train.run(train.replicate(experiment, 3), config, workdir))
  lines = [line for line in capsys.readouterr().err.splitlines() if "is frozen" in line]
  assert len(lines) == 1 and "seed 1 is frozen: params/w not finite in 30 steps in a row" in lines[0]
  ours, clean = (summary["metrics"]["all_error"] for summary in summaries)
  assert summaries[0]["frozen"] == [1] and summaries[1]["frozen"] == []
  assert ours["diverged"] == 1 and ours["values"][1] is None
  assert [ours["values"][i] for i in (0, 2)] == [clean["values"][i] for i in (0, 2)]
  joined = join_summaries(summaries)
  assert joined["frozen"] == [1] and joined["metrics"]["all_error"]["diverged"] == 1


def test_a_frozen_seed_stays_frozen_over_a_resume(tmp_path):
  config = tiny.get_config(seeds=2, on_nonfinite="skip", save_seconds=0.0, steps_per_call=9)
  config.keep_checkpoints = 100
  experiment = train.replicate(_bad_gradient(3), 2)
  whole = train.run(experiment, config, tmp_path, quiet=True)
  weights = (tmp_path / "export" / "params.safetensors").read_bytes()
  for step in [s for s in good_steps(tmp_path / "checkpoints") if s > SKIPS - 9][1:]:
    shutil.rmtree(tmp_path / "checkpoints" / str(step))
  (tmp_path / "summary.json").unlink()
  resumed = train.run(experiment, config, tmp_path, quiet=True)
  assert resumed["frozen"] == whole["frozen"] == [1]
  assert resumed["metrics"] == whole["metrics"] and resumed["steps"] == whole["steps"]
  assert (tmp_path / "export" / "params.safetensors").read_bytes() == weights


def test_a_transition_that_spoils_the_weights_is_not_saved(tmp_path):
  experiment = tiny.experiment()
  (stage,) = experiment.stages

  def enter(state, sweep):
    return {**state, "params": {"w": state["params"]["w"] * jnp.nan}}

  def step(state, batch, t):
    return state, {"loss": (jnp.float32(1), jnp.float32(1))}

  second = stage._replace(name="second", step=step, enter=enter)
  with pytest.raises(train.RunError, match="params/w.* not finite at step 12 .stage second"):
    train.run(experiment._replace(stages=(stage, second)), tiny.get_config(), tmp_path, quiet=True)
  assert good_steps(tmp_path / "checkpoints") == [12]


def test_weights_to_export_are_looked_at(tmp_path):
  experiment = tiny.experiment()._replace(params=lambda state: {"v": state["params"]["w"] / 0})
  with pytest.raises(train.RunError, match="weights to export are not finite .'v'."):
    train.run(experiment, tiny.get_config(), tmp_path, quiet=True)
  assert not (tmp_path / "summary.json").exists()
