"""Whole experiments on small texts: what each training starts from, what is reported, what is taken away."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from laws.small_texts import small_config, write_texts

from vita_jax import compress, papers, train
from vita_jax.nn.bert import PRUNABLE, load_bert, save_bert
from vita_jax.papers.bert_tickets.model import read_start
from vita_jax.papers.bert_tickets.recipe import recipe_of
from vita_jax.train import checkpoint
from vita_jax.train.finish import load_state
from vita_jax.train.mesh import make_mesh
from vita_jax.train.program_file import run_program, write_program
from vita_jax.train.programs import make_programs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return write_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def pretrained(folder):
  """A Hugging Face folder of a small BERT with a pooler."""
  experiment = papers.build(small_config(folder, "full"))
  params = jax.device_get(jax.jit(experiment.init)(jax.random.key(9))["params"])
  bert = read_start(recipe_of(small_config(folder, "full"))).config
  save_bert(folder / "bert", bert, {"bert": params["bert"]}, vocab=folder / "vocab.txt")
  return folder / "bert"


def _entered(experiment, *, steps=2):
  """(state as each training starts, state as it ends), with donated states, as the loop has them."""
  programs = make_programs(experiment, make_mesh(train.base_config().mesh), on_nonfinite="stop")
  seed = programs.place(np.uint32(3))
  state, found = programs.init(seed), []
  from vita_jax.data.stream import read_batch

  for stage in experiment.stages:
    state = programs.enter(stage, state)
    start = jax.tree.map(np.array, jax.device_get({k: v for k, v in state.items() if k != "key"}))
    single = programs.single(stage, state)
    cursor = programs.cursor()
    for t in range(min(steps, stage.steps)):
      batch = {"data": jax.tree.map(np.asarray, read_batch(stage.data, 3, t))}
      state, cursor, _ = single(state, seed, cursor, batch)
    end = jax.tree.map(np.array, jax.device_get({k: v for k, v in state.items() if k != "key"}))
    found.append((start, end))
  return found


def _flat(params):
  return {"/".join(k): v for k, v in flatten_dict(params).items()}


def _masks(state):
  return {n: np.asarray(m) for n, m in compress.unpack(state["masks"], state["params"]).items()}


def test_every_training_of_imp_starts_from_theta0_with_fewer_weights(folder, pretrained):
  config = small_config(folder, "imp", starts=("theta0", "random_reinit"), **{"model.path": str(pretrained)})
  experiment = papers.build(config)
  theta0 = {k: np.array(v) for k, v in _flat(load_bert(pretrained)[1]).items()}
  states = _entered(experiment)
  assert [stage.name for stage in experiment.stages] == [
    "round_1",
    "round_2",
    "ticket_20_random_reinit",
    "ticket_20_theta0",
  ]
  states = [*states[:2], states[3], states[2]]
  assert [int(start["training"]) for start, _ in states] == [1, 2, 3, 4]
  first = _flat(states[0][0]["params"])
  for number, (start, end) in enumerate(states[:3]):
    params, masks = _flat(start["params"]), _masks(start)
    for name, x in theta0.items():  # embeddings, layer norms and biases, too; bit for bit
      expected = np.where(masks[name], x, 0) if name in masks else x
      np.testing.assert_array_equal(params[name], expected, err_msg=f"{number} {name}")
    np.testing.assert_array_equal(params["classifier/kernel"], first["classifier/kernel"])
    assert not any(np.any(x) for x in jax.tree.leaves(start["tx"]))  # a new optimizer
    trained = _flat(end["params"])
    assert all((trained[n][~m] == 0).all() for n, m in masks.items())
    moved = [n for n in trained if not np.array_equal(trained[n], params[n])]
    assert {"classifier/kernel", "bert/embeddings/layer_norm/scale", "bert/pooler/kernel"} <= set(moved)
  size = sum(m.size for m in _masks(states[0][0]).values())
  assert size == 4 * 16 * 16 + 2 * 16 * 32 + 16 * 16
  zeros = [sum((~m).sum() for m in _masks(start).values()) for start, _ in states]
  assert zeros == [0, round(0.1 * size), round(0.2 * size), round(0.2 * size)]
  # Round 2 leaves out the smallest of what round 1 trained.
  ended, kept = _flat(states[0][1]["params"]), _masks(states[1][0])
  pooled = np.concatenate([np.abs(ended[n]).ravel() for n in kept])
  threshold = np.sort(pooled)[zeros[1]]
  assert all((m == (np.abs(ended[n]) >= threshold)).all() for n, m in kept.items())
  # Another start for the same mask: new encoder, same head.
  other, masks = _flat(states[3][0]["params"]), _masks(states[3][0])
  assert all((masks[n] == m).all() for n, m in _masks(states[2][0]).items())
  for name in ("bert/embeddings/word_embeddings/embedding", "bert/encoder/layer_0/output/kernel"):
    assert (other[name] != theta0[name]).mean() > 0.5
  np.testing.assert_array_equal(other["classifier/kernel"], first["classifier/kernel"])
  assert states[2][0]["outputs"]["random_reinit_20"].shape == (40, 2)
  # The pre-trained arrays themselves are untouched by training.
  for name, x in _flat(experiment.stages[0].also["pretrained"].arrays["params"]).items():
    np.testing.assert_array_equal(x, theta0[name])


def test_every_task_prunes_the_same_matrices(folder, pretrained, tmp_path):
  """Masked-LM never uses the pooler, and has it in its tickets: they go to tasks that do, and back."""
  _, params = load_bert(pretrained)
  masks = compress.magnitude_masks(params, 0.2, select=PRUNABLE)
  compress.save_ticket(tmp_path / "t.safetensors", compress.make_ticket(masks, params))
  paths = {"model.path": str(pretrained), "ticket": str(tmp_path / "t.safetensors")}
  for task in ("custom", "mlm"):
    experiment = papers.build(small_config(folder, "imp", task, **paths))
    programs = make_programs(experiment, make_mesh(train.base_config().mesh), on_nonfinite="stop")
    state = programs.abstract(0)
    assert "bert/pooler/kernel" in state["masks"] and state["masks"].keys() == masks.keys()
    assert "pooler" in state["params"]["bert"]


def test_layers_are_pruned_each_by_itself_if_asked(folder):
  config = small_config(folder, "imp", sparsity=0.1, **{"pruning.scope": "layer"})
  (_, _), (start, _) = _entered(papers.build(config), steps=0)
  assert all(abs((~m).mean() - 0.1) <= 0.5 / m.size for m in _masks(start).values())


@pytest.mark.slow
def test_rewinding_goes_to_the_early_point_and_a_kept_head_stays(folder):
  config = small_config(folder, "imp", sparsity=0.1, rewind=0.5, head="keep")
  experiment = papers.build(config)
  assert [(s.name, s.steps) for s in experiment.stages] == [
    ("early", 2),
    ("round_1", 2),
    ("ticket_10_theta0", 2),
  ]
  (_, early), (on, end), (ticket, _) = _entered(experiment)
  one, two, three = (_flat(s["params"]) for s in (early, on, ticket))
  assert all((one[n] == two[n]).all() for n in one)
  assert np.any(jax.tree.leaves(on["tx"])[1])  # the same training continues: its moments stay
  masks = _masks(ticket)
  assert all(
    (three[n] == np.where(masks[n], one[n], 0) if n in masks else three[n] == one[n]).all() for n in one
  )
  again = small_config(folder, "imp", sparsity=0.2, head="keep")
  (_, trained), (second, _), (fresh, _) = _entered(papers.build(again))
  heads = [_flat(s["params"])["classifier/kernel"] for s in (trained, second, fresh)]
  assert (heads[0] == heads[1]).all() and (heads[2] != heads[1]).any()  # in the search only


def test_the_released_schedule_is_of_the_search_alone(folder):
  """The rate of the search falls over all its rounds, that of a ticket to zero; rounds share one step."""
  steps = [s.step for s in papers.build(small_config(folder, "imp", imp_schedule="as_released")).stages]
  assert steps[0] is steps[1] is not steps[2]
  assert [step.keywords["rate"].keywords["steps"] for step in steps] == [40, 40, 4]
  # The full model has nothing to rewind to: it is trained in one go.
  (full,) = papers.build(small_config(folder, "full", rewind=0.5)).stages
  assert full.steps == 4 and full.step.keywords["offset"] == 0
  steps = [s.step for s in papers.build(small_config(folder, "imp")).stages]
  assert steps[0] is steps[1] is steps[2]


def test_standard_pruning_goes_on_from_the_trained_weights(folder):
  (_, end), (start, _) = _entered(papers.build(small_config(folder, "standard", sparsity=0.1)))
  trained, begun, masks = _flat(end["params"]), _flat(start["params"]), _masks(start)
  assert all((begun[n] == (np.where(masks[n], x, 0) if n in masks else x)).all() for n, x in trained.items())


def test_masks_without_a_search(folder):
  found = {}
  for method in ("oneshot", "random"):
    config = small_config(folder, method, tickets=(0.5,), sparsity=0.8)
    (low, _), (high, _) = _entered(papers.build(config), steps=0)
    found[method] = _masks(low), _masks(high), _flat(low["params"])
    assert [round(compress.sparsity(m), 3) for m in found[method][:2]] == [0.5, 0.8]
    assert all((found[method][1][n] <= m).all() for n, m in found[method][0].items())
  low, _, params = found["oneshot"]
  largest = max(np.abs(np.concatenate([params[n][m] for n, m in low.items()])))
  smallest = min(np.abs(np.concatenate([params[n][m] for n, m in low.items()])))
  assert 0 < smallest < largest
  assert any((found["random"][0][n] != m).any() for n, m in low.items())


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
  """(config, experiment, workdir, summary) of a run that learns, with two tickets, two seeds."""
  config = small_config(
    folder,
    "imp",
    steps=60,
    learning_rate=3e-3,
    sparsity=0.2,
    tickets=(0.1,),
    seeds=2,
    **{"model.dropout": 0.0},
  )
  workdir = tmp_path_factory.mktemp("run")
  experiment = train.replicate(papers.build(config), 2, "map")
  return config, experiment, workdir, train.run(experiment, config, workdir, quiet=True)


def test_a_run_reports_every_ticket_and_learns(finished):
  config, experiment, workdir, summary = finished
  found = summary["metrics"]
  assert list(found) == ["accuracy", "theta0_10_accuracy", "theta0_20_accuracy", "truncated", "sparsity"]
  assert found["accuracy"]["values"] == found["theta0_20_accuracy"]["values"]
  values = found["theta0_10_accuracy"]["values"] + found["accuracy"]["values"]
  assert np.mean(values) > 0.75 and min(values) > 0.6  # of 40 texts; chance is 0.5
  assert found["sparsity"]["values"][0] == pytest.approx(0.2, abs=1e-3)
  assert {p.name for p in (workdir / "figures").iterdir()} == {"curves.png", "layers.png", "tickets.png"}
  assert summary["steps"] == [240, 240]


@pytest.mark.slow
def test_a_killed_run_ends_as_the_whole_one(finished, tmp_path):
  """The law that resuming changes no bit, for two seeds one after the other; the other laws are slow."""
  config, experiment, *_ = finished
  config = config.copy_and_resolve_references()
  config.update({"save_seconds": 0.0, "keep_checkpoints": 100})
  short = experiment._replace(stages=tuple(s._replace(steps=2) for s in experiment.stages))
  whole, killed = tmp_path / "whole", tmp_path / "killed"
  summary = train.run(short, config, whole, quiet=True)
  later = checkpoint.good_steps(whole / "checkpoints")[3:]  # 3 of 8 steps are done: in the second round
  ignored = shutil.ignore_patterns("summary.json", "export", "figures", *map(str, later))
  shutil.copytree(whole, killed, ignore=ignored)
  assert later and train.run(short, config, killed, quiet=True)["metrics"] == summary["metrics"]
  ours, theirs = (f / "export" / "params.safetensors" for f in (killed, whole))
  assert ours.read_bytes() == theirs.read_bytes()


def test_what_a_run_exports_is_its_model_and_its_tickets(finished, folder, tmp_path):
  config, experiment, workdir, summary = finished
  state, _ = load_state(experiment, config, workdir)
  exported = experiment.export(state)
  inputs = exported.read(str(folder / "dev.tsv"))
  outputs = jax.jit(lambda p, x: exported.program(p, **x))(exported.params, inputs)
  from vita_jax.data.text import read_tsv

  labels = read_tsv(folder / "dev.tsv").labels
  assert (outputs["labels"] == labels).mean() == pytest.approx(summary["metrics"]["accuracy"]["values"][0])
  np.testing.assert_allclose(outputs["probabilities"].sum(1), 1, atol=1e-6)
  assert exported.decode(str(folder / "dev.tsv"), outputs)["classes"].tolist() == ["0", "1"]
  (tmp_path / "long.tsv").write_text("sentence\ngood\n" + "good " * 20 + "\n")
  with pytest.warns(UserWarning, match="1 texts of .*long.tsv were cut: the model takes 16 tokens"):
    assert exported.read(str(tmp_path / "long.tsv"))["mask"].sum(1).tolist() == [3, 16]
  (tmp_path / "long.tsv").unlink()
  assert write_program(tmp_path / "program.jax", exported, platforms=["cpu", "cuda", "tpu"]) > 1000
  exported.write(tmp_path)
  names = {
    "program.jax",
    "ticket_10.safetensors",
    "ticket_20.safetensors",
    "sparse.safetensors",
    "hugging_face",
  }
  assert {p.name for p in tmp_path.iterdir()} == names
  sparse, whole = (
    compress.load_sparse(tmp_path / "sparse.safetensors"),
    _flat(jax.device_get(exported.params)),
  )
  assert all((sparse[n] == x).all() for n, x in whole.items())
  bert, params = load_bert(tmp_path / "hugging_face")
  assert bert.id2label == ("0", "1")  # whatever the head of θ0's folder was called
  assert all((_flat(params)[n] == x).all() for n, x in whole.items())
  ticket = compress.load_ticket(tmp_path / "ticket_20.safetensors")
  assert compress.sparsity(ticket.masks) == pytest.approx(0.2, abs=1e-3)
  # The ticket starts another run, without a search.
  given = small_config(folder, "imp", ticket=str(tmp_path / "ticket_20.safetensors"))
  assert [s.name for s in papers.build(given).stages] == ["ticket_20_theta0"]
  with pytest.raises(ValueError, match="has sparsity 0.2001: set config.sparsity to it"):
    papers.build(small_config(folder, "imp", ticket=given.ticket, sparsity=0.5))


def test_a_ticket_of_other_weights_is_refused(folder, pretrained, tmp_path):
  _, params = load_bert(pretrained)
  masks = compress.magnitude_masks(params, 0.2, select=PRUNABLE)
  fewer = {name: mask for name, mask in masks.items() if "pooler" not in name}
  paths = {"model.path": str(pretrained), "ticket": str(tmp_path / "t.safetensors")}
  for ticket, message in (
    (compress.Ticket(masks, "0" * 64), "made for other weights"),
    (compress.make_ticket(fewer, params), "does not prune what this model prunes.*bert/pooler/kernel"),
  ):
    compress.save_ticket(tmp_path / "t.safetensors", ticket)
    with pytest.raises(ValueError, match=message):
      papers.build(small_config(folder, "imp", **paths))


def test_a_ticket_is_loaded_as_its_page_says(folder, pretrained, tmp_path):
  """The paper's README, line by line: an exported ticket fits θ0 as `load_bert` reads it, heads and all."""
  config = small_config(folder, "oneshot", **{"model.path": str(pretrained)})
  experiment = papers.build(config)
  state = {**jax.jit(experiment.init)(jax.random.key(0)), "tickets": {}}
  first = load_bert(pretrained)[1]
  state["masks"] = compress.pack(compress.magnitude_masks(first, 0.2, select=PRUNABLE))
  state["tickets"] = {"20": state["masks"]}
  exported = experiment.export(state)
  (tmp_path / "export").mkdir()
  exported.write(tmp_path / "export")
  text = (Path(papers.bert_tickets.__file__).parent / "README.md").read_text()
  (code,) = [part.partition("```")[0] for part in text.split("```python\n") if "load_ticket" in part]
  code = code.replace("runs/imp/export", str(tmp_path / "export"))
  code = code.replace("tensorflow_datasets/minilm_l3", str(pretrained)).replace("ticket_70", "ticket_20")
  found = {}
  exec(code, found)
  assert compress.sparsity(found["ticket"].masks) == pytest.approx(0.2, abs=1e-3)
  for name, mask in found["ticket"].masks.items():
    assert not np.any(_flat(found["subnetwork"])[name][~np.asarray(mask)])
  # With a head that is not θ0's, as a fine-tuned model has, it is the same ticket; with other weights none.
  path = tmp_path / "export" / "ticket_20.safetensors"
  compress.load_ticket(path, params={**first, "classifier": {"kernel": np.ones((16, 2), np.float32)}})
  with pytest.raises(ValueError, match="made for other weights: their sha256"):
    compress.load_ticket(path, params=jax.tree.map(lambda x: x + 1, first))
  with pytest.raises(ValueError, match="made for other weights: the mask of .* has no weights"):
    compress.load_ticket(path, params=first["bert"])  # its paths begin with bert/


def _answer(context, word):
  return {"text": word, "answer_start": context.index(word)}


def test_questions_without_answers_get_answers(folder, tmp_path):
  """They were refused; and a user had logits to read, but no answers."""
  context = "the movie is a good film with an actor and plot"
  known = {"id": "a", "question": "is a film good", "answers": [_answer(context, "good")]}
  for name, qas in (("known", [known]), ("open", [{"id": i, "question": "a plot"} for i in ("b", "c")])):
    content = {"data": [{"paragraphs": [{"context": context, "qas": qas}]}]}
    (tmp_path / f"{name}.json").write_text(json.dumps(content))
  files = {"data.train": str(tmp_path / "known.json"), "data.dev": str(tmp_path / "known.json")}
  config = small_config(folder, "full", "squad", **files, **{"data.max_length": 256, "batch_size": 1})
  experiment = papers.build(config)
  exported = experiment.export({**jax.jit(experiment.init)(jax.random.key(0)), "tickets": {}, "masks": {}})
  path = str(tmp_path / "open.json")
  outputs = run_program(exported, exported.read(path))
  found = exported.decode(path, outputs)
  assert found["id"].tolist() == ["b", "c"] and outputs["start_logits"].shape == (2, 256)
  for answer, start, end in zip(found["answer"], found["answer_start"], found["answer_end"], strict=True):
    assert answer and context[start:end] == answer
  assert np.isfinite(found["answer_score"]).all()


@pytest.mark.slow
def test_masked_words_regression_and_spans_train(folder, tmp_path):
  config = small_config(folder, "oneshot", "mlm", steps=2)
  found = train.run(papers.build(config), config, tmp_path / "mlm", quiet=True)["metrics"]
  assert {"accuracy", "perplexity", "theta0_20_perplexity"} <= set(found)
  assert 1 < found["perplexity"]["mean"] < 500
  config = small_config(folder, "full", steps=2, **{"data.kind": "regression"})
  found = train.run(papers.build(config), config, tmp_path / "regression", quiet=True)["metrics"]
  assert list(found) == ["pearson", "spearman", "truncated"]
  context = "the movie is a good film with an actor and plot"
  qas = [
    {"id": str(i), "question": "is a film good", "answers": [_answer(context, w)]}
    for i, w in enumerate(("good", "plot"))
  ]
  (folder / "squad.json").write_text(
    json.dumps({"data": [{"paragraphs": [{"context": context, "qas": qas * 4}]}]})
  )
  files = {"data.train": str(folder / "squad.json"), "data.dev": str(folder / "squad.json")}
  lengths = {"data.max_length": 256, "batch_size": 2, "steps": 2}
  config = small_config(folder, "full", "squad", **files, **lengths)
  found = train.run(papers.build(config), config, tmp_path / "squad", quiet=True)["metrics"]
  assert (
    list(found) == ["f1", "exact_match", "truncated"]
    and 0 <= found["exact_match"]["mean"] <= found["f1"]["mean"]
  )


@pytest.mark.parametrize(
  "overrides,message",
  [
    ({"model.path": "no-such-bert"}, "no BERT at config.model.path='no-such-bert'.*hf download"),
    ({"model.path": "minilm_l3"}, "prepare_data.py --dataset=minilm_l3"),
    ({"model.vocab": ""}, "needs a vocabulary"),
    ({"data.dev": ""}, "without config.data.dev"),
    ({"data.train": "", "data.dev": ""}, "has no data of its own"),
    ({"data.max_length": 600, "model.path": "PRETRAINED"}, "the model has 512 positions"),
    ({"init_from": "x"}, "init_from is not for tickets"),
    ({"head": "keap"}, "did you mean 'keep'"),
    ({"learning_rate": -1.0}, "at least 0"),
    ({"rewind": 0.01}, "not a step within a training"),
    ({"rewind": -0.5}, "from 0 on and below 1"),
    ({"pruning.rate": 0.0}, r"config.pruning.rate is 0.0"),
    ({"method": "shuffled", "starts": ("theta0",)}, "as the config's argument, :shuffled"),
    ({"method": "shuffled"}, "this model has one: use shuffled_entries"),
    ({"method": "oneshot", "ticket": "t"}, "not for method 'oneshot'"),
    ({"method": "random", "random_masks": "layerwise"}, "config.ticket together"),
  ],
)
def test_what_a_user_gets_wrong_is_named(folder, pretrained, monkeypatch, tmp_path, overrides, message):
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  overrides = {k: str(pretrained) if v == "PRETRAINED" else v for k, v in overrides.items()}
  with pytest.raises((ValueError, FileNotFoundError), match=message):
    papers.build(small_config(folder, overrides.pop("method", "imp"), **overrides))
