"""One door to trained artifacts: `names()`, `card(name)`, `load(name)`.

    import vita_jax

    vita_jax.models.names()                             # ('detectors/hand_landmarks_full', ..., 'minilm_l3')
    vita_jax.models.card("learned/rnnprop-cl-il")       # what it was trained on, how well, its limits
    optimizer = vita_jax.models.load("learned/rnnprop-cl-il")

Learned optimizers and the detector NanoDet ship in the package; another artifact of more than 1 MB has a card
and the command that makes it, and is found where that command writes it. Every file is checked against the
sha256 of `MODELS` before it is read.

To add one: put the files where the wheel takes them along (`package_data` in setup.cfg), or write the command
that makes them; then add a line to `MODELS`: where its files are, their sha256, its card, and the function
that reads the folder.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vita_jax.base.choose import choose
from vita_jax.data import sources
from vita_jax.data.tfds_files import tfds_dir
from vita_jax.optim import library


class Model(NamedTuple):
  """One artifact.

  Attributes:
    folder: () -> where its files are.
    files: name in the folder -> sha256.
    card: () -> what it is: a mapping of plain values.
    read: `read(folder, **options) -> what `load` returns`.
    command: what makes the folder where it is missing; "": it ships.
  """

  folder: Callable[[], Path]
  files: Mapping[str, str]
  card: Callable[[], dict[str, Any]]
  read: Callable[..., Any]
  command: str = ""


def names() -> tuple[str, ...]:
  """Lists the artifacts that there are, sorted; those that begin with "learned/" are learned optimizers."""
  return tuple(sorted(MODELS))


def card(name: str) -> dict[str, Any]:
  """Returns what an artifact is, was made from and is good for; "files" are its sha256.

  Raises:
    ValueError: no such artifact; the nearest is named.
  """
  model = MODELS[choose("model", name, names())]
  made = {"made by": model.command} if model.command else {}
  return {**model.card(), **made, "files": dict(model.files)}


def load(name: str, **options: Any) -> Any:
  """Loads an artifact: an optax transformation, a `Detector`, (config, parameters); its card says which.

  Args:
    name: one of `names()`.
    options: of its reader, e.g. `state_dtype=jnp.bfloat16` of a learned optimizer.

  Raises:
    ValueError: no such artifact, or a file that is not the recorded one.
    FileNotFoundError: it does not ship and was not made; the command that makes it is named.
  """
  model = MODELS[choose("model", name, names())]
  folder = model.folder()
  for file, sha256 in model.files.items():
    if not (folder / file).is_file():
      made = f"run {model.command}" if model.command else "install the package again"
      raise FileNotFoundError(f"no {file} in {folder}: {made}")
    sources.check_sha256(folder / file, sha256)
  return model.read(folder, **options)


def _learned(name: str, params: str, config: str) -> Model:
  return Model(
    folder=functools.partial(library.SHIPPED.joinpath, name),
    files={"params.safetensors": params, "config.json": config},
    card=functools.partial(library.learned_card, name),
    read=library.load_learned,
  )


def _minilm_folder() -> Path:
  return tfds_dir() / "minilm_l3"


def _minilm_card() -> dict[str, Any]:
  return {
    "name": "minilm_l3",
    "what": "paraphrase-MiniLM-L3-v2, a BERT encoder of three layers: (config, parameters)",
    "trained on": "sentence similarity, by its authors; not a masked-LM, and without pooler",
    "weights": 17_241_984,
    "bytes": 68_973_776,
    "licence": "Apache-2.0",
  }


def _detector_folder(name: str) -> Path:
  return tfds_dir() / "detectors" / name


def _detector_card(name: str, what: str, trained_on: str, weights: int) -> dict[str, Any]:
  return {
    "name": f"detectors/{name}",
    "what": f"{what}: a `vita_jax.nn.detectors.Detector`",
    "trained on": f"{trained_on}, by its authors",
    "weights": weights,
    "licence": "Apache-2.0",
  }


def _load_detector(name: str, file: str, folder: Path, **options: Any) -> Any:
  from vita_jax.nn import detectors  # flax modules, too

  return detectors.load(name, folder / file, **options)


def _detector(name: str, what: str, trained_on: str, weights: int, sha256: str) -> Model:
  file = "params.safetensors"
  return Model(
    folder=functools.partial(_detector_folder, name),
    files={file: sha256},
    card=functools.partial(_detector_card, name, what, trained_on, weights),
    read=functools.partial(_load_detector, name, file),
    command=f"python launch/prepare_data.py --dataset=detectors/{name}",
  )


def _load_hand_landmarks(which: str, folder: Path, **options: Any) -> Any:
  from vita_jax.nn import hand_landmarks

  return hand_landmarks.load_hand_landmarks(which, folder, **options)


def _load_palms(folder: Path, **options: Any) -> Any:
  from vita_jax.nn.detectors import palm

  return palm.load_palms(folder, **options)


def _hand_network(name: str, what: str, weights: int, sha256: str, read: Callable[..., Any]) -> Model:
  """A network of MediaPipe Hands: (module, variables)."""
  facts = {"name": f"detectors/{name}", "what": f"{what}: (module, variables)"}
  trained = {"trained on": "Google's own pictures of hands, real and rendered, by its authors"}
  return Model(
    folder=functools.partial(_detector_folder, name),
    files={"params.safetensors": sha256},
    card=functools.partial(dict, {**facts, **trained, "weights": weights, "licence": "Apache-2.0"}),
    read=read,
    command=f"python launch/prepare_data.py --dataset=detectors/{name}",
  )


def _embedded_detectors() -> Path:
  return sources.SHIPPED / "detectors"


def _load_bert(folder: Path) -> Any:
  from vita_jax.nn.bert_files import load_bert  # flax modules, which learned optimizers do not need

  return load_bert(folder)


MODELS = {
  "detectors/hand_landmarks_full": _hand_network(
    "hand_landmarks_full",
    "21 joints of a hand in 224 pixels, MediaPipe's full network: the judge",
    2_715_680,
    "133759adf6cc15e9473d5ba6f93598902943c502419c8bd4a378cb0e0168e2a9",
    functools.partial(_load_hand_landmarks, "full"),
  ),
  "detectors/hand_landmarks_lite": _hand_network(
    "hand_landmarks_lite",
    "21 joints of a hand in 224 pixels, MediaPipe's lite network: for losses",
    1_011_712,
    "d8b0e3fd2dc578dc54492d65d9b0a135ccd968ece9990a09bdc75fedfa9177cd",
    functools.partial(_load_hand_landmarks, "lite"),
  ),
  "detectors/movenet_lightning": _detector(
    "movenet_lightning",
    "MoveNet SinglePose Lightning, 192 pixels",
    "COCO and Google's own pictures of people",
    2_317_974,
    "7b0728af08fe87a342e4038a10b8601330b55b6f90679b7e5baca3d8106f69a1",
  ),
  "detectors/movenet_thunder": _detector(
    "movenet_thunder",
    "MoveNet SinglePose Thunder, 256 pixels",
    "COCO and Google's own pictures of people",
    6_226_046,
    "51b0c17457bb000aa8d2c90dc5cc229ea7961453a00705ec4d05687b774231e8",
  ),
  "detectors/nanodet": Model(
    folder=_embedded_detectors,
    files={"nanodet.safetensors": sources.SOURCES["nanodet"].sha256},
    card=functools.partial(_detector_card, "nanodet", "NanoDet-g, 416 pixels", "COCO", 3_786_068),
    read=functools.partial(_load_detector, "nanodet", "nanodet.safetensors"),
  ),
  "detectors/palms": _hand_network(
    "palms",
    "MediaPipe's palm detector, 192 pixels",
    1_136_248,
    "a0d644606733cfcff02404e15c5e2d28c79d908a996fbfe7d7c62c73d5dd9490",
    _load_palms,
  ),
  "detectors/ssd_mobilenetv2": _detector(
    "ssd_mobilenetv2",
    "SSD on MobileNetV2, 300 pixels",
    "23 classes of Open Images v4",
    4_951_996,
    "646b5a45aae4cb1fef93594d5a66953b8b874ae384f836927b84c1a4ff3069d3",
  ),
  "learned/dm": _learned(
    "dm",
    "af9ee1fb5a19f6c3b9f013f0780a0081f89cb54cc2ff4ef87025a4d34214c3de",
    "c0ed91b33311894164bea5050fc05511b52546f9652419d2039e303214197ef7",
  ),
  "learned/dm-cl": _learned(
    "dm-cl",
    "bbdf296b7fcba647237f3a00e7447863e3e29b87dc61a3a273a4fe21ee895071",
    "9dd3cd2a71b0bffa261d8402982c0ffab1b652acb3b2cb81d18cfde0325e157d",
  ),
  "learned/dm-cl-il": _learned(
    "dm-cl-il",
    "a99e5182530d6170d1a5b959d95970cff20df32bafe9aa2d4e0ed6705fed2014",
    "1eb31db9328d81ec76cfcb479cd1323e722f4eb6b600181234219c97bcd0681f",
  ),
  "learned/dm-il": _learned(
    "dm-il",
    "42d3abe1563ed802337a9ec2fe4c0ac2a79c645f1fa17704681da95cdb1c601a",
    "682da048fd209570361d3613f08aadc57fdc896747949ed100251335370eaee0",
  ),
  "learned/mlp-cl-il": _learned(
    "mlp-cl-il",
    "114535f3fe2a43040702fea03efcb7ff6634cbc04982121a51d776feafb3fbc6",
    "9c604e8b76042e505d5aa96cbd2261e182d53e120116f4d4d1dd758a9e49fb7d",
  ),
  "learned/rnnprop-cl-il": _learned(
    "rnnprop-cl-il",
    "dab90cf1a127b9062ded21e394a86f95f0a09ff74302a093ee41ec323ad16da4",
    "d577ffffd1ade07782eb70c58bfbf20011463fbd14a8cedde0750f8b7aea2f4c",
  ),
  "minilm_l3": Model(
    folder=_minilm_folder,
    files={
      "model.safetensors": "6182ab706aef6cc3918a032921f6e2555aaf08ca3874c9d9447717dde8533091",
      "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    },
    card=_minilm_card,
    read=_load_bert,
    command="python launch/prepare_data.py --dataset=minilm_l3",
  ),
}
