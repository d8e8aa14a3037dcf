"""Brings data or weights into the form that the experiments read.

  python launch/prepare_data.py --dataset=planetoid/citeseer --data_dir=~/tensorflow_datasets
  python launch/prepare_data.py --dataset=mnist         # rows for a Stream; also digits, cifar10
  python launch/prepare_data.py --dataset=minilm_l3     # a Hugging Face folder for config.model.path
  python launch/prepare_data.py --dataset=detectors/movenet_lightning   # weights for nn.detectors.load
  python launch/prepare_data.py --dataset=people --annotations=FILE.json --pictures=FOLDER   # for a Stream
  python launch/prepare_data.py --dataset=mm_hand/rendered --number=2000 --size=64   # hands, in RHD's layout
  python launch/prepare_data.py --dataset=cartoon       # photographs and their cartoons; needs OpenCV
  python launch/prepare_data.py --dataset=glue/mnli     # downloads through TFDS; also squad, other glue tasks

Data sets are written in the TFDS format (array_record; TensorFlow is not needed). Citeseer is shipped with
the package; the other graphs, MNIST, CIFAR-10, the weights of MiniLM-L3 and those of the detectors are
converted from the files under $VITA_DATA_DIR. Cartoons of the photographs there are made by OpenCV and kept
in $VITA_CACHE_DIR, one file for each setting. A few seconds each, on any machine. Rendered hands come with
exact joints, depth and masks, in folders as RHD's (`vita_jax.data.hands_files.Rhd` reads them); photographs
and rigged hands are those under $VITA_DATA_DIR, or --photographs and --rig; 5 to 20 ms a picture.
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
CARTOON, PEOPLE, HANDS = "cartoon", "people", "mm_hand/rendered"
DOWNLOADS = ("squad", *(f"glue/{task}" for task in GLUE))
_DATASET = flags.DEFINE_enum(
  "dataset",
  None,
  sorted([*GRAPHS, *images.NAMES, *MODELS, *DETECTORS, CARTOON, PEOPLE, HANDS, *DOWNLOADS]),
  "What to prepare.",
  required=True,
)
_DATA_DIR = flags.DEFINE_string(
  "data_dir", None, "Where to; default: $TFDS_DATA_DIR, else ~/tensorflow_datasets."
)
_PHOTOGRAPHS = flags.DEFINE_string(
  "photographs",
  None,
  "Of cartoon and hands: folder of photographs; default: vision/photos_pd under $VITA_DATA_DIR.",
)
_SIDE = flags.DEFINE_integer("side", 256, "Of cartoon: shorter side; of people: of their square.", 16)
_ANNOTATIONS = flags.DEFINE_string("annotations", None, "Of people: JSON in COCO's format, or MPII's.")
_PICTURES = flags.DEFINE_string("pictures", None, "Of people: folder of their pictures.")
_ASPECT = flags.DEFINE_float("aspect", 0.75, "Of people: width over height of the crops to come.", 0.1, 10.0)
_SIGMA_S = flags.DEFINE_float("sigma_s", 60.0, "Of cartoon: reach of the filter, in pixels.", 0.0, 200.0)
_SIGMA_R = flags.DEFINE_float("sigma_r", 0.45, "Of cartoon: how unlike colours are averaged.", 0.0, 1.0)
_NUMBER = flags.DEFINE_integer("number", 2000, "Of hands: training pictures.", 1)
_TEST = flags.DEFINE_integer(
  "test", 400, "Of hands: test pictures; a quarter as many of strangers' hands.", 4
)
_SIZE = flags.DEFINE_integer("size", 64, "Of hands: side of the pictures, in pixels.", 8)
_IDENTITIES = flags.DEFINE_integer(
  "identities", 8, "Of hands: identities that train; two more are strangers.", 1
)
_HELD_OUT = flags.DEFINE_integer("held_out", 60, "Of hands: photographs that only the tests show.", 1)
_RIG = flags.DEFINE_string("rig", "left", "Of hands: left, right, or an npz file of a rigged hand.")
_SEED = flags.DEFINE_integer("seed", 0, "Of hands: of all that is drawn.", 0)


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
  if name == CARTOON:
    return write_cartoons()
  if name == PEOPLE:
    return write_people(data_dir)
  if name == HANDS:
    return write_hands(data_dir)
  if name in MODELS:
    from vita_jax.data.minilm import write_minilm_l3

    folder = write_minilm_l3(data_dir / name)
  elif name in DETECTORS:
    folder = prepare_network(name.partition("/")[2], data_dir / name)
  elif name in DOWNLOADS:
    folder = download(name, data_dir)
  elif name in images.NAMES:
    found = images.load_images(name)
    splits = {"train": images.rows(found.train), "test": images.rows(found.test)}
    folder = write_rows(name, splits, data_dir=data_dir)
  else:
    folder = write_rows(name, {SPLIT: [load(name)]}, data_dir=data_dir)
  tell(name, folder, data_dir)


def tell(name, folder, data_dir):
  """Prints where a data set is and how to use it."""
  print(f"{name} is in {folder}")
  if os.environ.get("TFDS_DATA_DIR") == str(data_dir):
    print("TFDS_DATA_DIR already points there.")
  else:
    print(f"To use it: export TFDS_DATA_DIR={data_dir}")


def prepare_network(name, folder):
  """Converts the published weights of a detector or a hand network; returns the folder."""
  from vita_jax.nn import hand_landmarks
  from vita_jax.nn.detectors import detector, palm

  if name == palm.NAME:
    return palm.prepare(folder)
  if name in (networks := {hand_landmarks.model_name(which): which for which in hand_landmarks.NAMES}):
    return hand_landmarks.prepare(networks[name], folder)
  return detector.prepare(name, folder)


def write_hands(data_dir):
  """Renders hands and writes them in RHD's layout; prints where."""
  from vita_jax.data.photographs import load_photographs
  from vita_jax.hands import dataset, rig

  hand = rig.load_rig(_RIG.value) if _RIG.value in rig.NAMES else rig.read_rig(_RIG.value)
  found = dataset.rendered_hands(
    size=_SIZE.value,
    train=_NUMBER.value,
    test=_TEST.value,
    strangers=_TEST.value // 4,
    identities=_IDENTITIES.value,
    photographs=load_photographs(_PHOTOGRAPHS.value, side=128),
    held_out=_HELD_OUT.value,
    seed=_SEED.value,
    rig=hand,
  )
  name = f"{HANDS}_{hand.name}_{_SIZE.value}_{_NUMBER.value}_{_SEED.value}"
  folder = dataset.write_rendered(data_dir / name, found)
  print(f"{_NUMBER.value} training and {_TEST.value} test pictures of hands are in {folder}, in RHD's layout")
  print(f"To read them: vita_jax.data.hands_files.Rhd('{folder}', 'training')")


def write_people(data_dir):
  """Writes the neighbourhoods of persons as rows of one size; prints where, and who was left out."""
  from vita_jax.data.people import PersonRows, WideCrops
  from vita_jax.data.people_files import read_people
  from vita_jax.pose.crops import Crop

  if not _ANNOTATIONS.value or not _PICTURES.value:
    raise ValueError("people need --annotations=FILE.json, in COCO's or MPII's format, and --pictures=FOLDER")
  crop = Crop((1000, round(1000 * _ASPECT.value)))  # the boxes' shape alone is taken from it
  found = read_people(_ANNOTATIONS.value, _PICTURES.value, crop=crop)
  for rule, count in found.left_out.items():
    print(f"left out: {count} persons, {rule}")
  name = f"{PEOPLE}/{Path(_ANNOTATIONS.value).stem}"
  folder = write_rows(name, {"train": WideCrops(PersonRows(found), side=_SIDE.value)}, data_dir=data_dir)
  tell(f"{name}, {len(found.files)} persons,", folder, data_dir)


def write_cartoons():
  """Makes the cartoons of the photographs, and prints where they are."""
  from vita_jax.data.cache import cache_folder
  from vita_jax.data.pairs import cartoons
  from vita_jax.data.photographs import load_photographs

  found = load_photographs(_PHOTOGRAPHS.value, side=_SIDE.value)
  cartoons(found.pictures, sigma_s=_SIGMA_S.value, sigma_r=_SIGMA_R.value)
  print(f"{len(found.names)} cartoons of {found.source} are in {cache_folder('cartoons')}")


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
