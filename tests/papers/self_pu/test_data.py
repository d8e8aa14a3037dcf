"""Rows of known images, a user's own table, and what is refused in one line."""

import json
import os
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax import papers, train
from vita_jax.data import volumes
from vita_jax.papers.self_pu import build
from vita_jax.papers.self_pu.data import estimated_prior, read_inputs
from vita_jax.papers.self_pu.recipe import default_config, recipe_of

SCHEMA = {
  "numeric": ["a", "b"],
  "categorical": ["kind"],
  "labelled": "label == 1",
  "target": "truth == yes",
}
HEADER = "a,b,kind,label,truth\n"


def _write(folder, *, n=400, schema=SCHEMA, lines=None, seed=0):
  """A table whose positives lie to one side of the first column; a third of them is labelled."""
  random = np.random.default_rng(seed)
  positive = random.random(n) < 0.5
  a, b = np.where(positive, 1.5, -1.5) + random.normal(size=n), random.normal(size=n)
  labelled = positive & (random.random(n) < 0.33)
  rows = [
    f"{x:.4f},{y:.4f},{'xyz'[i % 3]},{int(known)},{'yes' if p else 'no'}"
    for i, (x, y, known, p) in enumerate(zip(a, b, labelled, positive, strict=True))
  ]
  path = folder / f"rows_{seed}.csv"
  path.write_text(HEADER + "\n".join(rows if lines is None else lines) + "\n")
  (folder / "schema.json").write_text(json.dumps(schema))
  return str(path), str(folder / "schema.json")


def _config(path, schema, method="nnpu", **changes):
  config = default_config("tabular", method, prior=0.5, batch_size=32, validation__rows=60)
  config.data.path, config.data.schema, config.model.hidden = path, schema, (16, 16)
  config.calibration.meta, config.epochs = "entropy", 12
  config.update_from_flattened_dict(changes)
  return config


def _read(config):
  return read_inputs(recipe_of(config))


def test_even_digits_are_positive():
  inputs = _read(default_config("digits"))
  assert inputs.rows["x"].shape == (1297, 8, 8, 1) and inputs.labelled is None
  assert inputs.test["positive"].shape == (500,)
  assert inputs.rows["positive"].mean() == pytest.approx(0.496, abs=0.02)
  x = inputs.prepare(jnp.asarray(inputs.rows["x"][:5]))
  assert x.dtype == jnp.float32 and x.max() == 1.0


def test_mnist_and_cifar10_classes():
  if "VITA_DATA_DIR" not in os.environ:
    pytest.skip("VITA_DATA_DIR is not set: MNIST and CIFAR-10 are not shipped")
  mnist = _read(default_config("mnist"))
  assert mnist.rows["positive"].sum() == 29_492  # even digits: the prior 0.49 fits
  cifar = _read(default_config("cifar10"))
  assert cifar.rows["positive"].mean() == pytest.approx(0.4, abs=0.02)
  x = cifar.prepare(jnp.asarray(cifar.rows["x"][:1]))
  np.testing.assert_allclose(x[0, 0, 0, 0], (cifar.rows["x"][0, 0, 0, 0] / 255 - 0.485) / 0.229, rtol=1e-5)


def test_a_table_of_ones_own_trains_and_scores_new_rows(tmp_path):
  path, schema = _write(tmp_path)
  test, _ = _write(tmp_path, n=200, seed=1)
  config = _config(path, schema, **{"data.test_path": test})
  experiment = papers.build(config)
  summary = train.run(experiment, config, tmp_path / "run", quiet=True)
  assert summary["metrics"]["test_accuracy"]["mean"] > 0.85
  assert summary["metrics"]["validation_auc"]["mean"] > 0.8
  from vita_jax.train.finish import load_state

  state, _ = load_state(experiment, config, tmp_path / "run")
  exported = experiment.export(state)
  # Rows without labels: the program starts from raw values.
  unlabelled = tmp_path / "new.csv"
  lines = open(test).read().splitlines()
  unlabelled.write_text("\n".join(",".join(line.split(",")[:3]) for line in lines) + "\n")
  outputs = jax.jit(lambda p, x: exported.program(p, **x))(exported.params, exported.read(str(unlabelled)))
  truth = np.array([line.endswith("yes") for line in lines[1:]])
  assert (np.asarray(outputs["labels"]) == truth).mean() == pytest.approx(
    summary["metrics"]["test_accuracy"]["mean"], abs=1e-6
  )
  np.testing.assert_array_equal(outputs["labels"], outputs["probabilities"] > 0.5)


def test_a_prior_is_estimated_from_the_rows(tmp_path):
  path, schema = _write(tmp_path, n=1500)
  for scenario, expected in (("single_training_set", 0.5), ("case_control", 0.4)):
    config = _config(path, schema, prior=0.0, **{"data.scenario": scenario})
    inputs = _read(config)
    estimate = estimated_prior(inputs, scenario)
    assert expected - 0.08 < estimate.prior < expected + 0.08
    assert estimate.low <= estimate.prior <= estimate.high
  found = estimate.prior
  experiment = build(config)
  np.testing.assert_allclose(experiment.stages[0].also["phase"].arrays["prior"], found, rtol=1e-6)
  counts = {"recall": 0.5, "called": 0.5, "auc": 0.5, "labelled": 20.0, "unlabelled": 40.0}
  report = experiment.report(experiment.init(jax.random.key(0)), lambda *_: counts, None)
  assert report.metrics["estimated_prior"] == found
  assert {f"estimated_prior_{name}" for name in ("low", "high", "best_bin", "dedpul", "tice")} <= set(
    report.metrics
  )


def test_a_prior_below_the_labelled_share_warns_with_numbers(tmp_path):
  path, schema = _write(tmp_path)
  with pytest.warns(UserWarning, match=r"prior 0.05 is below the labelled share \(\d+ of 340, 0.1\d+\)"):
    build(_config(path, schema, prior=0.05))
  with warnings.catch_warnings():
    warnings.simplefilter("error", UserWarning)
    build(_config(path, schema, prior=0.05, **{"data.scenario": "case_control"}))
  with pytest.warns(UserWarning, match=r"prior 0.02 is below the labelled share \(40 of 1147, 0.035\)"):
    build(default_config("digits", "nnpu", prior=0.02, data__n_labelled=40, validation__rows=150))


@pytest.mark.parametrize("change,words", [
  ({"prior": 1.0}, "config.prior is 1.0: it must be a finite number, from 0 on and below"),
  ({"prior": -0.1}, "config.prior is -0.1"),
  ({"batch_size": 2}, "smaller than the interleave"),
  ({"init_from": "runs/other"}, "init_from is not for Self-PU"),
  ({"risk.kind": "nnpuu"}, "did you mean 'nnpu'"),
  ({"self_paced.paces": (0.1, 0.2, 0.3)}, "paces is .*one or two shares"),
  ({"validation.rows": 201}, "rows 201 is more than half of the 400 rows: take at most 200, or 0 for"),
  ({"data.path": ""}, "no data is named"),
  ({"data.schema": ""}, "no schema is named"),
  ({"distillation.enabled": True, "distillation.start": 12}, "not before config.epochs 12"),
  ({"batch_size": 512}, "batch_size 512 is larger than an epoch"),
  ({"self_paced.rho": 1.5}, "rho is 1.5: it must be a finite number, from 0 to 1"),
  ({"calibration.enabled": True, "risk.kind": "naive"}, "wanted upu or nnpu"),
])  # fmt: skip
def test_settings_that_cannot_be_are_refused(change, words, tmp_path):
  config = _config(*_write(tmp_path))
  config.update_from_flattened_dict(change)
  with pytest.raises(ValueError, match=words):
    build(config)


@pytest.mark.parametrize("content,words", [
  ({"lines": ["1,2,x,0,no", "2,3,y,0,yes"]}, "no labelled positives: of 2 rows 0"),
  ({"lines": ["1,2,x,1,yes", "2,3,y,1,yes"]}, "no unlabelled rows: of 2 rows 2"),
  ({"lines": ["1,,x,1,yes", "2,3,y,0,yes"]}, "'b'"),
  ({"schema": {k: v for k, v in SCHEMA.items() if k != "labelled"}}, "marks labelled positives"),
  ({"schema": {**SCHEMA, "categorical": [], "drop": ["label"], "labelled": "kind"}}, "x, y, z, wanted two"),
  ({"schema": {**SCHEMA, "numeric": ["a", "b", "label"]}}, "column 'label' is an input and makes 'labelled'"),
  ({"schema": {**SCHEMA, "categorical": ["kind", "truth"]}}, "column 'truth' is an input and makes 'target'"),
  ({"schema": {k: v for k, v in SCHEMA.items() if k != "target"}}, "columns without a role: truth"),
])  # fmt: skip
def test_tables_that_cannot_be_used_are_refused(content, words, tmp_path):
  with pytest.raises(ValueError, match=words):
    build(_config(*_write(tmp_path, **content)))


def test_true_classes_are_asked_for_only_where_they_are_read(tmp_path):
  schema = {**{k: v for k, v in SCHEMA.items() if k != "target"}, "drop": ["truth"]}
  files = _write(tmp_path, schema=schema)
  build(_config(*files, "self_calibrated"))
  with pytest.raises(ValueError, match="calibration.meta=clean needs the true classes.*entropy needs none"):
    build(_config(*files, "self_calibrated", **{"calibration.meta": "clean"}))
  with pytest.raises(ValueError, match="test file needs a"):
    build(_config(*files, **{"data.test_path": files[0]}))


def test_an_unseen_category_in_new_rows_is_named(tmp_path):
  inputs = _read(_config(*_write(tmp_path)))
  new = tmp_path / "new.csv"
  new.write_text("a,b,kind\n1,2,w\n")
  with pytest.raises(ValueError, match="row 1: column 'kind' has the category 'w'"):
    inputs.read(str(new))


def test_volumes_of_ones_own(tmp_path):
  regions = {name: np.zeros((3, *shape), np.float32) for name, shape in volumes.SHAPES.items()}
  np.savez(tmp_path / "v.npz", **regions, labelled=np.array([True, False, False]))
  config = default_config("volumes", "nnpu", prior=0.4, model__kind="volumes")
  config.data.path = str(tmp_path / "v.npz")
  inputs = _read(config)
  assert inputs.rows["x"]["brain"].shape == (3, 50, 50, 50) and (inputs.rows["positive"] == -1).all()
  np.savez(tmp_path / "w.npz", **regions)
  config.data.path = str(tmp_path / "w.npz")
  with pytest.raises(ValueError, match="'labelled' is missing"):
    _read(config)
