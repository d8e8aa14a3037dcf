"""The texts of a task: from a user's files or GLUE and SQuAD to rows of tokens in length buckets."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.data import text, text_squad, text_tokens
from vita_jax.data.buckets import make_buckets
from vita_jax.data.resident import Resident
from vita_jax.data.stream import Stream
from vita_jax.data.text_tokens import Rows, Tokens
from vita_jax.papers.bert_tickets.model import Start
from vita_jax.papers.bert_tickets.recipe import DataKeys, Recipe


def read_texts(recipe: Recipe) -> dict[str, text.Texts]:
  """Reads the split "train" and the development splits of a classification or regression task.

  Raises:
    ValueError, FileNotFoundError: see `load_glue` and `read_tsv`.
  """
  known, data = text.GLUE.get(recipe.task), recipe.data
  if not data.train:
    if known is None:
      raise ValueError(
        f"task '{recipe.task}' has no data of its own: give --config.data.train=FILE.tsv and"
        " --config.data.dev=FILE.tsv"
      )
    splits = text.load_glue(recipe.task)
  else:
    if not data.dev:
      raise ValueError("config.data.train is given without config.data.dev: both are needed")
    classes = known.classes if known else () if data.kind == "regression" else None
    train = text.read_tsv(data.train, classes=classes)
    splits = {"train": train, "validation": text.read_tsv(data.dev, classes=train.classes)}
  classes = splits["train"].classes
  if classes and len(classes) < 2:
    raise ValueError(f"the training texts have one class, '{classes[0]}': at least two are needed")
  limits = {"train": data.train_rows}
  return {split: _drawn(texts, limits.get(split, data.dev_rows)) for split, texts in splits.items()}


def read_questions(data: DataKeys) -> dict[str, list[text_squad.Question]]:
  """Reads SQuAD's splits "train" and "validation": a user's JSON files, or TFDS."""
  found = {}
  for split, file, limit in (
    ("train", data.train, data.train_rows),
    ("validation", data.dev, data.dev_rows),
  ):
    asked = text_squad.read_squad(file) if file else text_squad.load_squad(split)
    found[split] = [asked[i] for i in _order(len(asked), limit)]
  return found


def read_blocks(start: Start, data: DataKeys) -> dict[str, np.ndarray]:
  """Reads blocks of text for masked words, int32 [n, max_length].

  Without a file for development, every 20th block of the training text is kept for it.

  Raises:
    ValueError, FileNotFoundError: no file is named, or see `text.read_text` and `text_tokens.blocks`.
  """
  if not data.train:
    raise ValueError("masked-LM needs a text: give --config.data.train=FILE.txt")

  def cut(path: str) -> np.ndarray:
    return text_tokens.blocks(start.tokenizer, text.read_text(path), length=data.max_length)

  train = cut(data.train)
  if data.dev:
    dev = cut(data.dev)
  elif len(train) < 20:
    raise ValueError(f"{data.train} makes {len(train)} blocks: give more text, or config.data.dev as well")
  else:
    held = np.arange(len(train)) % 20 == 19
    train, dev = train[~held], train[held]
  return {"train": train[_order(len(train), data.train_rows)], "validation": dev[: data.dev_rows or None]}


def _order(n: int, limit: int) -> np.ndarray:
  """All rows as they are, or `limit` of them drawn by a generator of fixed seed: files are often sorted."""
  return np.random.default_rng(0).permutation(n)[:limit] if 0 < limit < n else np.arange(n)


def _drawn(texts: text.Texts, limit: int) -> text.Texts:
  rows = _order(len(texts.first), limit)
  first = [texts.first[i] for i in rows]
  second = None if texts.second is None else [texts.second[i] for i in rows]
  return text.Texts(first, second, texts.labels[rows], texts.classes)


def label_arrays(tokens: Sequence[Tokens], texts: Sequence[text.Texts]) -> dict[str, np.ndarray]:
  """Joins tokenised splits to rows: ids [n, T], types [n, T], length [n], label [n]."""
  width = max(one.ids.shape[1] for one in tokens)

  def joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.pad(x, ((0, 0), (0, width - x.shape[1]))) for x in arrays])

  return {
    "ids": joined([one.ids for one in tokens]),
    "types": joined([one.types for one in tokens]).astype(np.int8),
    "length": np.concatenate([one.lengths for one in tokens]),
    "label": np.concatenate([one.labels for one in texts]),
  }


def span_arrays(found: text_squad.Windows) -> dict[str, np.ndarray]:
  """Returns the windows of questions as rows: ids, types [n, T], length, start, end [n]."""
  rows = {"ids": found.ids, "types": found.types.astype(np.int8), "length": found.lengths}
  return {**rows, "start": found.starts, "end": found.ends}


def row_data(
  recipe: Recipe, train: dict[str, np.ndarray], dev: dict[str, np.ndarray]
) -> tuple[Stream, Resident]:
  """Makes training rows a stream of length buckets, and development rows one resident array each."""
  keys = [name for name in ("ids", "types") if name in train]
  data = recipe.data
  buckets = make_buckets(
    train["length"], keys, longest=train["ids"].shape[1], step=data.bucket, window=data.window
  )
  stream = Stream(Rows(train), min(recipe.batch_size, len(train["ids"])), buckets=buckets)
  return stream, Resident(dev, min(recipe.batch_size, len(dev["ids"])), order="rows")


def token_mask(batch: Mapping[str, Any]) -> jax.Array:
  """Computes float32 [B, T]: 1 for the first `length` tokens of each row."""
  return (jnp.arange(batch["ids"].shape[1]) < batch["length"][:, None]).astype(jnp.float32)


def row_weights(batch: Mapping[str, Any]) -> jax.Array:
  """Computes float32 [B]: 0 for rows that only fill the batch."""
  return batch.get("mask", jnp.ones(batch["ids"].shape[0], jnp.float32))


def windows_of(
  recipe: Recipe, start: Start, path: str
) -> tuple[list[text_squad.Question], text_squad.Windows]:
  """Reads a user's questions, with answers or without, and cuts their windows."""
  asked = text_squad.read_squad(path, answered=False)
  return asked, text_squad.windows(start.tokenizer, asked, max_length=recipe.data.max_length)


def read_rows(recipe: Recipe, start: Start, path: str) -> dict[str, np.ndarray]:
  """Reads a user's file as the inputs of an exported program: ids, mask, types int32 [n, max_length]."""
  width = recipe.data.max_length
  if recipe.task == "mlm":
    ids = text_tokens.blocks(start.tokenizer, text.read_text(path), length=width)
    return {"ids": ids, "mask": np.ones_like(ids), "types": np.zeros_like(ids)}
  found: Any
  if recipe.task == "squad":
    found = windows_of(recipe, start, path)[1]
  else:
    first, second = text.read_sentences(path)
    found = text_tokens.tokenize(start.tokenizer, first, second, max_length=width, width=width)
  if found.truncated:
    warnings.warn(f"{found.truncated} texts of {path} were cut: the model takes {width} tokens", stacklevel=2)
  mask = (np.arange(width) < found.lengths[:, None]).astype(np.int32)
  return {"ids": found.ids, "mask": mask, "types": found.types}
