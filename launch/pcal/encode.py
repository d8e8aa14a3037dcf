"""Encodes a CSV file of any size with an exported encoder, in chunks.

  python launch/pcal/encode.py --encoder=DIR/export --in=IN.csv --out=OUT.npz

DIR/export is what launch/export.py wrote of a PCAL run. OUT.npz holds `z` float32 [rows, width] and
`probability` float32 [rows]. The columns that the encoder was trained on must be there; others are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from vita_jax import cli

ENCODER = flags.DEFINE_string("encoder", None, "Folder that launch/export.py wrote.", required=True)
IN = flags.DEFINE_string("in", None, "CSV file to encode.", required=True)
OUT = flags.DEFINE_string("out", None, "The npz file to write.", required=True)
ROWS = flags.DEFINE_integer("rows", 50_000, "Rows of a chunk.", lower_bound=1)


def main() -> None:
  from jax import export

  from vita_jax.base import write_npz
  from vita_jax.train.weights import load_params

  if not OUT.value.endswith(".npz") or not Path(OUT.value).resolve().parent.is_dir():
    raise ValueError(f"--out={OUT.value} must be a .npz file in a folder that exists")
  folder = Path(ENCODER.value)
  encoding, params = read_encoding(folder / "params.safetensors"), load_params(folder / "params.safetensors")
  if not (folder / "program.jax").exists():
    raise FileNotFoundError(f"no program.jax in {folder}: run launch/export.py --workdir first")
  program = export.deserialize(bytearray((folder / "program.jax").read_bytes()))
  parts = list(encoded(encoding, lambda inputs: program.call(params, inputs)))
  outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
  write_npz(OUT.value, outputs)
  print(f"{OUT.value}: " + ", ".join(f"{name} {list(x.shape)}" for name, x in outputs.items()))


def read_encoding(path: Path) -> Any:
  """Reads the schema, scaler and categories that the weights file carries in its header.

  Raises:
    FileNotFoundError, ValueError: no such file, or one without them.
  """
  from vita_jax.base import parse_json
  from vita_jax.data import tabular
  from vita_jax.data.files import read_metadata

  if not path.exists():
    raise FileNotFoundError(f"no encoder at {path}: --encoder takes the folder that launch/export.py wrote")
  card = parse_json(read_metadata(path).get("card", "{}"), str(path), what="an encoder of tables")
  if "encoding" not in card:
    raise ValueError(f"{path} is no encoder of tables: export a PCAL run with launch/export.py")
  return tabular.from_json(card["encoding"])


def encoded(encoding: Any, call: Any) -> Iterator[dict[str, np.ndarray]]:
  """Encodes each chunk of the input file."""
  from vita_jax.data import tables, tabular

  for chunk in tables.read_chunks(IN.value, rows=ROWS.value):
    inputs = tabular.raw_inputs(encoding, chunk)
    outputs = call({name: np.ascontiguousarray(x) for name, x in inputs.items()})
    yield {name: np.asarray(x) for name, x in outputs.items()}


if __name__ == "__main__":
  cli.run(main)
