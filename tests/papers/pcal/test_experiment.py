"""Whole runs: German Credit from raw to audited and exported, baselines by the same door, bad tasks."""

import functools
import json
import pickle
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from papers.pcal import small

from vita_jax import papers, train
from vita_jax.data import tabular
from vita_jax.data.credit import SCHEMAS
from vita_jax.data.schema import parse_schema
from vita_jax.data.sources import load
from vita_jax.data.splits import part_sizes
from vita_jax.data.tables import as_table
from vita_jax.papers import pcal
from vita_jax.papers.pcal.export import encode, final_params, represent
from vita_jax.papers.pcal.recipe import VARIANTS
from vita_jax.train.finish import load_state


@pytest.fixture(scope="module")
def german(tmp_path_factory):
  """(experiment, config, task, summary, workdir, state) of a short run on the real table."""
  config, workdir = small.config(), tmp_path_factory.mktemp("german")
  config.update({"attributes": ("age",), "noise": 0.1, "steps": 40, "pretrain_steps": 20})
  config.data.name = "credit/german"
  experiment = papers.build(config)
  summary = train.run(experiment, config, workdir, quiet=True)
  table, schema = pcal.read(config)
  task = pcal.make_task(table, schema, attributes=("age",), variant="exclude")
  return experiment, config, task, summary, workdir, load_state(experiment, config, workdir)[0]


def test_a_run_ends_with_its_audit(german):
  _, _, _, summary, workdir, _ = german
  values = {name: entry["mean"] for name, entry in summary["metrics"].items()}
  for name in ("utility_auc", "attack_auc", "in_training_auc", "attack_auc_boosting_age", "score_alone_age"):
    assert 0.35 < values[name] <= 1
  assert values["attack_majority_rate_age"] == pytest.approx(0.81, abs=0.02)
  content = json.loads((workdir / "audit.json").read_text())
  assert content["rows"]["attacker_train"] == 600 and content["in_training"].keys() == {"age"}
  assert "The adversaries of training reach" in (workdir / "audit.md").read_text()
  assert (workdir / "figures" / "audit.png").exists()


def test_the_exported_program_is_what_was_audited_and_noise_stays_with_the_record(german, tmp_path):
  experiment, config, task, _, _, state = german
  exported = experiment.export(state)
  columns = load("credit/german")
  text = ",".join(columns) + "\n"
  text += "".join(",".join(map(str, row)) + "\n" for row in zip(*columns.values(), strict=True))
  (tmp_path / "rows.csv").write_text(text)
  raw = exported.read(str(tmp_path / "rows.csv"))
  program = jax.jit(lambda p, x: exported.program(p, **x))
  outputs = program(exported.params, raw)
  game = pcal.make_game(pcal.recipe_of(config), task)
  audited = jax.jit(functools.partial(encode, game))(
    final_params(state), numbers=task.arrays["raw"], codes=task.arrays["codes"]
  )
  for name in ("z", "probability"):
    np.testing.assert_allclose(outputs[name], audited[name], atol=1e-5)
  some = {name: x[100:110] for name, x in raw.items()}
  again = program(exported.params, some)
  np.testing.assert_allclose(again["z"], outputs["z"][100:110], atol=1e-4)
  encoding = tabular.from_json(exported.card["encoding"])
  assert "age" not in encoding.schema.inputs and not encoding.schema.private
  train_rows = np.asarray(state["rows"])[: part_sizes(1000).train]
  mean = task.arrays["numbers"][train_rows].mean(0)
  np.testing.assert_allclose(encoding.mean, mean, rtol=1e-5)


def test_baselines_go_through_the_same_door(tmp_path):
  config = small.config(method="drop", attributes=("s",))
  task = pcal.make_task(
    as_table(small.columns(900)), parse_schema(small.SCHEMA), attributes=("s",), variant="exclude"
  )
  experiment = pcal.experiment(config, task)
  metrics = train.run(experiment, config, tmp_path, quiet=True)["metrics"]
  assert metrics["attack_auc"]["mean"] > 0.8 and metrics["utility_auc"]["mean"] > 0.75
  assert "in_training_auc" not in metrics
  state, _ = load_state(experiment, config, tmp_path)
  for method in ("leace", "equalised_score"):
    config.method = method
    found = pcal.experiment(config, task).report(state, None, None).metrics
    assert found["utility_auc"] > 0.75
    if method == "leace":  # trees read s from what it adds to 0/1 columns: only linear attackers are shut out
      assert found["attack_auc"] > 0.8 and found["attack_auc_logistic_s"] < 0.72
    else:
      assert found["attack_auc"] < 0.72


def _columns(encoding):
  return {name.split("=")[0] for name in encoding.names}


def test_private_columns_are_in_the_inputs_of_variant_a_only():
  table, schema = as_table(load("credit/taiwan")), parse_schema(SCHEMAS["credit/taiwan"])
  tasks = {v: pcal.make_task(table, schema, attributes=("edu",), variant=v) for v in VARIANTS}
  widths = {v: len(t.encoding.names) for v, t in tasks.items()}
  assert widths == {"include": 28, "exclude": 24, "exclude_all": 18}
  assert "EDUCATION" in _columns(tasks["include"].encoding)
  assert "EDUCATION" not in _columns(tasks["exclude"].encoding)
  private = {"LIMIT_BAL", "EDUCATION", "AGE", "MARRIAGE", "SEX"}
  assert not private & _columns(tasks["exclude_all"].encoding)
  task = tasks["exclude"]
  assert task.n_rows - len(np.unique(task.groups)) == 35  # duplicates, row numbers apart
  assert task.arrays["target"].mean() == pytest.approx(0.2212)
  assert task.arrays["private"].mean() == pytest.approx(0.3528, abs=1e-4)


@pytest.mark.parametrize(
  "change,message",
  [
    ({"s": np.zeros(300)}, "'s' has one class only"),
    ({"s": (np.arange(300) < 9).astype(int)}, "'s' has 9 rows of class '1'"),
    ({"s": small.columns()["bad"]}, "'s' equals the target"),
    ({"s": 1 - small.columns()["bad"]}, "'s' equals the target"),
    ({"bad": np.arange(300) % 3}, None),
    ({"u": np.where(np.arange(300) == 7, np.nan, 1.0)}, "row 8: column 'u' has no value"),
    ({"wage": np.ones(300)}, "'wage' has one value only"),
    ({"extra": np.ones(300)}, "columns without a role: extra"),
    ({"U": np.ones(300), "u": None}, "no column 'u' .nearest: 'U'"),
  ],
)
def test_tasks_that_cannot_be(change, message):
  table = as_table({k: v for k, v in {**small.columns(), **change}.items() if v is not None})
  if message is None:
    schema, message = parse_schema({**small.SCHEMA, "target": "bad"}), "the target has 3 classes"
  else:
    schema = parse_schema(small.SCHEMA)
  with pytest.raises(ValueError, match=message):
    pcal.make_task(table, schema, attributes=(), variant="exclude")


def test_options_that_cannot_be():
  table, schema = as_table(small.columns()), parse_schema(small.SCHEMA)

  def make(**more):
    return pcal.make_task(table, schema, **{"attributes": ("s",), "variant": "exclude", **more})

  with pytest.raises(ValueError, match="no private attribute 'ss' .nearest: 's'"):
    make(attributes=("ss",))
  with pytest.raises(ValueError, match="variant 'include' needs 's' among"):
    make(variant="include")
  with pytest.raises(ValueError, match="did you mean 'leace'"):
    pcal.experiment(small.config(method="leac"), make())
  with pytest.raises(ValueError, match="drops nothing"):
    pcal.experiment(small.config(method="drop", variant="include"), make())
  with pytest.raises(ValueError, match="is not raw"):
    pcal.experiment(small.config(method="raw"), make())
  with pytest.raises(ValueError, match="config.audit.attackers 'most'"):
    pcal.experiment(small.config(**{"audit.attackers": "most"}), make())
  with pytest.raises(ValueError, match="config.gamma is -1"):
    pcal.experiment(small.config(gamma=-1.0), make())


def test_inputs_that_are_a_label_are_warned_of():
  columns = small.columns()
  for name in ("bad", "s"):
    table = as_table({**columns, "u": 3.0 * columns[name] - 1})
    with pytest.warns(UserWarning, match=f"the input 'u' is '{'target' if name == 'bad' else 's'}'"):
      pcal.make_task(table, parse_schema(small.SCHEMA), attributes=("s",), variant="exclude")
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    small.task()


def test_private_encoder_in_a_pipeline():
  from sklearn.base import clone
  from sklearn.linear_model import LogisticRegression
  from sklearn.pipeline import make_pipeline

  encoder = pcal.PrivacyEncoder(
    small.SCHEMA,
    gamma=0.5,
    latent=2,
    steps=12,
    attributes=("s",),
    settings={
      "encoder_widths": (8,),
      "head_widths": (4,),
      "batch_size": 64,
      "pretrain_steps": 200,
      "adversary.widths": ((),),
      "adversary.steps": 1,
      "restart.every": 0,
    },
  )
  assert clone(encoder).get_params()["gamma"] == 0.5
  columns = small.columns(400)
  train_rows = {name: x[:300] for name, x in columns.items()}
  test_rows = {name: columns[name][300:] for name in ("u", "v", "amount", "job")}
  pipeline = make_pipeline(encoder, LogisticRegression()).fit(train_rows, train_rows["bad"])
  assert pipeline.score(test_rows, columns["bad"][300:]) > 0.6  # chance is 0.5
  z = pipeline[0].transform(test_rows)
  assert z.shape == (100, 2) and z.dtype == np.float32
  np.testing.assert_allclose(
    pipeline[0].transform({k: x[5:9] for k, x in test_rows.items()}), z[5:9], atol=1e-5
  )
  np.testing.assert_array_equal(pickle.loads(pickle.dumps(pipeline))[0].transform(test_rows), z)
  with pytest.raises(ValueError, match="no column 'job'"):
    pipeline[0].transform({k: x for k, x in test_rows.items() if k != "job"})


def test_the_head_sees_what_training_saw(german):
  """The export encodes raw rows as training encoded its arrays (noise apart)."""
  _, config, task, _, _, state = german
  config = config.copy_and_resolve_references()
  config.noise = 0.0
  game, rows = pcal.make_game(pcal.recipe_of(config), task), np.asarray(state["rows"])[:50]
  z = jax.jit(
    lambda s: represent(game, final_params(s), task.arrays["raw"][rows], task.arrays["codes"][rows])
  )(state)
  arrays = jax.tree.map(jnp.asarray, task.arrays)
  trained = jax.jit(lambda s: game.frozen_z(s, arrays, rows, jax.random.key(0)))(state)
  np.testing.assert_allclose(z, trained, atol=1e-4)


@pytest.mark.parametrize(
  "change,message",
  [
    ({"settings": {"gama": 1}}, "settings have no key 'gama' .nearest: 'gamma'"),
    ({"settings": {"restart": {"evry": 3}}}, "settings have no key 'restart.evry' .nearest: 'restart.every'"),
    ({"settings": {"batch_size": "many"}}, "batch_size is 'many': it must be of the type int"),
    ({"gamma": -1.0}, "config.gamma is -1.0: it must be a finite number, at least 0"),
    ({"settings": {"gamma": 5.0}}, "settings have 'gamma', which is an argument, too: give gamma="),
    ({"settings": {"seed": 1}}, "settings have 'seed', .* give random_state="),
    ({"settings": {"attributes": ("s",)}}, "settings have 'attributes', which is an argument"),
    ({"settings": {"restart.every": 1, "restart": {"every": 2}}}, "settings have 'restart.every' twice"),
    (
      {"settings": {"dropout": 1.5}},
      "config.dropout is 1.5: it must be a finite number, from 0 on and below 1",
    ),
    ({"steps": 10.5}, "steps is 10.5: it must be of the type int"),
    ({"random_state": "now"}, "random_state is 'now': give a whole number"),
  ],
)
def test_settings_of_an_encoder_that_cannot_be(change, message):
  encoder = pcal.PrivacyEncoder(small.SCHEMA).set_params(**change)
  with pytest.raises(ValueError, match=message):
    encoder.fit(small.columns())


def test_settings_of_an_encoder_may_be_numpys():
  encoder = pcal.PrivacyEncoder(
    small.SCHEMA,
    gamma=np.float32(2),
    latent=np.int64(3),
    steps=np.int32(7),
    attributes=np.array(["s"]),
    random_state=np.random.RandomState(0),
    settings={"restart": {"every": np.int64(3)}, "encoder_widths": [np.int64(8)], "dropout": np.float64(0.5)},
  )
  config = encoder._config()
  assert (config.gamma, config.latent, config.steps, config.restart.every) == (2.0, 3, 7, 3)
  assert config.dropout == 0.5
  assert config.encoder_widths == (8,) and config.attributes == ("s",) and config.seed > 0
  assert pcal.PrivacyEncoder(small.SCHEMA, attributes="wage")._config().attributes == ("wage",)
  rng = np.random.default_rng(0)
  assert pcal.PrivacyEncoder(small.SCHEMA, random_state=rng)._config().seed != 0


def test_rows_of_one_group_stay_on_one_side():
  columns = {**small.columns(), "id": np.arange(300) // 3}
  task = pcal.make_task(
    as_table(columns), parse_schema(small.SCHEMA), attributes=("s",), variant="exclude", group="id"
  )
  np.testing.assert_array_equal(task.groups, np.arange(300) // 3)
  with pytest.raises(ValueError, match="config.data.group is 'ids': .* .nearest: 'id'"):
    pcal.make_task(
      as_table(columns), parse_schema(small.SCHEMA), attributes=("s",), variant="exclude", group="ids"
    )


def test_a_continuous_attribute_is_not_rounded_before_it_is_centred():
  columns = small.columns()
  columns["wage"] = 1_600_000_000 + 10.0 * columns["s"] + 0.1 * columns["v"]
  schema = parse_schema({**small.SCHEMA, "private": {"wage": "number(wage)"}, "drop": ["id", "s"]})
  task = pcal.make_task(as_table(columns), schema, attributes=(), variant="exclude")
  assert np.corrcoef(task.arrays["private"][:, 0], columns["s"])[0, 1] > 0.99
  np.testing.assert_array_equal(task.labels["wage"], columns["wage"])
