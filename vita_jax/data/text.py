"""Labelled texts: the GLUE tasks through TFDS or files, and a user's own TSV."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from vita_jax.data.files_text import open_cells, read_text
from vita_jax.data.sources import missing, source_files
from vita_jax.data.tfds_files import prepared_dir, read_columns, tfds_dir


class Texts(NamedTuple):
  """Sentences, or pairs of them, with labels.

  Attributes:
    first: the texts.
    second: their partners, or None.
    labels: int32 [n] class numbers; float32 [n] scores for regression.
    classes: names of the classes; empty for regression.
  """

  first: list[str]
  second: list[str] | None
  labels: np.ndarray
  classes: tuple[str, ...]


class Glue(NamedTuple):
  """A GLUE task in TFDS: its text columns, classes (none: regression), and development splits."""

  columns: tuple[str, ...]
  classes: tuple[str, ...]
  dev: tuple[str, ...] = ("validation",)


GLUE = {
  "cola": Glue(("sentence",), ("unacceptable", "acceptable")),
  "mnli": Glue(
    ("premise", "hypothesis"),
    ("entailment", "neutral", "contradiction"),
    ("validation_matched", "validation_mismatched"),
  ),
  "mrpc": Glue(("sentence1", "sentence2"), ("not_equivalent", "equivalent")),
  "qnli": Glue(("question", "sentence"), ("entailment", "not_entailment")),
  "qqp": Glue(("question1", "question2"), ("not_duplicate", "duplicate")),
  "rte": Glue(("sentence1", "sentence2"), ("entailment", "not_entailment")),
  "sst2": Glue(("sentence",), ("negative", "positive")),
  "stsb": Glue(("sentence1", "sentence2"), ()),
  "wnli": Glue(("sentence1", "sentence2"), ("not_entailment", "entailment")),
}
# Files that serve as well, split -> names; what they must be is recorded in `sources.SOURCES`.
FILES: dict[str, dict[str, tuple[str, ...]]] = {
  "sst2": {"train": ("sst2/train.tsv.gz",), "validation": ("sst2/dev.tsv.gz",)},
  "cola": {
    "train": ("text_small/cola_in_domain_train.tsv.gz",),
    "validation": (  # GLUE's development set is the two together
      "text_small/cola_in_domain_dev.tsv.gz",
      "text_small/cola_out_of_domain_dev.tsv.gz",
    ),
  },
}


def load_glue(name: str) -> dict[str, Texts]:
  """Loads the training split and the development splits of a GLUE task, by their TFDS names.

  SST-2 and CoLA come from $VITA_DATA_DIR where it has their files (see `FILES`); all tasks from a TFDS data
  set glue/<name> prepared under $TFDS_DATA_DIR (`launch/prepare_data.py --dataset=glue/<name>`).

  Raises:
    ValueError: an unknown task, or a file that is not the recorded one.
    FileNotFoundError: no door serves.
  """
  if name not in GLUE:
    raise ValueError(f"unknown GLUE task '{name}'; known: {', '.join(GLUE)}")
  if name in FILES and (paths := source_files(f"glue/{name}")):
    return {s: _from_files(name, [paths[f] for f in names]) for s, names in FILES[name].items()}
  if prepared := prepared_dir(f"glue/{name}"):
    return {split: _from_tfds(name, prepared, split) for split in ("train", *GLUE[name].dev)}
  files = f"{missing(f'glue/{name}')} and " if name in FILES else ""
  raise FileNotFoundError(
    f"no data for glue/{name}: there is {files}no prepared TFDS data set under $TFDS_DATA_DIR ({tfds_dir()});"
    f" run python launch/prepare_data.py --dataset=glue/{name} where there is a network"
  )


def read_tsv(path: str | os.PathLike, *, classes: tuple[str, ...] | None = None) -> Texts:
  """Reads texts from a tab-separated file (perhaps .gz); quotes mean nothing.

  Its header is `sentence` or `sentence1`, perhaps `sentence2`, and `label`.

  Args:
    path: the file.
    classes: the names of the labels, in order, which may stand there as numbers from 0 as well; None: those
      that occur, sorted; (): numbers, for regression.

  Raises:
    FileNotFoundError: no such file.
    ValueError: no header like that, a row with another number of columns, an unknown label, no rows.
  """
  columns = _table(path)
  texts = _sentences(path, columns)
  if "label" not in columns:
    raise ValueError(f"{path} needs a column 'label'; it has {list(columns)}")
  return Texts(*texts, *_labels(columns["label"], classes, lambda i: f"{path}, row {i + 1}"))


def read_sentences(path: str | os.PathLike) -> tuple[list[str], list[str] | None]:
  """Reads the texts of a file like that of `read_tsv`, labelled or not: (first, second or None)."""
  return _sentences(path, _table(path))


def _sentences(path, columns):
  first = columns.get("sentence", columns.get("sentence1"))
  if first is None:
    raise ValueError(
      f"{path} needs a header with 'sentence' (or 'sentence1', 'sentence2'), separated by tabs; it has"
      f" {list(columns)}"
    )
  return first, columns.get("sentence2")


def _table(path):
  cells = open_cells(path, separator="\t", quotes=False)
  rows = [row for _, row in cells.rows]
  if not rows:
    raise ValueError(f"{path} holds no rows: it needs a header line and at least one more")
  return {name: [row[i] for row in rows] for i, name in enumerate(cells.header)}


def _labels(values, classes, where):
  if classes == ():
    try:
      return np.array([float(v) for v in values], np.float32), ()
    except ValueError as error:
      raise ValueError(f"labels must be numbers for regression: {error}") from error
  classes = tuple(sorted(set(values))) if classes is None else classes
  numbers = {name: i for i, name in enumerate(classes)}
  if not any(name.isdigit() for name in classes):  # else "1" would be both a name and a number
    numbers |= {str(i): i for i in range(len(classes))}
  for i, value in enumerate(values):
    if value not in numbers:
      raise ValueError(f"{where(i)} has the label '{value}', which is none of {', '.join(classes)}")
  return np.array([numbers[v] for v in values], np.int32), classes


def _from_files(name, paths):
  first, labels = [], []
  for path in paths:
    rows = [line.split("\t") for line in read_text(path).split("\n") if line]
    rows = rows[1:] if name == "sst2" else [[row[3], row[1]] for row in rows]  # CoLA has no header
    first += [row[0].strip() for row in rows]
    labels += [int(row[1]) for row in rows]
  return Texts(first, None, np.array(labels, np.int32), GLUE[name].classes)


def _from_tfds(name, prepared, split):
  task, columns = GLUE[name], read_columns(prepared, split)
  texts = [[_text(value) for value in columns[column]] for column in task.columns]
  labels = np.array(columns["label"], np.int32 if task.classes else np.float32)
  return Texts(texts[0], texts[1] if len(texts) > 1 else None, labels, task.classes)


def _text(value):
  return value.decode("utf-8") if isinstance(value, bytes) else str(value)
