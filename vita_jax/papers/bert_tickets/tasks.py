"""A task as a value: model, rows, loss, what is kept of each development row, and the score made of that."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax import metrics
from vita_jax.data import text, text_squad, text_tokens
from vita_jax.data.buckets import make_buckets
from vita_jax.data.resident import Resident
from vita_jax.data.stream import Stream
from vita_jax.data.text_tokens import Rows
from vita_jax.nn.bert import BertClassifier, BertMaskedLM, BertSpans
from vita_jax.papers.bert_tickets import inputs, losses, scores
from vita_jax.papers.bert_tickets.inputs import Start

BEST_SPANS = 20  # starts and ends that are combined to answers


class Task(NamedTuple):
  """What a ticket is found in, or tried on.

  Attributes:
    model: linen module; `init(key, ids)`, `apply({"params": params}, ids, mask, types, key)`.
    train: rows in length buckets. dev: rows, all the same length.
    loss: `(params, batch, key) -> (loss, metrics)`; key None: without dropout.
    outputs: `(params, batch) -> [B, ...]`, small: all that the score needs of a development row.
    score: `outputs of all development rows -> {metric: float}`, the paper's metric first; on the host.
    truncated: how many texts of both splits were too long.
    classes: names of the classes, empty where there are none.
  """

  model: Any
  train: Stream
  dev: Resident
  loss: Callable[[Any, Mapping[str, Any], jax.Array | None], tuple[jax.Array, dict]]
  outputs: Callable[[Any, Mapping[str, Any]], jax.Array]
  score: Callable[[np.ndarray], dict[str, float]]
  truncated: int
  classes: tuple[str, ...] = ()


def make_task(config: Any, start: Start) -> Task:
  """The task of a config: reads and tokenises its data.

  Raises:
    ValueError, FileNotFoundError: see `inputs`.
  """
  return {"squad": _spans, "mlm": _masked_words}.get(config.task, _labels)(config, start)


def token_mask(batch: Mapping[str, Any]) -> jax.Array:
  """float32 [B, T]: 1 for the first `length` tokens of each row."""
  return (jnp.arange(batch["ids"].shape[1]) < batch["length"][:, None]).astype(jnp.float32)


def row_weights(batch: Mapping[str, Any]) -> jax.Array:
  """float32 [B]: 0 for rows that only fill the batch."""
  return batch.get("mask", jnp.ones(batch["ids"].shape[0], jnp.float32))


def _apply(model, params, batch, key, **more):
  types = batch["types"].astype(jnp.int32) if "types" in batch else None
  return model.apply({"params": params}, batch["ids"], token_mask(batch), types, key, **more)


def _data(config, train: dict[str, np.ndarray], dev: dict[str, np.ndarray]) -> tuple[Stream, Resident]:
  keys = [k for k in ("ids", "types") if k in train]
  longest = train["ids"].shape[1]
  settings = {"longest": longest, "step": config.data.bucket, "window": config.data.window}
  buckets = make_buckets(train["length"], keys, **settings)
  size = min(config.batch_size, len(train["ids"]))
  stream = Stream(Rows(train), size, buckets=buckets)
  return stream, Resident(dev, min(config.batch_size, len(dev["ids"])), order="rows")


def _sums(loss, weights, **more):
  n = jnp.sum(weights)
  return {"loss": (loss * n, n), **more}


def _labels(config: Any, start: Start) -> Task:
  """Classification, or regression where there are no classes."""
  splits = inputs.read_texts(config)
  tokens = {name: inputs.tokenized(start, texts, config) for name, texts in splits.items()}
  classes = splits["train"].classes
  if classes and len(classes) < 2:
    raise ValueError(f"the training texts have one class, '{classes[0]}': at least two are needed")

  def arrays(names):
    width = max(tokens[n].ids.shape[1] for n in names)
    wide = lambda x: np.pad(x, ((0, 0), (0, width - x.shape[1])))  # noqa: E731
    joined = lambda field: np.concatenate([wide(getattr(tokens[n], field)) for n in names])  # noqa: E731
    return {
      "ids": joined("ids"),
      "types": joined("types").astype(np.int8),
      "length": np.concatenate([tokens[n].lengths for n in names]),
      "label": np.concatenate([splits[n].labels for n in names]),
    }

  dev_names = [name for name in splits if name != "train"]
  train, dev = _data(config, arrays(["train"]), arrays(dev_names))
  dtype = jnp.dtype(config.dtype)
  model = BertClassifier(start.config, max(len(classes), 1), dtype, config.model.remat)

  def loss(params, batch, key):
    outputs, weights = _apply(model, params, batch, key), row_weights(batch)
    if not classes:
      value = losses.squared_error(outputs, batch["label"], weights)
      return value, _sums(value, weights)
    value = losses.cross_entropy(outputs, batch["label"], weights)
    return value, _sums(value, weights, accuracy=metrics.accuracy(outputs, batch["label"], weights))

  def score(outputs):
    found, start_row = {}, 0
    named = scores.metrics_of(config.task, regression=not classes)
    for number, name in enumerate(dev_names):
      rows = slice(start_row, start_row + len(splits[name].labels))
      predicted = outputs[rows].argmax(-1) if classes else outputs[rows, 0]
      prefix = "" if number == 0 else f"{name.removeprefix('validation_')}_"
      found |= {f"{prefix}{metric}": fn(predicted, splits[name].labels) for metric, fn in named.items()}
      start_row = rows.stop
    return found

  outputs = lambda params, batch: _apply(model, params, batch, None)  # noqa: E731
  return Task(model, train, dev, loss, outputs, score, sum(t.truncated for t in tokens.values()), classes)


def _spans(config: Any, start: Start) -> Task:
  """SQuAD: where the answer starts and ends."""
  inputs.check_length(start, config)
  questions = inputs.read_questions(config)
  found = {
    name: text_squad.windows(start.tokenizer, asked, max_length=config.data.max_length)
    for name, asked in questions.items()
  }

  def arrays(w):
    rows = {"ids": w.ids, "types": w.types.astype(np.int8), "length": w.lengths}
    return {**rows, "start": w.starts, "end": w.ends}

  train, dev = _data(config, arrays(found["train"]), arrays(found["validation"]))
  model = BertSpans(start.config, jnp.dtype(config.dtype), config.model.remat)

  def loss(params, batch, key):
    weights = row_weights(batch)
    value = losses.span_loss(_apply(model, params, batch, key), batch["start"], batch["end"], weights)
    return value, _sums(value, weights)

  def outputs(params, batch):
    logits = _apply(model, params, batch, None)
    best = [jax.lax.top_k(logits[..., i], min(BEST_SPANS, logits.shape[1])) for i in range(2)]
    return jnp.stack([x.astype(jnp.float32) for values, places in best for x in (places, values)], axis=1)

  def score(rows):
    answers = text_squad.best_answers(questions["validation"], found["validation"], rows)
    pairs = list(zip(answers, questions["validation"], strict=True))
    return {
      "f1": float(np.mean([text_squad.overlap_f1(a, q.answers) for a, q in pairs])),
      "exact_match": float(np.mean([text_squad.exact_match(a, q.answers) for a, q in pairs])),
    }

  return Task(model, train, dev, loss, outputs, score, sum(w.truncated for w in found.values()))


def _masked_words(config: Any, start: Start) -> Task:
  """Masked-LM on a text file; the development text is masked once and for all."""
  blocks = inputs.read_blocks(start, config)
  known = {t: start.tokenizer.token_to_id(t) for t in ("[PAD]", "[CLS]", "[SEP]", "[MASK]")}
  settings = {
    "special": tuple(known[t] for t in ("[PAD]", "[CLS]", "[SEP]")),
    "mask_id": known["[MASK]"],
    "vocab_size": start.config.vocab_size,
  }
  fixed = losses.mask_words(jax.random.key(0), jnp.asarray(blocks["validation"]), **settings)
  length = lambda rows: np.full(len(rows), rows.shape[1], np.int32)  # noqa: E731
  dev = {name: np.asarray(x) for name, x in fixed._asdict().items()} | {
    "length": length(blocks["validation"])
  }
  train, dev = _data(config, {"ids": blocks["train"], "length": length(blocks["train"])}, dev)
  model = BertMaskedLM(start.config, jnp.dtype(config.dtype), config.model.remat)

  def judged(params, batch, masked, key):
    """Cross entropies [B, K], right or not [B, K], weights [B, K]."""
    logits = _apply(model, params, {**batch, "ids": masked.ids}, key, positions=masked.positions)
    weights = masked.weights * row_weights(batch)[:, None]
    picked = jnp.take_along_axis(logits, masked.labels[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - picked, jnp.argmax(logits, -1) == masked.labels, weights

  def loss(params, batch, key):
    if key is None:
      masked = losses.Masked(*(batch[name] for name in losses.Masked._fields))
    else:
      masked = losses.mask_words(jax.random.fold_in(key, 1), batch["ids"], **settings)
      key = jax.random.fold_in(key, 0)
    values, right, weights = judged(params, batch, masked, key)
    value = losses.weighted_mean(values, weights)
    return value, _sums(value, weights, accuracy=metrics.mean(right, weights))

  def outputs(params, batch):
    masked = losses.Masked(*(batch[name] for name in losses.Masked._fields))
    values, right, weights = judged(params, batch, masked, None)
    return jnp.stack([(values * weights).sum(1), (right * weights).sum(1), weights.sum(1)], axis=1)

  def score(rows):
    total, right, count = np.asarray(rows, np.float64).sum(0)
    return {"accuracy": float(right / count), "perplexity": float(np.exp(total / count))}

  return Task(model, train, dev, loss, outputs, score, 0)


def read_rows(config: Any, start: Start, path: str) -> dict[str, np.ndarray]:
  """A user's file as the inputs of an exported program: ids, mask, types int32 [n, max_length]."""
  width = config.data.max_length
  if config.task == "squad":
    found = text_squad.windows(start.tokenizer, text_squad.read_squad(path), max_length=width)
  elif config.task == "mlm":
    ids = text_tokens.blocks(start.tokenizer, text.read_text(path), length=width)
    return {"ids": ids, "mask": np.ones_like(ids), "types": np.zeros_like(ids)}
  else:
    first, second = text.read_sentences(path)
    found = text_tokens.tokenize(start.tokenizer, first, second, max_length=width, width=width)
  if found.truncated:
    warnings.warn(f"{found.truncated} texts of {path} were cut: the model takes {width} tokens", stacklevel=2)
  mask = (np.arange(width) < found.lengths[:, None]).astype(np.int32)
  return {"ids": found.ids, "mask": mask, "types": found.types}
