"""SQuAD v1.1: questions on contexts as overlapping windows, and answers back from spans."""

from __future__ import annotations

import collections
import json
import os
import re
import string
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from vita_jax.data.text import _text, read_text
from vita_jax.data.tfds_files import open_rows, prepared_dir, tfds_dir


class Question(NamedTuple):
  """One question: the accepted `answers`, and the character of `context` where the first of them starts."""

  id: str
  question: str
  context: str
  answers: tuple[str, ...]
  start: int


class Windows(NamedTuple):
  """[CLS] question [SEP] part of the context [SEP], several windows to a long context.

  Attributes:
    ids, types: int32 [n, T]. lengths: int32 [n].
    question: int32 [n], which question each window belongs to.
    offsets: int32 [n, T, 2], first and last-plus-one character in the context; -1 for tokens outside it.
    starts, ends: int32 [n], tokens of the answer; 0 (the [CLS]) where the window does not hold all of it.
    truncated: how many questions were cut to `max_question` tokens.
  """

  ids: np.ndarray
  types: np.ndarray
  lengths: np.ndarray
  question: np.ndarray
  offsets: np.ndarray
  starts: np.ndarray
  ends: np.ndarray
  truncated: int


def load_squad(split: str) -> list[Question]:
  """A split of the TFDS data set squad, "train" or "validation".

  Raises:
    FileNotFoundError: it is not prepared.
  """
  prepared = prepared_dir("squad")
  if prepared is None:
    raise FileNotFoundError(
      f"no data for squad: no prepared TFDS data set under $TFDS_DATA_DIR ({tfds_dir()}); run python"
      " launch/prepare_data.py --dataset=squad where there is a network, or name the files of the data set as"
      " config.data.train and config.data.dev"
    )
  source = open_rows(prepared, split)
  rows = (source[i] for i in range(len(source)))
  return [
    Question(
      _text(row["id"]),
      _text(row["question"]),
      _text(row["context"]),
      tuple(_text(a) for a in row["answers"]["text"]),
      int(row["answers"]["answer_start"][0]),
    )
    for row in rows
  ]


def read_squad(path: str | os.PathLike) -> list[Question]:
  """The questions of a JSON file in the layout of SQuAD v1.1.

  Raises:
    FileNotFoundError: no such file. ValueError: it is no such JSON, or has a question without answer.
  """
  try:
    found = [
      Question(
        str(qa["id"]),
        qa["question"],
        paragraph["context"],
        tuple(a["text"] for a in qa["answers"]),
        int(qa["answers"][0]["answer_start"]),
      )
      for article in json.loads(read_text(path))["data"]
      for paragraph in article["paragraphs"]
      for qa in paragraph["qas"]
    ]
  except (KeyError, IndexError, TypeError, ValueError) as error:
    raise ValueError(f"{path} is no SQuAD v1.1 file ({type(error).__name__}: {error})") from error
  if not found:
    raise ValueError(f"{path} holds no question")
  return found


def windows(
  tokenizer: Any,
  questions: Sequence[Question],
  *,
  max_length: int = 384,
  stride: int = 128,
  max_question: int = 64,
) -> Windows:
  """All windows of all questions; a window starts `stride` tokens after the one before.

  Raises:
    ValueError: a max_length that leaves no room for the context.
  """
  if max_length - max_question - 3 < stride:
    raise ValueError(f"max_length {max_length} leaves less than {stride} tokens for the context")
  tokenizer.no_padding()
  tokenizer.no_truncation()
  asked = tokenizer.encode_batch([q.question for q in questions], add_special_tokens=False)
  told = tokenizer.encode_batch([q.context for q in questions], add_special_tokens=False)
  cls, sep = (tokenizer.token_to_id(t) for t in ("[CLS]", "[SEP]"))
  rows = []
  for i, (q, a, c) in enumerate(zip(questions, asked, told, strict=True)):
    first, last = _answer_tokens(c.offsets, q)
    begin = [cls, *a.ids[:max_question], sep]
    room = max_length - len(begin) - 1
    for start in _starts(len(c.ids), room, stride):
      part = slice(start, min(start + room, len(c.ids)))
      holds = start <= first and last < part.stop
      place = len(begin) - start
      span = (first + place, last + place) if holds else (0, 0)
      rows.append((i, [*begin, *c.ids[part], sep], len(begin), c.offsets[part], span))
  n = len(rows)
  ids, types = np.zeros((2, n, max_length), np.int32)
  offsets = np.full((n, max_length, 2), -1, np.int32)
  for j, (_, tokens, begin, places, _) in enumerate(rows):
    ids[j, : len(tokens)], types[j, begin : len(tokens)] = tokens, 1
    offsets[j, begin : begin + len(places)] = np.array(places, np.int32).reshape(-1, 2)
  as_int = lambda values: np.array(list(values), np.int32)  # noqa: E731
  return Windows(
    ids,
    types,
    lengths=as_int(len(row[1]) for row in rows),
    question=as_int(row[0] for row in rows),
    offsets=offsets,
    starts=as_int(row[4][0] for row in rows),
    ends=as_int(row[4][1] for row in rows),
    truncated=sum(len(a.ids) > max_question for a in asked),
  )


def best_answers(
  questions: Sequence[Question], found: Windows, best: np.ndarray, *, longest: int = 30
) -> list[str]:
  """The answer to each question: the span of the highest sum of logits over its windows, at most `longest`
  tokens.

  Args:
    questions: those of the windows. found: their windows.
    best: float [n, 4, K]: places and logits of the K best starts, places and logits of the K best ends.
  """
  answers = [(-np.inf, "")] * len(questions)
  for j, (starts, start_logits, ends, end_logits) in enumerate(np.asarray(best)):
    i, places = int(found.question[j]), found.offsets[j]
    for s, ls in zip(starts.astype(int), start_logits, strict=True):
      for e, le in zip(ends.astype(int), end_logits, strict=True):
        inside = places[s, 0] >= 0 and places[e, 0] >= 0
        if inside and s <= e < s + longest and ls + le > answers[i][0]:
          answers[i] = (ls + le, questions[i].context[places[s, 0] : places[e, 1]])
  return [text for _, text in answers]


def normalized(text: str) -> str:
  """Lower case, without punctuation, articles and extra spaces: the normalisation of the official script."""
  text = "".join(c for c in text.lower() if c not in string.punctuation)
  return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def exact_match(answer: str, accepted: Iterable[str]) -> float:
  """1.0 if the answer equals one that is accepted, both normalised."""
  return float(any(normalized(answer) == normalized(one) for one in accepted))


def overlap_f1(answer: str, accepted: Iterable[str]) -> float:
  """The largest F1 of words (as bags, normalised) between the answer and one that is accepted."""

  def f1(one: str) -> float:
    ours, theirs = normalized(answer).split(), normalized(one).split()
    common = sum((collections.Counter(ours) & collections.Counter(theirs)).values())
    if not ours or not theirs or not common:
      return float(ours == theirs)
    precision, recall = common / len(ours), common / len(theirs)
    return 2 * precision * recall / (precision + recall)

  return max((f1(one) for one in accepted), default=0.0)


def scores(answers: Sequence[str], questions: Sequence[Question]) -> dict[str, float]:
  """Computes the means of `overlap_f1` ("f1") and `exact_match` over questions: the official scores."""
  pairs = list(zip(answers, questions, strict=True))
  return {
    "f1": float(np.mean([overlap_f1(a, q.answers) for a, q in pairs])),
    "exact_match": float(np.mean([exact_match(a, q.answers) for a, q in pairs])),
  }


def _answer_tokens(offsets, q):
  """(first, last) token of the answer in the context; (-1, -1), which no window holds, if there is none."""
  begin, end = q.start, q.start + len(q.answers[0]) if q.answers else q.start
  inside = [k for k, (a, b) in enumerate(offsets) if a < end and b > begin]
  return (inside[0], inside[-1]) if inside else (-1, -1)


def _starts(n, room, stride):
  start = 0
  while True:
    yield start
    if start + room >= n:
      return
    start += stride
