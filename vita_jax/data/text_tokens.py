"""Texts as WordPiece ids: [CLS] a [SEP] or [CLS] a [SEP] b [SEP], padded on the right."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vita_jax.data.text_tokenizer import SPECIAL, load_tokenizer

__all__ = ["SPECIAL", "Rows", "Tokens", "blocks", "load_tokenizer", "tokenize", "train_vocabulary"]


class Tokens(NamedTuple):
  """Texts as ids.

  Attributes:
    ids: int32 [n, T]; T is the longest length, or what was asked for. types: int32 [n, T], 1 in second texts.
    lengths: int32 [n], tokens that are not padding.
    truncated: how many texts were too long and have lost their end.
  """

  ids: np.ndarray
  types: np.ndarray
  lengths: np.ndarray
  truncated: int


def train_vocabulary(texts: Iterable[str], path: str | os.PathLike, *, size: int) -> None:
  """Writes a vocab.txt of at most `size` WordPiece tokens made from these texts (lower-cased), sorted.

  The trainer breaks ties at random: keep the file for runs that are to be the same.
  """
  from tokenizers import BertWordPieceTokenizer

  tokenizer = BertWordPieceTokenizer(lowercase=True)
  tokenizer.train_from_iterator(
    texts, vocab_size=size, min_frequency=2, special_tokens=list(SPECIAL), show_progress=False
  )
  ordered = [*SPECIAL, *sorted(set(tokenizer.get_vocab()) - set(SPECIAL))]
  Path(path).write_text("\n".join(ordered) + "\n", encoding="utf-8")


def tokenize(
  tokenizer: Any,
  first: Sequence[str],
  second: Sequence[str] | None,
  *,
  max_length: int,
  width: int | None = None,
) -> Tokens:
  """Encodes texts or pairs as ids; of a pair that is too long, the longer text loses its end, token by token.

  Args:
    tokenizer: of `load_tokenizer`.
    first: texts.
    second: texts that belong to them; None for single ones.
    max_length: tokens that are kept, special ones included.
    width: T; default: the longest text there is, in multiples of 8.

  Raises:
    ValueError: no texts, or a max_length without room for them.
  """
  if not len(first):
    raise ValueError("there are no texts")
  if max_length < (8 if second is None else 11):
    raise ValueError(f"max_length {max_length} leaves no room for text between the special tokens")
  tokenizer.no_padding()
  tokenizer.enable_truncation(max_length, strategy="longest_first")
  pairs = list(first) if second is None else list(zip(first, second, strict=True))
  found = tokenizer.encode_batch(pairs)
  tokenizer.no_truncation()
  lengths = np.array([len(one.ids) for one in found], np.int32)
  width = min(max_length, -(-int(lengths.max()) // 8) * 8) if width is None else width
  ids, types = np.zeros((2, len(found), width), np.int32)
  for i, one in enumerate(found):
    ids[i, : lengths[i]], types[i, : lengths[i]] = one.ids, one.type_ids
  return Tokens(ids, types, lengths, sum(bool(one.overflowing) for one in found))


def blocks(tokenizer: Any, text: str, *, length: int) -> np.ndarray:
  """Encodes a whole text as int32 [n, length]: one stream cut into [CLS] ... [SEP] blocks, the rest dropped.

  Raises:
    ValueError: a text of less than one block.
  """
  tokenizer.no_padding()
  tokenizer.no_truncation()
  lines = [line for line in text.splitlines() if line.strip()]
  stream = [i for one in tokenizer.encode_batch(lines, add_special_tokens=False) for i in one.ids]
  body = length - 2
  if body < 1 or len(stream) < body:
    raise ValueError(f"the text has {len(stream)} tokens: one block takes {max(body, 1)}")
  n = len(stream) // body
  rows = np.array(stream[: n * body], np.int32).reshape(n, body)
  start, end = (np.full((n, 1), tokenizer.token_to_id(t), np.int32) for t in ("[CLS]", "[SEP]"))
  return np.concatenate([start, rows, end], axis=1)


class Rows:
  """A table of arrays as the source of a Stream: row i is {name: array[i]}."""

  def __init__(self, arrays: dict[str, np.ndarray]):
    self.arrays = arrays

  def __len__(self) -> int:
    return len(next(iter(self.arrays.values())))

  def __getitem__(self, i: int) -> dict[str, np.ndarray]:
    return {name: x[i] for name, x in self.arrays.items()}
