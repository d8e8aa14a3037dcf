"""Metrics, summaries, the config's checks and hash, and the logs."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vita_jax import cli, metrics
from vita_jax.base.files import write_json
from vita_jax.report import suite
from vita_jax.report.summary import (
  CANNOT_BE,
  format_metric,
  join_summaries,
  paired_interval,
  select_seeds,
  summarize,
)
from vita_jax.train import base_config
from vita_jax.train.config import as_dict, check_config, config_difference, config_hash
from vita_jax.train.writers import open_logs, read_rows, seed_mean


def test_mean_and_accuracy_are_exact_over_padding_and_batches():
  values = np.random.default_rng(0).normal(size=7).astype(np.float32)
  whole = metrics.mean(values)
  padded = jnp.append(values[4:], 99.0), jnp.array([1, 1, 1, 0])
  parts = metrics.add({"m": metrics.mean(values[:4])}, {"m": metrics.mean(*padded)})
  np.testing.assert_allclose(metrics.divide(parts)["m"], values.mean(), rtol=1e-6)
  np.testing.assert_allclose(metrics.divide({"m": whole})["m"], values.mean(), rtol=1e-6)
  logits, labels = jnp.eye(3)[jnp.array([0, 1, 2, 2])], jnp.array([0, 1, 0, 2])
  assert metrics.accuracy(logits, labels) == (3, 4)
  assert metrics.accuracy(logits, labels, jnp.array([1, 0, 1, 0])) == (1, 2)


def test_nan_in_a_masked_row_is_not_seen():
  total, weight = metrics.mean(jnp.array([1.0, jnp.nan, 3.0]), jnp.array([1, 0, 1]))
  assert (total, weight) == (4, 2)
  assert not metrics.finite({"a": metrics.mean(jnp.array([1.0, jnp.nan]))})
  several = {"a": (jnp.array([1.0, jnp.inf]), jnp.ones(2)), "b": (jnp.array([1.0, 1.0]), jnp.ones(2))}
  assert metrics.finite(several).tolist() == [True, False]


def test_a_frozen_replica_is_none():
  pair = (np.array([3.0, 0.0]), np.array([2.0, 0.0]))
  found = metrics.divide({"m": pair, "n": (0.0, 0.0), "o": (1.0, 4.0)})
  assert found == {"m": [1.5, None], "n": None, "o": 0.25}
  assert seed_mean(found["m"]) == 1.5 and seed_mean(found["n"]) is None


def test_summarize_counts_what_diverged():
  found = summarize([1.0, float("nan"), 3.0, None, float("inf")])
  assert found == {
    "mean": 2.0,
    "std": 1.0,
    "values": [1.0, None, 3.0, None, None],
    "diverged": 3,
    "impossible": 0,
  }
  assert summarize([None])["mean"] is None and summarize(2) == summarize([2.0])
  assert format_metric(found, percent=False) == "2.0000 ± 1.0000 (3 diverged)"
  assert format_metric(summarize([0.5, 0.7]), percent=True) == "60.00 ± 10.00"
  assert format_metric(summarize([None]), percent=True) == "diverged"


def test_values_that_a_metric_cannot_have_are_marked_wherever_they_are_printed(capsys):
  """An estimate from three rows: summary, terminal, table, CSV and figure do not show it bare."""
  auc = summarize([6.38, 0.9], name="validation_auc")
  accuracy = summarize([1.077], name="validation_accuracy")
  assert auc["impossible"] == 1 and summarize([6.38], name="validation_loss")["impossible"] == 0
  assert summarize([6.38, 0.9])["impossible"] == 0  # of no name, nothing is known
  assert format_metric(auc, percent=False) == "3.6400 ± 2.7400 (! 1 of 2 cannot be)"
  assert format_metric(accuracy, percent=True) == "107.70 (! cannot be)"
  old = {k: v for k, v in accuracy.items() if k != "impossible"}
  assert format_metric(old, percent=True) == "107.70"
  metrics_of = {
    "validation_auc": auc,
    "validation_accuracy": summarize([1.077, 0.9], name="validation_accuracy"),
  }
  summary = {"experiment": "self_pu", "seeds": [0, 1], "seconds": 1.0, "steps": [3, 3], "metrics": metrics_of}
  cli.print_metrics(summary)
  out = capsys.readouterr().out
  assert out.count("cannot be)") == 2 and out.rstrip().endswith(CANNOT_BE)
  assert select_seeds(summary, [1])["metrics"]["validation_auc"]["impossible"] == 0
  assert join_summaries([summary | {"frozen": []}] * 2)["metrics"]["validation_auc"]["impossible"] == 2
  row = suite.Row("mine", "c.py", metric="validation_auc", beside=("validation_accuracy",))
  lines = suite.make_lines([row], {"mine": summary})
  text = suite.markdown(lines, title="t")
  assert text.count("(! 1 of 2 cannot be)") == 2 and CANNOT_BE in text
  assert suite.comma_separated(lines).splitlines()[1].split(",")[7] == "1"
  (axes,) = suite.figure(lines, title="t").axes
  assert axes.get_yticklabels()[0].get_text() == "mine (! cannot be)"


def test_the_paired_interval_is_that_of_scipys_paired_t_test():
  random = np.random.default_rng(1)
  ours, theirs = random.normal(0.3, 1, 12), random.normal(0, 1, 12)
  for level in (0.95, 0.8):
    interval = stats.ttest_rel(ours, theirs).confidence_interval(level)
    found = paired_interval(ours.tolist(), theirs.tolist(), level=level)
    np.testing.assert_allclose(found, [np.mean(ours - theirs), *interval], rtol=1e-9)
  left_out = paired_interval([*ours, None, 5.0], [*theirs, 2.0, None])
  np.testing.assert_allclose(left_out, paired_interval(ours.tolist(), theirs.tolist()))
  assert paired_interval([1.0, None], [0.5, 1.0]) is None


def test_the_hash_leaves_out_what_does_not_change_the_numbers():
  one, other = as_dict(base_config()), as_dict(base_config())
  other.update(mesh={"seed": 2, "data": 1, "model": 1}, steps_per_call=7)
  other.update(save_seconds=1.0, keep_checkpoints=9)
  assert config_hash(one) == config_hash(other) and config_difference(one, other) == []
  other["seeds"], other["ss"] = 3, {"gcn": {"weight": 0.5}}
  assert config_hash(one) != config_hash(other)
  assert config_difference(one, other) == ["seeds", "ss.gcn.weight"]


@pytest.mark.parametrize(
  ("name", "value", "words"),
  [
    ("dtype", "float16", "Choose one of float32, bfloat16"),
    ("replicate", "pmap", "Choose one of vmap, map"),
    ("on_nonfinite", "ignore", "Choose one of stop, skip"),
    ("seeds", 0, "from 1 to"),
    ("seed", -1, "from 0 to"),
    ("keep_checkpoints", 0, "at least 1"),
    ("seed", 2**32, "from 0 to 4294967295"),
  ],
)
def test_a_value_that_a_shared_field_cannot_have_is_refused(name, value, words):
  config = base_config()
  check_config(config)
  config[name] = value
  with pytest.raises(ValueError, match=f"config.{name} .*{words}"):
    check_config(config)


def _row(step):
  return {"stage": "fit", "at": step, "step": step, "split": "train", "metrics": {"loss": [1.0, None]}}


def test_a_torn_last_line_and_rows_beyond_the_checkpoint_are_dropped(tmp_path):
  path = tmp_path / "metrics.jsonl"
  assert read_rows(path) == []
  logs = open_logs(tmp_path, step=0, warn=pytest.fail)
  for step in (4, 8, 12):
    logs.write(_row(step))
  logs.close()
  with path.open("a") as file:
    file.write('{"stage": "fit", "at": 16, "st')
  assert [row["step"] for row in read_rows(path)] == [4, 8, 12]
  logs = open_logs(tmp_path, step=8, warn=pytest.fail)
  logs.write(_row(9))
  logs.close()
  assert [json.loads(line) for line in path.read_text().splitlines()] == [_row(4), _row(8), _row(9)]


def test_json_is_written_whole_or_not_at_all(tmp_path):
  path = tmp_path / "a.json"
  write_json(path, {"x": 1})
  with pytest.raises(TypeError):
    write_json(path, {"x": object()})
  assert json.loads(path.read_text()) == {"x": 1} and list(tmp_path.iterdir()) == [path]
