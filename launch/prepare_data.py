"""Writes a data set in the TFDS format (array_record; TensorFlow is not needed).

  python launch/prepare_data.py --dataset=planetoid/citeseer --data_dir=~/tensorflow_datasets

Citeseer is shipped with the package; the other graphs are converted from the npz file under
$VITA_DATA_DIR. A few seconds and under 10 MB each, on any machine.
"""

import os
import sys
from pathlib import Path

from absl import app, flags, logging

from vita_jax.data.planetoid_tfds import builder
from vita_jax.data.sources import SOURCES, load, tfds_dir

_DATASET = flags.DEFINE_enum("dataset", None, sorted(n for n in SOURCES if n.startswith("planetoid/")),
                             "Which data set to prepare.", required=True)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where to; default: $TFDS_DATA_DIR, else ~/tensorflow_datasets.")


def main(argv):
  if len(argv) > 1:
    raise app.UsageError(f"unexpected arguments {argv[1:]}; use --dataset=NAME")
  logging.set_verbosity(logging.WARNING)  # TFDS tells every file it opens
  data_dir = Path(_DATA_DIR.value).expanduser().resolve() if _DATA_DIR.value else tfds_dir()
  try:
    write(_DATASET.value, data_dir)
  except (ValueError, OSError, ImportError) as e:
    sys.exit(f"prepare_data: {e}")


def write(name, data_dir):
  """Prepares `name` under `data_dir` and prints where it is and how to use it."""
  dataset = builder(name, data_dir=data_dir)
  load(name)  # checks the sha256 of the file that is converted
  dataset.download_and_prepare()
  print(f"{name} is in {dataset.data_path}")
  if os.environ.get("TFDS_DATA_DIR") == str(data_dir):
    print("TFDS_DATA_DIR already points there.")
  else:
    print(f"To use it: export TFDS_DATA_DIR={data_dir}")


if __name__ == "__main__":
  app.run(main)
