"""The experiment as a whole: controls that must be exact, mechanisms, and the real Citeseer and Cora."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.update import ROOT
from laws.small_graph import write_small_graph

from vita_jax import papers, train
from vita_jax.base.files import load_python_file
from vita_jax.data import load_graph_npz
from vita_jax.papers.ss_gcn.model import HOSTS
from vita_jax.papers.ss_gcn.recipe import default_config
from vita_jax.train.finish import load_state

TASKS = {"cluster": (0.8, 0), "partition": (0.8, 4), "completion": (0.5, 5)}
OTHERS = ("gin", "gat", "graphmix")
NOTHING = 1e-30  # a weight that no gradient shows; 0 is what a config has where no task is asked for


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
  return write_small_graph(tmp_path_factory.mktemp("graph") / "graph.npz")


def _config(graph, task, **overrides):
  config = default_config("", task, dict.fromkeys(HOSTS, TASKS))
  config.data.path, config.epochs = graph, 8
  config.cache_dir, config.graphmix.epochs = graph.removesuffix(".npz"), 8
  config.update_from_flattened_dict(overrides)
  return config


def _trained(config, steps=9):
  experiment = papers.build(config)
  stage = experiment.stages[-1]
  state, step = jax.jit(experiment.init)(jax.random.key(0)), jax.jit(stage.step)
  batch = jax.device_put(stage.data.arrays)
  for t in range(steps):
    state, metrics = step(state, batch, jnp.int32(t))
  return state, metrics


@functools.cache
def _plain(graph, host):
  return _trained(_config(graph, "none", host=host))[0]


@pytest.mark.parametrize("host", ["gcn", *(pytest.param(h, marks=pytest.mark.slow) for h in OTHERS)])
@pytest.mark.parametrize("task,off", [("partition", 1.0), ("completion", NOTHING)])
def test_a_task_of_no_weight_leaves_the_plain_network(graph, host, task, off):
  plain = _plain(graph, host)
  found, _ = _trained(_config(graph, task, host=host, **{f"ss.{host}.weight": off}))
  for name in plain["params"]:
    ours, expected = jax.tree.leaves(found["params"][name]), jax.tree.leaves(plain["params"][name])
    for one, other in zip(ours, expected, strict=True):
      # The same numbers, but for how XLA fuses the larger program: another dropout mask would differ at once.
      np.testing.assert_allclose(one, other, atol=1e-7, rtol=1e-6, err_msg=name)
  assert set(found["params"]) - set(plain["params"]) == {"ss"}


@pytest.mark.parametrize("task", ["cluster", "partition", "completion", "random_labels"])
def test_a_small_graph_builds_with_the_settings_of_custom(task, tmp_path):
  path = write_small_graph(tmp_path / "tiny.npz", n_per_class=25, n_classes=3, n_features=6)
  config = default_config("", task)
  config.data.path, config.cache_dir = path, str(tmp_path)
  for mechanism in ("multitask", "pretrain") + ("self_training",) * (task != "completion"):
    config.mechanism = mechanism
    experiment = papers.build(config)
    stage = experiment.stages[-1]
    state = jax.eval_shape(experiment.init, jax.random.key(0))
    jax.eval_shape(stage.step, state, stage.data.arrays, jnp.int32(0))


@pytest.mark.parametrize(
  "task,key,value",
  [
    ("cluster", "clustering.n_clusters", 200),
    ("partition", "ss.gcn.n_outputs", 121),
    ("completion", "ss.gcn.n_outputs", 24),
  ],
)
def test_a_number_that_does_not_fit_is_named_by_its_key(graph, task, key, value):
  with pytest.raises(ValueError, match=f"config.{key} does not fit: .*{value}.*0 goes by") as error:
    papers.build(_config(graph, task, **{key: value}))
  assert "\n" not in str(error.value)


def test_sparse_and_propagated_features_train_alike(graph):
  sparse, _ = _trained(_config(graph, "completion", features="sparse"))
  dense, _ = _trained(_config(graph, "completion", features="dense"))
  for one, other in zip(jax.tree.leaves(sparse["params"]), jax.tree.leaves(dense["params"]), strict=True):
    np.testing.assert_allclose(one, other, atol=2e-5)


def test_the_last_step_only_judges(graph):
  before, _ = _trained(_config(graph, "partition"), steps=8)
  after, _ = _trained(_config(graph, "partition"), steps=12)
  assert int(before["epochs"]) == int(after["epochs"]) == 8
  jax.tree.map(np.testing.assert_array_equal, before["params"], after["params"])


def test_released_hosts_lose_their_dropout_after_the_first_epoch(graph):
  """From the second epoch on, the key no longer matters."""
  experiment = papers.build(_config(graph, "none", host="gin", faithful_to_code=True))
  stage = experiment.stages[0]
  state, batch, step = jax.jit(experiment.init)(jax.random.key(0)), stage.data.arrays, jax.jit(stage.step)
  other = {**state, "key": jax.random.key(1)}
  for t, equal in ((0, False), (1, True)):
    ours, theirs = (step(s, batch, jnp.int32(t))[1]["loss"][0] for s in (state, other))
    assert (ours == theirs) == equal


def test_test_labels_steer_nothing(graph, tmp_path):
  """Other test labels: the same weights, for the task that reads labels, too."""
  arrays = dict(np.load(graph))
  arrays["labels"] = arrays["labels"].copy()
  arrays["labels"][arrays["test_mask"]] = 0
  np.savez(tmp_path / "other.npz", **arrays)
  settings = {"clustering.n_clusters": 12}
  one, _ = _trained(_config(graph, "cluster", **settings))
  other, _ = _trained(_config(str(tmp_path / "other.npz"), "cluster", **settings))
  jax.tree.map(np.testing.assert_array_equal, one["params"], other["params"])


def test_a_graph_without_test_nodes_has_no_test_numbers(graph, tmp_path):
  """Nor one that says "diverged", as the accuracy of no node would."""
  arrays = {name: x for name, x in np.load(graph).items() if name != "test_mask"}
  np.savez(tmp_path / "untested.npz", **arrays)
  experiment = papers.build(_config(str(tmp_path / "untested.npz"), "none"))
  swept = []

  def sweep(fn, state, over):
    swept.append(over)
    return np.zeros((120, 2))

  found = experiment.report({"epochs": 3}, lambda split, state: {"accuracy": 1.0}, sweep)
  assert found.metrics == {"validation_accuracy": 1.0, "epochs": 3} and swept == ["validation"]
  assert set(experiment.evals) == {"validation"}


def test_pretraining_keeps_the_encoder_and_renews_the_head(graph):
  experiment = papers.build(_config(graph, "partition", mechanism="pretrain", **{"pretrain.epochs": 5}))
  first, second = experiment.stages
  state, step = jax.jit(experiment.init)(jax.random.key(0)), jax.jit(first.step)
  for t in range(5):
    state, metrics = step(state, first.data.arrays, jnp.int32(t))
  assert "loss" not in metrics and "ss_loss" in metrics
  renewed = second.enter(state, None)
  np.testing.assert_array_equal(renewed["params"]["input"]["kernel"], state["params"]["input"]["kernel"])
  assert not np.array_equal(renewed["params"]["target"]["kernel"], state["params"]["target"]["kernel"])
  assert int(renewed["epochs"]) == 0 and not renewed["stopped"]
  metrics = jax.eval_shape(second.step, renewed, second.data.arrays, jnp.int32(0))[1]
  assert "loss" in metrics and "ss_loss" not in metrics


@pytest.mark.parametrize("task", ["cluster", pytest.param("partition", marks=pytest.mark.slow)])
def test_self_training_grows_the_labels_outside_validation(graph, task, tmp_path):
  settings = {"self_training.rounds": 2, "self_training.per_class": 5, "self_training.n_clusters": 9}
  if task == "cluster":
    settings["clustering.n_clusters"] = 12
  config = _config(graph, task, mechanism="self_training", epochs=60, **settings)
  experiment = papers.build(config)
  summary = train.run(experiment, config, tmp_path, quiet=True)
  assert [stage.name for stage in experiment.stages] == ["train_0", "train_1", "train_2"]
  state, _ = load_state(experiment, config, tmp_path)
  known = load_graph_npz(graph)
  mask, labels = np.asarray(state["label_mask"]), np.asarray(state["labels"])
  assert mask[known.train_mask].all() and not mask[known.val_mask].any()
  added = mask & ~known.train_mask
  assert 0 < added.sum() <= 2 * 5 * known.n_classes
  assert (labels[added] == known.labels[added]).mean() > 0.8  # an easy graph
  assert summary["metrics"]["test_accuracy"]["mean"] > 0.8


def _accuracy(data, task, folder, *, seeds=10):
  config = load_python_file(ROOT / f"configs/ss_gcn/{data}.py").get_config(task)
  config.seeds = seeds
  experiment = train.replicate(papers.build(config), seeds)
  return train.run(experiment, config, folder / f"{data}_{task}", quiet=True)["metrics"]["test_accuracy"]


def test_citeseer_falls_where_the_literature_has_it(tmp_path):
  plain, parts = (_accuracy("citeseer", task, tmp_path, seeds=4) for task in ("none", "partition"))
  assert 0.698 < plain["mean"] < 0.719 and plain["std"] < 0.012 and plain["diverged"] == 0
  assert parts["mean"] > plain["mean"] - 0.005


@pytest.mark.slow
@pytest.mark.parametrize("data,low,high", [("cora", 0.80, 0.82), ("pubmed", 0.785, 0.797)])
def test_cora_and_pubmed_fall_where_the_literature_has_them(data, low, high, tmp_path):
  import os

  if "VITA_DATA_DIR" not in os.environ:
    pytest.skip(f"VITA_DATA_DIR is not set: {data} is not shipped")
  assert low < _accuracy(data, "none", tmp_path)["mean"] < high
