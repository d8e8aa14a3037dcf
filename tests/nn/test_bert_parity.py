"""BERT against transformers with torch: forward, gradients, files; small random models and MiniLM-L3."""

import os
import shlex
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from vita_jax.data.minilm import write_minilm_l3
from vita_jax.nn.bert import (
  Bert,
  BertClassifier,
  BertConfig,
  BertMaskedLM,
  BertSpans,
  load_bert,
  read_bert,
  save_bert,
)
from vita_jax.nn.bert_files import to_tensors

torch = pytest.importorskip("torch", reason="parity with transformers' BertModel needs torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

# layers, heads, head dim, feed-forward, vocabulary, batch, length, positions, attention, head
CONFIGS = [
  (1, 1, 8, 16, 23, 2, 5, 9, "eager", "classifier"),
  (2, 3, 4, 20, 40, 3, 12, 12, "sdpa", "classifier"),
  (4, 2, 6, 24, 31, 1, 7, 30, "eager", "classifier"),
  (2, 4, 8, 64, 50, 4, 16, 40, "sdpa", "mlm"),
  (1, 2, 4, 12, 60, 2, 9, 16, "eager", "mlm"),
  (3, 2, 8, 32, 25, 2, 11, 16, "eager", "qa_outputs"),
]
CLASSES = {
  "classifier": transformers.BertForSequenceClassification,
  "mlm": transformers.BertForMaskedLM,
  "qa_outputs": transformers.BertForQuestionAnswering,
}


def _inputs(random, vocabulary, batch, length):
  """ids, mask (right padding of several lengths), types."""
  lengths = random.integers(1, length + 1, batch)
  lengths[0] = length
  mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
  ids = np.where(mask, random.integers(1, vocabulary, (batch, length)), 0)
  return ids, mask, np.where(mask, np.arange(length) >= lengths[:, None] // 2, 0).astype(np.int64)


def _as_torch(*arrays):
  return [torch.from_numpy(np.asarray(x)) for x in arrays]


@pytest.mark.parametrize("case", CONFIGS, ids=lambda case: "-".join(map(str, case)))
def test_a_random_model_computes_the_same_and_has_the_same_gradients(case, tmp_path):
  layers, heads, width, feed_forward, vocabulary, batch, length, positions, attention, head = case
  torch.manual_seed(sum(case[:8]))
  random = np.random.default_rng(layers + batch)
  config = transformers.BertConfig(
    vocab_size=vocabulary,
    hidden_size=heads * width,
    num_hidden_layers=layers,
    num_attention_heads=heads,
    intermediate_size=feed_forward,
    max_position_embeddings=positions,
    num_labels=2 if head == "qa_outputs" else 3,
  )
  config._attn_implementation = attention
  theirs = CLASSES[head](config).eval()
  with torch.no_grad():
    for parameter in theirs.parameters():  # far from linear; biases and layer norms, too
      parameter.add_(0.1 * torch.randn_like(parameter))
  theirs.save_pretrained(tmp_path / "theirs")
  ours_config, params = load_bert(tmp_path / "theirs")
  ids, mask, types = _inputs(random, vocabulary, batch, length)
  named = dict(
    zip(("input_ids", "attention_mask", "token_type_ids"), _as_torch(ids, mask, types), strict=True)
  )
  if head == "mlm":
    labels = np.where(mask & (random.random(ids.shape) < 0.5), ids, -100)
    labels[0, 0] = ids[0, 0]
    out = theirs(**named, labels=torch.from_numpy(labels))
  elif head == "qa_outputs":
    starts, ends = random.integers(0, length, (2, batch))
    out = theirs(**named, start_positions=torch.from_numpy(starts), end_positions=torch.from_numpy(ends))
  else:
    labels = random.integers(0, 3, batch)
    out = theirs(**named, labels=torch.from_numpy(labels))
  out.loss.backward()
  model = {"classifier": BertClassifier(ours_config, 3), "mlm": BertMaskedLM(ours_config)}.get(
    head, BertSpans(ours_config)
  )

  def loss(params):
    logits = model.apply({"params": params}, jnp.asarray(ids, jnp.int32), mask, jnp.asarray(types, jnp.int32))
    if head == "qa_outputs":
      entropy = optax.softmax_cross_entropy_with_integer_labels
      each = [entropy(logits[..., i], at).mean() for i, at in enumerate((starts, ends))]
      return 0.5 * sum(each), logits
    weights = jnp.asarray(labels >= 0, jnp.float32)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(labels, 0))
    return jnp.sum(losses * weights) / jnp.sum(weights), logits

  (value, logits), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
  their_logits = torch.stack([out.start_logits, out.end_logits], -1) if head == "qa_outputs" else out.logits
  np.testing.assert_allclose(logits, their_logits.detach().numpy(), atol=4e-6, rtol=2e-6)
  np.testing.assert_allclose(value, out.loss.item(), atol=2e-6)
  expected = {name: p.grad.numpy() for name, p in theirs.named_parameters() if p.grad is not None}
  found = to_tensors(jax.device_get(grads))
  compared = {name for name in found if name in expected}
  assert compared == set(expected) - {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
  for name in compared:
    np.testing.assert_allclose(found[name], expected[name], atol=1e-5, rtol=1e-5, err_msg=name)
  # And back: their class loads our folder.
  save_bert(tmp_path / "ours", ours_config, params)
  again, report = CLASSES[head].from_pretrained(tmp_path / "ours", output_loading_info=True)
  assert not report["missing_keys"] and not report["unexpected_keys"]
  for name, x in theirs.state_dict().items():
    torch.testing.assert_close(again.state_dict()[name], x, rtol=0, atol=0, msg=name)


def test_minilm_computes_what_transformers_computes(tmp_path):
  if not os.environ.get("VITA_DATA_DIR"):
    pytest.skip("VITA_DATA_DIR is not set: the weights of MiniLM-L3 are not shipped")
  folder = write_minilm_l3(tmp_path / "minilm_l3")
  loaded = read_bert(folder)
  sizes = BertConfig(hidden_size=384, num_hidden_layers=3, num_attention_heads=12, intermediate_size=1536)
  assert loaded.absent == ("pooler",) and loaded.config == sizes
  theirs = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
  ids, mask, types = _inputs(np.random.default_rng(0), 30522, 3, 24)
  out = theirs(*_as_torch(ids, mask, types)).last_hidden_state
  weights = np.random.default_rng(1).normal(size=out.shape).astype(np.float32) * mask[..., None] / out.numel()
  (out * torch.from_numpy(weights.astype(np.float32))).sum().backward()

  def loss(params):
    hidden = Bert(loaded.config).apply(
      {"params": params}, jnp.asarray(ids, jnp.int32), mask, jnp.asarray(types, jnp.int32)
    )
    return jnp.sum(hidden * weights), hidden

  (_, hidden), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(loaded.params["bert"])
  np.testing.assert_allclose(hidden, out.detach().numpy(), atol=2e-5)
  found = to_tensors({"bert": jax.device_get(grads)})
  for name, p in theirs.named_parameters():
    np.testing.assert_allclose(found[name], p.grad.numpy(), atol=1e-4, rtol=1e-4, err_msg=name)
  save_bert(tmp_path / "again", loaded.config, loaded.params)
  _, params = load_bert(tmp_path / "again")
  ours, expected = flatten_dict(params), flatten_dict(loaded.params)
  assert all(ours[path].tobytes() == x.tobytes() for path, x in expected.items())


def test_the_command_for_torch_files_keeps_every_tensor(tmp_path):
  """It is printed for a folder with a .bin, and run here as printed; pooler and classifier used to go."""
  config = transformers.BertConfig(
    vocab_size=20,
    hidden_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=8,
    num_labels=3,
  )
  theirs = transformers.BertForSequenceClassification(config)
  folder = tmp_path / "it's here"
  theirs.save_pretrained(folder)
  (folder / "model.safetensors").unlink()
  names = sorted(theirs.state_dict())
  for number, part in enumerate((names[:7], names[7:]), start=1):
    tensors = {name: theirs.state_dict()[name] for name in part}
    torch.save(tensors, folder / f"pytorch_model-0000{number}-of-00002.bin")
  with pytest.raises(ValueError, match="is a torch pickle") as error:
    load_bert(folder)
  command = str(error.value).partition("where torch is: ")[2]
  assert command.startswith("python -c ")
  subprocess.run(command.replace("python", shlex.quote(sys.executable), 1), shell=True, check=True)
  found = to_tensors(load_bert(folder)[1])
  assert found.keys() == set(names) and {"bert.pooler.dense.weight", "classifier.bias"} <= set(names)
  for name, x in theirs.state_dict().items():
    np.testing.assert_array_equal(found[name], x.numpy(), err_msg=name)
