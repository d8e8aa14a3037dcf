"""SQuAD v1.1: questions on contexts as overlapping windows, and answers back from spans."""

from __future__ import annotations

import collections
import os
import re
import string
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vita_jax.base.files import parse_json
from vita_jax.data.files_text import read_text
from vita_jax.data.text import _text
from vita_jax.data.tfds_files import open_rows, prepared_dir, tfds_dir

LIMIT = 128 << 20  # bytes of a file of questions; SQuAD v1.1 has 30 million


class Question(NamedTuple):
  """One question.

  Attributes:
    id, question, context: texts.
    answers: accepted ones; empty where they are not known.
    start: character of `context` where the first of them starts, -1 without one.
  """

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
  """Loads a split of the TFDS data set squad, "train" or "validation".

  Raises:
    FileNotFoundError: it is not prepared.
    ValueError: see `placed`.
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
  questions = [
    Question(
      _text(row["id"]),
      _text(row["question"]),
      _text(row["context"]),
      tuple(_text(a) for a in row["answers"]["text"]),
      int(row["answers"]["answer_start"][0]),
    )
    for row in rows
  ]
  return placed(questions, f"squad, split {split}")


def read_squad(path: str | os.PathLike, *, answered: bool = True) -> list[Question]:
  """Reads the questions of a JSON file in the layout of SQuAD v1.1.

  Args:
    path: the file.
    answered: whether every question needs an answer, as in training; else answers are not read.

  Raises:
    FileNotFoundError: no such file.
    ValueError: it is not such a file, has no questions, or (with `answered`) a question without an answer or
      answers that are not in their contexts, see `placed`.
  """
  content = parse_json(read_text(path, limit=LIMIT), str(path), what="a SQuAD v1.1 file", limit=LIMIT)
  try:
    found = [
      _question(qa, paragraph["context"], answered)
      for article in content["data"]
      for paragraph in article["paragraphs"]
      for qa in paragraph["qas"]
    ]
  except (KeyError, TypeError, AttributeError, ValueError) as error:
    raise ValueError(f"{path} is not a SQuAD v1.1 file ({type(error).__name__}: {error})") from error
  if not found:
    raise ValueError(f"{path} holds no question")
  if not answered:
    return found
  if without := [q.id for q in found if not q.answers or not q.answers[0]]:
    raise ValueError(
      f"{len(without)} of {len(found)} questions in {path} have no answer, e.g. '{without[0]}': remove them;"
      " only questions with answers can be trained on or scored"
    )
  return placed(found, str(path))


def _question(qa: Mapping[str, Any], context: str, answered: bool) -> Question:
  answers = (qa.get("answers") or ()) if answered else ()
  texts = tuple(answer["text"] for answer in answers)
  start = int(answers[0]["answer_start"]) if answers else -1
  if not all(isinstance(text, str) for text in (qa["question"], context, *texts)):
    raise TypeError("a question, context or answer is not a text")
  return Question(str(qa["id"]), qa["question"], context, texts, start)


def placed(questions: Sequence[Question], where: str) -> list[Question]:
  """Returns the questions with their answers where `start` says.

  An answer that is somewhere else is moved, with one warning for all, if its text occurs once in its context.

  Raises:
    ValueError: texts that occur nowhere or several times: how many, and one of them.
  """
  found, moved, lost = [], 0, []
  for q in questions:
    text = q.answers[0]
    if q.start < 0 or q.context[q.start : q.start + len(text)] != text:
      place = q.context.find(text)
      if place < 0 or q.context.find(text, place + 1) >= 0:
        lost.append(q)
      q, moved = q._replace(start=place), moved + 1
    found.append(q)
  if lost:
    raise ValueError(
      f"{where}: {len(lost)} of {len(found)} answers are not where answer_start says, and their text occurs"
      f" nowhere or several times in the context, e.g. '{lost[0].answers[0][:40]}' of question"
      f" '{lost[0].id}': correct or remove them"
    )
  if moved:
    warnings.warn(
      f"{where}: {moved} of {len(found)} answers are not where answer_start says (does it count bytes?); each"
      " occurs once in its context and was taken from there",
      stacklevel=2,
    )
  return found


def windows(
  tokenizer: Any,
  questions: Sequence[Question],
  *,
  max_length: int = 384,
  stride: int = 128,
  max_question: int = 64,
) -> Windows:
  """Cuts all windows of all questions; a window starts `stride` tokens after the one before.

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
    head = [cls, *a.ids[:max_question], sep]
    room = max_length - len(head) - 1
    for start in _starts(len(c.ids), room, stride):
      part = slice(start, min(start + room, len(c.ids)))
      holds = start <= first and last < part.stop
      place = len(head) - start
      span = (first + place, last + place) if holds else (0, 0)
      rows.append((i, [*head, *c.ids[part], sep], len(head), c.offsets[part], span))
  n = len(rows)
  ids, types = np.zeros((2, n, max_length), np.int32)
  offsets = np.full((n, max_length, 2), -1, np.int32)
  for j, (_, tokens, begin, places, _) in enumerate(rows):
    ids[j, : len(tokens)], types[j, begin : len(tokens)] = tokens, 1
    offsets[j, begin : begin + len(places)] = np.array(places, np.int32).reshape(-1, 2)
  lengths = [len(tokens) for _, tokens, *_ in rows]
  owners, starts, ends = zip(*((row[0], *row[4]) for row in rows), strict=True)
  return Windows(
    ids,
    types,
    lengths=np.array(lengths, np.int32),
    question=np.array(owners, np.int32),
    offsets=offsets,
    starts=np.array(starts, np.int32),
    ends=np.array(ends, np.int32),
    truncated=sum(len(a.ids) > max_question for a in asked),
  )


class Answer(NamedTuple):
  """The answer to a question: `text` is characters `start` to `end` of its context; `score` a sum of logits.

  Where no span is possible the text is empty, both ends are -1 and the score is -inf.
  """

  text: str
  start: int
  end: int
  score: float


def best_answers(
  questions: Sequence[Question], found: Windows, best: np.ndarray, *, longest: int = 30
) -> list[Answer]:
  """Finds the answer to each question: the span with the highest sum of logits over all its windows.

  Args:
    questions: those of the windows.
    found: their windows.
    best: float [n, 4, K]: places and logits of the K best starts, places and logits of the K best ends.
    longest: tokens that a span may have.
  """
  answers = [Answer("", -1, -1, -np.inf)] * len(questions)
  for j, (starts, start_logits, ends, end_logits) in enumerate(np.asarray(best)):
    i, places = int(found.question[j]), found.offsets[j]
    for s, ls in zip(starts.astype(int), start_logits, strict=True):
      for e, le in zip(ends.astype(int), end_logits, strict=True):
        inside = places[s, 0] >= 0 and places[e, 0] >= 0
        if inside and s <= e < s + longest and ls + le > answers[i].score:
          first, last = int(places[s, 0]), int(places[e, 1])
          answers[i] = Answer(questions[i].context[first:last], first, last, float(ls + le))
  return answers


def best_of_logits(starts: np.ndarray, ends: np.ndarray, found: Windows, *, k: int) -> np.ndarray:
  """Makes the argument of `best_answers` of all logits, both float [n, T].

  The k best are those of tokens of the context; of equal ones the first.
  """
  outside, parts = found.offsets[..., 0] < 0, []
  for logits in (starts, ends):
    inside = np.where(outside, -np.inf, logits)
    places = np.argsort(-inside, axis=1, kind="stable")[:, :k]
    parts += [places.astype(np.float32), np.take_along_axis(inside, places, axis=1)]
  return np.stack(parts, axis=1)


def normalized(text: str) -> str:
  """Returns lower case, without punctuation, articles and extra spaces, as the official script does."""
  text = "".join(c for c in text.lower() if c not in string.punctuation)
  return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def exact_match(answer: str, accepted: Iterable[str]) -> float:
  """Returns 1.0 if the answer equals one that is accepted, both normalised; else 0.0."""
  return float(any(normalized(answer) == normalized(one) for one in accepted))


def overlap_f1(answer: str, accepted: Iterable[str]) -> float:
  """Computes the largest F1 of words (as bags, normalised) between the answer and an accepted one."""

  def f1(one: str) -> float:
    ours, theirs = normalized(answer).split(), normalized(one).split()
    common = sum((collections.Counter(ours) & collections.Counter(theirs)).values())
    if not ours or not theirs or not common:
      return float(ours == theirs)
    precision, recall = common / len(ours), common / len(theirs)
    return 2 * precision * recall / (precision + recall)

  return max((f1(one) for one in accepted), default=0.0)


def scores(answers: Sequence[Answer], questions: Sequence[Question]) -> dict[str, float]:
  """Computes the means of `overlap_f1` ("f1") and `exact_match` over questions: the official scores."""
  pairs = [(answer.text, q) for answer, q in zip(answers, questions, strict=True)]
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
