"""Brings data or weights into the form that the experiments read.

  python launch/prepare_data.py --dataset=planetoid/citeseer --data_dir=~/tensorflow_datasets
  python launch/prepare_data.py --dataset=mnist         # rows for a Stream; also digits, cifar10
  python launch/prepare_data.py --dataset=minilm_l3     # a Hugging Face folder for config.model.path
  python launch/prepare_data.py --dataset=detectors/movenet_lightning   # weights for nn.detectors.load
  python launch/prepare_data.py --dataset=glue/mnli     # downloads through TFDS; also squad, other glue tasks

Data sets are written in the TFDS format (array_record; TensorFlow is not needed). Citeseer is shipped with
the package; the other graphs, MNIST, CIFAR-10, the weights of MiniLM-L3 and those of the detectors are
converted from the files under $VITA_DATA_DIR. A few seconds each, on any machine.
"""

import os
from pathlib import Path

from absl import app, flags, logging

from vita_jax import help as script_help
from vita_jax.data import images
from vita_jax.data.sources import SOURCES, SPLIT, load
from vita_jax.data.text import GLUE
from vita_jax.data.tfds_files import tfds_dir, write_rows

GRAPHS = tuple(name for name in SOURCES if name.startswith("planetoid/"))
MODELS = ("minilm_l3",)
DETECTORS = tuple(name for name in SOURCES if name.startswith("detectors/"))
DOWNLOADS = ("squad", *(f"glue/{task}" for task in GLUE))
_DATASET = flags.DEFINE_enum(
  "dataset",
  None,
  sorted([*GRAPHS, *images.NAMES, *MODELS, *DETECTORS, *DOWNLOADS]),
  "What to prepare.",
  required=True,
)
_DATA_DIR = flags.DEFINE_string(
  "data_dir", None, "Where to; default: $TFDS_DATA_DIR, else ~/tensorflow_datasets."
)


def main(argv):
  if len(argv) > 1:
    script_help.fail(f"unexpected argument '{argv[1]}': use --dataset=NAME", 2)
  logging.set_verbosity(logging.WARNING)  # TFDS tells every file it opens
  data_dir = Path(_DATA_DIR.value).expanduser().resolve() if _DATA_DIR.value else tfds_dir()
  try:
    write(_DATASET.value, data_dir)
  except (ValueError, OSError, ImportError) as error:
    script_help.fail(str(error))


def write(name, data_dir):
  """Prepares `name` under `data_dir` and prints where it is and how to use it."""
  if name in MODELS:
    from vita_jax.data.minilm import write_minilm_l3

    folder = write_minilm_l3(data_dir / name)
  elif name in DETECTORS:
    from vita_jax.nn.detectors.detector import prepare

    folder = prepare(name.partition("/")[2], data_dir / name)
  elif name in DOWNLOADS:
    folder = download(name, data_dir)
  elif name in images.NAMES:
    found = images.load_images(name)
    splits = {"train": images.rows(found.train), "test": images.rows(found.test)}
    folder = write_rows(name, splits, data_dir=data_dir)
  else:
    folder = write_rows(name, {SPLIT: [load(name)]}, data_dir=data_dir)
  print(f"{name} is in {folder}")
  if os.environ.get("TFDS_DATA_DIR") == str(data_dir):
    print("TFDS_DATA_DIR already points there.")
  else:
    print(f"To use it: export TFDS_DATA_DIR={data_dir}")


def download(name, data_dir):
  """Lets TFDS fetch and write one of its own data sets; returns the folder."""
  import tensorflow_datasets as tfds

  dataset = tfds.builder(name, data_dir=data_dir, file_format="array_record")
  try:
    dataset.download_and_prepare()
  except Exception as e:  # of requests, TFDS, or the operating system
    raise OSError(
      f"TFDS could not fetch {name} ({' '.join(str(e).split())[:200]}): run this where there is a"
      f" network, and copy {data_dir}"
    ) from e
  return dataset.data_path


if __name__ == "__main__":
  app.run(main, flags_parser=script_help.parse)
