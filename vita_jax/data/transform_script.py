"""A script that applies an exported program to the rows of a CSV file and needs no vita_jax.

It goes beside `program.jax` and `params.safetensors`, in whose header is the encoding of the table.
"""

from __future__ import annotations

import inspect

from vita_jax.data import tables, tabular


def transform_script() -> str:
  """Returns the script; its constants and the spelling of numbers are those of `tables` and `tabular`."""
  text = TRANSFORM.replace("@CANONICAL@", inspect.getsource(tables.canonical))
  for name, value in (
    ("MISSING", tables.MISSING),
    ("TRUTH", tables.TRUTH),
    ("FEW_ROWS", tabular.FEW_ROWS),
    ("MOST_UNSEEN", tabular.MOST_UNSEEN),
  ):
    text = text.replace(f"@{name}@", repr(value))
  return text


TRANSFORM = '''\
"""Encodes the rows of a CSV file: python transform.py IN.csv OUT.npz

Needs jax, flatbuffers, safetensors and numpy, and the two files beside it: params.safetensors (scaler,
categories and weights) and program.jax.
"""

import csv
import json
import re
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
from jax import export
from safetensors import safe_open
from safetensors.numpy import load_file

MISSING = @MISSING@
TRUTH = @TRUTH@
HERE = Path(__file__).parent


@CANONICAL@

def main(source, target):
  with safe_open(HERE / "params.safetensors", "numpy") as file:
    encoding = json.loads(file.metadata()["card"])["encoding"]
  schema = encoding["schema"]
  with open(source, encoding="utf-8-sig", newline="") as file:
    rows = list(csv.DictReader(file))
  columns = schema["numeric"] + schema["log_numeric"]
  absent = [c for c in columns + schema["categorical"] if rows and c not in rows[0]]
  if absent:
    sys.exit(f"error: {source} has no column {absent}")

  def number(row, column):
    text = row[column].strip()
    if text in MISSING and schema["missing"] == "error":
      sys.exit(f"error: column '{column}' has no value")
    return float("nan") if text in MISSING else float(TRUTH.get(text, text))

  def code(row, column):
    text = row[column].strip()
    text = "" if text in MISSING else canonical(text)
    merged = {canonical(old): canonical(new) for old, new in schema["merge"].get(column, {}).items()}
    text = merged.get(text, text)
    if not text and schema["missing"] == "error":
      sys.exit(f"error: column '{column}' has no value")
    known = [canonical(category) for category in encoding["categories"][column]]
    if text not in known and schema["unseen"] == "error":
      sys.exit(f"error: column '{column}' has the unknown category '{text}'")
    return known.index(text) if text in known else -1

  numbers = [[number(row, c) for c in columns] for row in rows]
  codes = [[code(row, c) for c in schema["categorical"]] for row in rows]
  for column, each in zip(schema["categorical"], zip(*codes)):
    if len(rows) >= @FEW_ROWS@ and each.count(-1) > @MOST_UNSEEN@ * len(rows) and schema["unseen"] != "any":
      sys.exit(f"error: {each.count(-1)} of {len(rows)} rows have unknown categories in column '{column}'")
  inputs = {
    "numbers": np.array(numbers, np.float32).reshape(len(rows), len(columns)),
    "codes": np.array(codes, np.int32).reshape(len(rows), len(schema["categorical"])),
  }
  program = export.deserialize(bytearray((HERE / "program.jax").read_bytes()))
  outputs = program.call(load_file(HERE / "params.safetensors"), inputs)
  np.savez_compressed(target, **{name: np.asarray(x) for name, x in outputs.items()})


if __name__ == "__main__":
  main(*sys.argv[1:])
'''
