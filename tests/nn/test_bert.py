"""BERT: golden numbers, files of every spelling, sizes from shapes alone, dropout."""

import json
import os
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from vita_jax.data.minilm import write_minilm_l3
from vita_jax.data.text_tokens import load_tokenizer, tokenize
from vita_jax.nn.bert import (
  PRUNABLE,
  Bert,
  BertClassifier,
  BertConfig,
  BertMaskedLM,
  BertSpans,
  load_bert,
  read_bert,
  save_bert,
  shapes,
)
from vita_jax.nn.bert_encoder import Embeddings
from vita_jax.nn.bert_files import from_tensors, hugging_face_name, to_tensors
from vita_jax.nn.hash_dropout import hash_bits, hash_dropout

TINY = BertConfig(
  vocab_size=30,
  hidden_size=8,
  num_hidden_layers=2,
  num_attention_heads=2,
  intermediate_size=16,
  max_position_embeddings=12,
)
IDS = jnp.array([[2, 5, 7, 11, 3, 13, 17, 3], [2, 19, 23, 3, 29, 3, 0, 0]])
TYPES = jnp.array([[0, 0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1, 0, 0]])
MASK = jnp.array([[1] * 8, [1] * 6 + [0] * 2])


def _filled(config, head, *, pooler=True):
  """Tensors whose values are a sine over all of them, in the order of their Hugging Face names."""
  names = {}
  for path, shape in shapes(config, (head,)).items():
    if pooler or "pooler" not in path:
      names[hugging_face_name(path)] = shape[::-1] if path[-1] == "kernel" else shape
  tensors, start = {}, 0
  for name in sorted(names):
    size = int(np.prod(names[name]))
    values = 0.3 * np.sin(0.7 * np.arange(start, start + size) + 1.0)
    start += size
    tensors[name] = (values + name.endswith("LayerNorm.weight")).reshape(names[name]).astype(np.float32)
  return tensors, start


def _close(found, expected, tolerance=1e-5):
  np.testing.assert_allclose(np.ravel(found), expected, atol=tolerance, rtol=0)


# The numbers are those of transformers 5.23 with torch, for these weights.
def test_classification_has_the_numbers_of_transformers():
  config = TINY._replace(num_labels=3)
  tensors, count = _filled(config, "classifier")
  assert count == 1667
  params = from_tensors(config, tensors).params

  @jax.jit
  def run(params):
    bert, encoder = Bert(config), {"params": params["bert"]}
    hidden = bert.apply(encoder, IDS, MASK, TYPES)
    logits = BertClassifier(config, 3).apply({"params": params}, IDS, MASK, TYPES)
    return hidden, bert.apply(encoder, hidden, method="pool"), logits

  hidden, pooled, logits = run(params)
  _close(hidden[0, 0], [0.518012, 0.045548, 0.103099, 1.288448, 1.819295, 0.395023, -1.665963, -1.700855])
  _close(hidden[1, 5], [0.924665, -0.036221, -0.461272, 0.882464, 1.902042, -0.277514, -2.005433, -0.680814])
  _close(pooled[1], [0.339252, -0.511539, -0.841913, -0.872218, -0.696359, 0.001801, 0.695929, 0.869697])
  _close(logits, [-0.502073, -0.934152, -0.946131, -0.326257, -0.812594, -0.933394])
  loss = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.array([2, 0])).mean()
  _close(loss, [1.0214367])


def test_masked_words_have_the_numbers_of_transformers():
  tensors, count = _filled(TINY, "mlm", pooler=False)
  assert count == 1686
  loaded = from_tensors(TINY, tensors)
  assert loaded.absent == ("pooler",)
  model, variables = BertMaskedLM(TINY), {"params": loaded.params}
  positions = jnp.array([[2, 5], [1, 0]])
  both = jax.jit(lambda v: [model.apply(v, IDS, MASK, TYPES, positions=p) for p in (None, positions)])
  logits, chosen = both(variables)
  _close(logits[0, 2, :4], [-0.358866, 1.192241, 2.209826, 2.232736])
  _close(chosen, np.take_along_axis(logits, positions[..., None], 1).ravel())
  losses = optax.softmax_cross_entropy_with_integer_labels(chosen, jnp.array([[7, 13], [19, 0]]))
  _close(losses.ravel()[:3].mean(), [4.9956975])


def test_spans_have_the_numbers_of_transformers():
  tensors, count = _filled(TINY, "qa_outputs", pooler=False)
  assert count == 1586
  logits = jax.jit(BertSpans(TINY).apply)({"params": from_tensors(TINY, tensors).params}, IDS, MASK, TYPES)
  _close(logits[0, :, 0], [0.852112, 0.119168, -0.370894, 0.116455, 0.153397, 0.577973, 0.437327, 0.799885])
  _close(logits[1, :, 1], [1.512519, 0.533563, 0.952233, 0.614362, 0.863213, 0.946132, 0.868550, 0.903196])


def test_bert_base_has_its_number_of_weights_from_shapes_alone():
  sizes = {"/".join(path): int(np.prod(shape)) for path, shape in shapes(BertConfig()).items()}
  assert sum(sizes.values()) == 109_482_240
  pruned = {name: size for name, size in sizes.items() if re.search(PRUNABLE, name)}
  assert len(pruned) == 73 and sum(pruned.values()) == 85_524_480
  classified = shapes(BertConfig(), ("classifier",))
  assert sum(int(np.prod(shape)) for shape in classified.values()) == 109_483_778


@pytest.mark.parametrize("head", ["classifier", "mlm", "qa_outputs", ""])
def test_a_folder_gives_back_every_bit(head, tmp_path):
  tensors, _ = _filled(TINY, head or "classifier")
  params = from_tensors(TINY, tensors).params
  params = params if head else {"bert": params["bert"]}
  (tmp_path / "vocab.txt").write_text("[PAD]\n")
  (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
  save_bert(tmp_path / "model", TINY, params, vocab=tmp_path / "vocab.txt")
  assert (tmp_path / "model" / "tokenizer_config.json").read_text() == '{"do_lower_case": false}'
  config, again = load_bert(tmp_path / "model")
  assert config == TINY
  ours, theirs = flatten_dict(again), flatten_dict(params)
  assert ours.keys() == theirs.keys()
  assert all(ours[path].tobytes() == theirs[path].tobytes() for path in theirs)


def _written(folder, tensors, architecture="", **changes):
  from safetensors.numpy import save_file

  folder.mkdir()
  config = {**TINY.to_dict(architecture), **changes}
  if not architecture:  # as in old folders: the names of the tensors tell
    del config["architectures"]
  (folder / "config.json").write_text(json.dumps(config))
  save_file(tensors, folder / "model.safetensors")
  return folder


def test_old_spellings_copies_and_half_precision_are_read(tmp_path):
  tensors, _ = _filled(TINY, "mlm")
  expected = from_tensors(TINY, tensors).params
  old = {
    name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): x
    for name, x in tensors.items()
  }
  old["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].copy()
  old["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"].copy()
  old["bert.embeddings.position_ids"] = np.arange(12)[None]
  old["cls.seq_relationship.weight"] = np.zeros((2, 8), np.float32)
  loaded = read_bert(_written(tmp_path / "old", old))
  jax.tree.map(np.testing.assert_array_equal, loaded.params, expected)
  assert loaded.ignored == (
    "bert.embeddings.position_ids",
    "cls.predictions.decoder.bias",
    "cls.predictions.decoder.weight",
    "cls.seq_relationship.weight",
  )
  bare = {n.removeprefix("bert."): x.astype(np.float16) for n, x in tensors.items() if n.startswith("bert.")}
  _, params = load_bert(_written(tmp_path / "bare", bare))
  assert set(params) == {"bert"}
  half = params["bert"]["encoder"]["layer_1"]["intermediate"]["kernel"]
  full = expected["bert"]["encoder"]["layer_1"]["intermediate"]["kernel"]
  np.testing.assert_array_equal(half, full.astype(np.float16).astype(np.float32))
  old["cls.predictions.decoder.bias"][3] += 1
  with pytest.raises(ValueError, match="decoder.bias differs"):
    from_tensors(TINY, old)


def test_folders_that_cannot_be_read_are_named(tmp_path):
  tensors, _ = _filled(TINY, "classifier")
  few = {n: x for n, x in tensors.items() if "layer.1.output.dense" not in n}
  more = {**tensors, "bert.encoder.layer.7.output.dense.bias": np.zeros(8, np.float32)}
  cases = {
    "missing": (few, {}, r"missing bert.encoder.layer.1.output.dense.bias, .*weight"),
    "more": (more, {}, r"unexpected bert.encoder.layer.7.output.dense.bias"),
    "wide": (tensors, {"hidden_size": 12}, r"has shape \[\d+.*by its config it is"),
    "other": (tensors, {"model_type": "roberta"}, "model_type is 'roberta'"),
    "relative": (tensors, {"position_embedding_type": "relative_key"}, "relative_key"),
    "heads": (tensors, {"num_attention_heads": 3}, "not a multiple of num_attention_heads 3"),
    "act": (tensors, {"hidden_act": "silu"}, "hidden_act is 'silu'"),
    "rate": (tensors, {"classifier_dropout": 0.3}, "classifier_dropout is 0.3, its hidden_dropout_prob 0.1"),
  }
  (tmp_path / "list").mkdir()
  (tmp_path / "list" / "config.json").write_text("[]")
  with pytest.raises(ValueError, match="not the config of a BERT"):
    load_bert(tmp_path / "list")
  for name, (content, changes, message) in cases.items():
    with pytest.raises(ValueError, match=message):
      load_bert(_written(tmp_path / name, content, **changes))
  with pytest.raises(FileNotFoundError, match="no such folder"):
    load_bert(tmp_path / "nowhere")
  (tmp_path / "bare").mkdir()
  with pytest.raises(FileNotFoundError, match="no config.json"):
    load_bert(tmp_path / "bare")
  folder = _written(tmp_path / "damaged", tensors)
  (folder / "model.safetensors").write_bytes(b"\x00" * 40)
  with pytest.raises(ValueError, match="damaged"):
    load_bert(folder)
  (folder / "model.safetensors").unlink()
  with pytest.raises(FileNotFoundError, match="no model.safetensors"):
    load_bert(folder)
  (folder / "pytorch_model.bin").write_bytes(b"")
  with pytest.raises(ValueError, match="torch pickle.* python -c .*save_file"):
    load_bert(folder)
  with pytest.raises(ValueError, match="not a parameter of a BERT"):
    to_tensors({"bert": {"extra": {"kernel": np.zeros((2, 2))}}})


def test_only_the_files_of_the_model_are_read(tmp_path):
  """A quantised copy beside model.safetensors was merged into it."""
  from safetensors.numpy import save_file

  tensors, _ = _filled(TINY, "classifier")
  expected = from_tensors(TINY, tensors).params
  folder = _written(tmp_path / "one", tensors)
  stray = {name: np.zeros_like(x) for name, x in tensors.items()}
  save_file(stray, folder / "model_quantized.safetensors")
  save_file(stray, folder / "model-00001-of-00001.safetensors")
  jax.tree.map(np.testing.assert_array_equal, load_bert(folder)[1], expected)
  # Shards: those of the index, and of them the tensors that it names.
  (folder / "model.safetensors").unlink()
  names = sorted(tensors)
  parts = {"model-00001-of-00002.safetensors": names[:9], "model-00002-of-00002.safetensors": names[9:]}
  for file, own in parts.items():
    save_file({n: tensors[n] for n in own} | {"stray": np.ones(2)}, folder / file)
  index = {"weight_map": {name: file for file, own in parts.items() for name in own}}
  (folder / "model.safetensors.index.json").write_text(json.dumps(index))
  jax.tree.map(np.testing.assert_array_equal, load_bert(folder)[1], expected)
  index["weight_map"]["more"] = "model-00002-of-00002.safetensors"
  (folder / "model.safetensors.index.json").write_text(json.dumps(index))
  with pytest.raises(ValueError, match="model-00002-of-00002.safetensors lacks more"):
    load_bert(folder)
  for place in ("gone.safetensors", "../one/model-00001-of-00002.safetensors"):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": place}}))
    with pytest.raises(FileNotFoundError, match=f"no shard '{place}'"):
      load_bert(folder)


def test_the_architecture_decides_the_head(tmp_path):
  """A classifier of tokens or of multiple choices has the tensors of one of texts, and is none."""
  tensors, _ = _filled(TINY, "classifier")
  good = load_bert(_written(tmp_path / "good", tensors, "BertForSequenceClassification"))
  assert set(good[1]) == {"bert", "classifier"}
  for name in ("BertForTokenClassification", "BertForMultipleChoice", "BertLMHeadModel"):
    with pytest.raises(ValueError, match=f"its architecture is {name}.*save_pretrained"):
      load_bert(_written(tmp_path / name, tensors, name))
  with pytest.raises(ValueError, match="unexpected classifier.bias"):
    load_bert(_written(tmp_path / "bare", tensors, "BertModel"))
  with pytest.raises(ValueError, match="missing cls.predictions.bias"):
    load_bert(_written(tmp_path / "mlm", tensors, "BertForMaskedLM"))
  tokens, _ = _filled(TINY, "classifier", pooler=False)  # without a word on the architecture
  with pytest.raises(ValueError, match="missing bert.pooler.dense.bias"):
    load_bert(_written(tmp_path / "tokens", tokens))


def test_names_of_labels_survive(tmp_path):
  config = TINY._replace(num_labels=3, id2label=("bad", "good", "so so"))
  params = from_tensors(config, _filled(config, "classifier")[0]).params
  save_bert(tmp_path / "one", config, params)
  loaded, _ = load_bert(tmp_path / "one")
  assert loaded == config
  save_bert(tmp_path / "two", loaded, params)
  written = json.loads((tmp_path / "two" / "config.json").read_text())
  assert written["id2label"] == {"0": "bad", "1": "good", "2": "so so"}
  assert written["label2id"] == {"bad": 0, "good": 1, "so so": 2}
  # A head of another size does not keep them.
  save_bert(tmp_path / "three", loaded, from_tensors(TINY, _filled(TINY, "classifier")[0]).params)
  assert load_bert(tmp_path / "three")[0] == TINY
  for names, message in (({"0": "a", "2": "b"}, "not 0 to 1"), ({"0": "a"}, "num_labels is 3")):
    with pytest.raises(ValueError, match=message):
      BertConfig.from_dict({"num_labels": 3, "id2label": names})


def test_padding_never_matters_and_all_padding_stays_finite():
  tensors, _ = _filled(TINY, "classifier")
  variables = {"params": from_tensors(TINY, tensors).params["bert"]}
  model = Bert(TINY)
  apply = jax.jit(model.apply)
  short = apply(variables, IDS[1:, :6])
  long = apply(variables, IDS.at[:, 6:].set(21), MASK)[1:]
  np.testing.assert_allclose(long[:, :6], short, atol=2e-6)
  assert np.isfinite(apply(variables, IDS, jnp.zeros_like(MASK))).all()
  with pytest.raises(ValueError, match="13 tokens, but the model has 12 positions"):
    model.apply(variables, jnp.zeros((1, 13), jnp.int32))


def test_cutting_padding_off_changes_nothing_even_with_dropout():
  """The mask of an entry depends on its place in the text, not on how wide the batch is."""
  tensors, _ = _filled(TINY, "classifier")
  variables, key = {"params": from_tensors(TINY, tensors).params["bert"]}, jax.random.key(3)
  apply = jax.jit(Bert(TINY).apply)
  whole = apply(variables, IDS, MASK.at[0, 6:].set(0), None, key)
  cut = apply(variables, IDS[:, :6], MASK[:, :6], None, key)
  np.testing.assert_allclose(whole[:, :6], cut, atol=2e-6)
  other = apply(variables, IDS[:, :6], MASK[:, :6], None, jax.random.key(4))
  assert np.abs(other - cut).max() > 0.1


def test_attention_without_dropout_is_that_of_tiny_dropout():
  """Two routes, the library's kernel and ours, and recomputation: the same numbers and gradients."""
  none = TINY._replace(num_hidden_layers=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=1e-12)
  params = from_tensors(none, _filled(none, "classifier")[0]).params["bert"]

  def run(model, key):
    return jax.value_and_grad(lambda p: jnp.sum(jnp.sin(model.apply({"params": p}, IDS, MASK, TYPES, key))))(
      params
    )

  @jax.jit
  def both():
    models = Bert(none), Bert(none, dtype=jnp.bfloat16)
    hidden = [model.apply({"params": params}, IDS, MASK, TYPES) for model in models]
    return run(Bert(none), None), run(Bert(none, remat=True), jax.random.key(0)), hidden

  (library, library_grads), (ours, our_grads), (full, half) = both()
  _close(ours, [library], 1e-5)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), our_grads, library_grads)
  assert half.dtype == jnp.bfloat16
  # Entries up to 2, a few roundings of 2^-8.
  np.testing.assert_allclose(half.astype(np.float32), full, atol=0.04)


def test_the_padding_row_gets_no_gradient_from_the_lookup():
  tensors, _ = _filled(TINY, "classifier")
  params = from_tensors(TINY, tensors).params["bert"]["embeddings"]

  def gradient(model):
    grads = jax.jit(jax.grad(lambda p: jnp.sum(model.apply({"params": p}, IDS, TYPES, None) ** 3)))(params)
    return grads["word_embeddings"]["embedding"]

  frozen, free = gradient(Embeddings(TINY)), gradient(Embeddings(TINY, pad_gradient=True))
  assert not frozen[0].any() and free[0].any()
  np.testing.assert_allclose(frozen[1:], free[1:], atol=1e-6)


def test_hashed_masks_drop_at_the_rate_and_are_independent():
  key = jax.random.key(0)
  x = jnp.ones((64, 32, 48))
  dropped = np.asarray(hash_dropout(key, x, 0.1))
  assert set(np.unique(dropped)) == {0.0, np.float32(1 / 0.9)}
  n, share = dropped.size, (dropped == 0).mean()
  assert abs(share - 0.1) < 4 * np.sqrt(0.09 / n)
  again, other = hash_dropout(key, x, 0.1), np.asarray(hash_dropout(jax.random.key(1), x, 0.1))
  np.testing.assert_array_equal(dropped, again)
  zero = (dropped == 0).astype(float) - share
  for shifted in [(other == 0) - (other == 0).mean(), *(np.roll(zero, 1, axis) for axis in range(3))]:
    assert abs((zero * shifted).mean()) < 4.5 * 0.09 / np.sqrt(n)
  for axis in range(3):  # no row, column or plane is special
    rates = zero.mean(axis=tuple(a for a in range(3) if a != axis))
    assert np.abs(rates).max() < 5 * np.sqrt(0.09 * len(rates) / n)
  bits = np.asarray(hash_bits(key, (1 << 16,)))
  ones = [((bits >> i) & 1).mean() for i in range(32)]
  assert np.abs(np.array(ones) - 0.5).max() < 4.5 * 0.5 / 256
  assert hash_dropout(None, x, 0.1) is x and hash_dropout(key, x, 0.0) is x
  with pytest.raises(ValueError, match="rate"):
    hash_dropout(key, x, 1.0)


def test_the_real_weights_of_minilm_become_a_folder(tmp_path):
  """A float16 file without pooler and config, whose 18 matrices are what a ticket of it prunes."""
  if not os.environ.get("VITA_DATA_DIR"):
    pytest.skip("VITA_DATA_DIR is not set: the weights of MiniLM-L3 are not shipped")
  loaded = read_bert(write_minilm_l3(tmp_path / "one"))
  assert loaded.absent == ("pooler",) and loaded.config.num_hidden_layers == 3
  leaves = {"/".join(path): x for path, x in flatten_dict(loaded.params).items()}
  assert sum(x.size for x in leaves.values()) == 17_241_984
  pruned = [x.size for name, x in leaves.items() if re.search(PRUNABLE, name)]
  assert len(pruned) == 18 and sum(pruned) == 5_308_416
  save_bert(tmp_path / "two", loaded.config, loaded.params)
  again = flatten_dict(load_bert(tmp_path / "two")[1])
  assert all(again[path].tobytes() == x.tobytes() for path, x in flatten_dict(loaded.params).items())
  tokenizer = load_tokenizer(tmp_path / "one", vocab_size=loaded.config.vocab_size)
  found = tokenize(tokenizer, ["a gripping , beautifully acted movie ."], None, max_length=16)
  assert found.ids[0, :9].tolist() == [101, 1037, 13940, 1010, 17950, 6051, 3185, 1012, 102]


def test_minilm_without_its_files_is_named(tmp_path, monkeypatch):
  monkeypatch.setenv("VITA_DATA_DIR", str(tmp_path))
  with pytest.raises(FileNotFoundError, match="no minilm_l3/minilm_l3_fp16.safetensors"):
    write_minilm_l3(tmp_path / "out")
  (tmp_path / "minilm_l3").mkdir()
  (tmp_path / "minilm_l3" / "minilm_l3_fp16.safetensors").write_bytes(b"x")
  with pytest.raises(ValueError, match="another version"):
    write_minilm_l3(tmp_path / "out")
