"""The Planetoid graphs as a TFDS data set (array_record, no TensorFlow), one row per node.

`builder(name)` writes it, `read_prepared` turns the rows back into the arrays of the npz file,
bit for bit. Any TFDS user can read it: `tfds.builder_from_directory(d).as_data_source("nodes")`.
"""

import functools
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from vita_jax.data.files import read_npz
from vita_jax.data.sources import SOURCES, local_file

SPLIT = "nodes"
_VERSION = "1.0.0"
# Position = class id of the feature "split".
_SPLITS = ("train", "validation", "test", "none")


def builder(name: str, *, data_dir: str | os.PathLike):
  """The TFDS builder of "planetoid/<config>" under `data_dir`; `.download_and_prepare()` writes.

  The npz file must be within reach (shipped, or under $VITA_DATA_DIR); nothing is downloaded.

  Raises:
    ValueError: an unknown name. FileNotFoundError: no file to convert.
    ImportError: tensorflow-datasets or array-record is missing.
  """
  if local_file(name) is None:
    raise FileNotFoundError(
      f"no file to convert: put {SOURCES[name].file} under $VITA_DATA_DIR "
      f"({os.environ.get('VITA_DATA_DIR', 'unset')})"
    )
  return _builder_class()(config=name.split("/")[1], data_dir=os.fspath(data_dir), file_format="array_record")


def read_prepared(directory: str | os.PathLike) -> dict[str, np.ndarray]:
  """The arrays of the npz file a prepared directory (<data_dir>/<name>/<version>) was made of.

  Raises:
    ValueError: unreadable or incomplete files.
    ImportError: tensorflow-datasets or array-record is missing.
  """
  tfds = _tfds()
  try:
    prepared = tfds.builder_from_directory(directory)
    source = prepared.as_data_source(split=SPLIT)
    return rebuild(source.__getitems__(list(range(len(source)))), prepared.info.metadata)
  except ImportError:
    raise
  except Exception as e:  # array_record and TFDS raise many types on damaged files
    cause = (str(e).splitlines() or [type(e).__name__])[0]
    raise ValueError(
      f"{directory} is damaged or incomplete ({cause}); delete it and run launch/prepare_data.py again"
    ) from e


def rebuild(rows: Iterable[Mapping[str, Any]], metadata: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """The arrays of the npz file from the rows (in any order) and the metadata of the data set."""
  rows = sorted(rows, key=lambda row: row["node"])
  if [row["node"] for row in rows] != list(range(metadata["num_nodes"])):
    raise ValueError(f"rows are not the nodes 0 .. {metadata['num_nodes'] - 1}, once each")
  neighbours = [row["neighbours"] for row in rows]
  pairs = np.stack(
    [np.repeat(np.arange(len(rows)), [len(x) for x in neighbours]), np.concatenate(neighbours)], axis=1
  ).astype(np.int32)
  split = np.array([row["split"] for row in rows])
  rank = np.array([row["test_rank"] for row in rows])
  counts = [len(row["feature_indices"]) for row in rows]
  return {
    **{key: np.int64(metadata[key]) for key in ("num_nodes", "num_features", "num_classes")},
    "feat_indptr": np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
    "feat_indices": np.concatenate([row["feature_indices"] for row in rows]).astype(np.int16),
    "feat_data": np.concatenate([row["feature_values"] for row in rows]).astype(metadata["feature_dtype"]),
    "edges": pairs[pairs[:, 0] < pairs[:, 1]],
    "self_loop_nodes": pairs[pairs[:, 0] == pairs[:, 1], 0],
    "labels": np.array([row["label"] for row in rows], np.int8),
    **{f"{mask}_mask": split == i for i, mask in enumerate(("train", "val", "test"))},
    "test_index_order": np.argsort(np.where(rank < 0, len(rows), rank), kind="stable")[
      : np.sum(rank >= 0)
    ].astype(np.int32),
  }


def node_rows(arrays: Mapping[str, np.ndarray]) -> Iterable[dict[str, Any]]:
  """One dict per node, in node order: what the data set stores."""
  n_nodes = int(arrays["num_nodes"])
  loops = arrays["self_loop_nodes"]
  pairs = np.concatenate([arrays["edges"], arrays["edges"][:, ::-1], np.stack([loops] * 2, 1)])
  pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
  neighbours = np.split(pairs[:, 1], np.searchsorted(pairs[:, 0], np.arange(1, n_nodes)))
  rank = np.full(n_nodes, -1, np.int32)
  rank[arrays["test_index_order"]] = np.arange(len(arrays["test_index_order"]))
  masks = [arrays["train_mask"], arrays["val_mask"], arrays["test_mask"]]
  split = np.select(masks, [0, 1, 2], default=3)
  for node in range(n_nodes):
    features = slice(*arrays["feat_indptr"][node : node + 2])
    yield {
      "node": node,
      "label": int(arrays["labels"][node]),
      "split": int(split[node]),
      "test_rank": rank[node],
      "feature_indices": arrays["feat_indices"][features].astype(np.int32),
      "feature_values": arrays["feat_data"][features].astype(np.float32),
      "neighbours": neighbours[node].astype(np.int32),
    }


def _tfds():
  try:
    import array_record  # noqa: F401  TFDS would fail later, and less clearly
    import tensorflow_datasets as tfds
  except ImportError as e:
    raise ImportError(
      "prepared data sets need tensorflow-datasets and array-record: pip install "
      "tensorflow-datasets array-record"
    ) from e
  return tfds


@functools.cache  # TFDS registers a builder class by name when it is defined
def _builder_class():
  tfds = _tfds()

  class Planetoid(tfds.core.GeneratorBasedBuilder):
    """Planetoid citation graphs with the public split, one row per node."""

    # TFDS looks beside the code for checksums of downloads: there are none, and looking needs the
    # package importlib_resources, which TFDS does not install.
    code_path = None
    VERSION = tfds.core.Version(_VERSION)
    BUILDER_CONFIGS = [
      tfds.core.BuilderConfig(name=name.split("/")[1], description=name)
      for name in sorted(SOURCES)
      if name.startswith("planetoid/")
    ]

    def _arrays(self):
      return read_npz(local_file(f"planetoid/{self.builder_config.name}"))

    def _info(self):
      arrays = self._arrays()
      sizes = {key: int(arrays[key]) for key in ("num_nodes", "num_features", "num_classes")}
      ints = tfds.features.Tensor(shape=(None,), dtype=np.int32)
      # No `dataset_info_from_configs`: it wants a package folder per data set.
      return tfds.core.DatasetInfo(
        builder=self,
        description=self.__doc__,
        features=tfds.features.FeaturesDict(
          {
            "node": np.int32,
            "label": tfds.features.ClassLabel(num_classes=sizes["num_classes"]),  # -1: none
            "split": tfds.features.ClassLabel(names=_SPLITS),
            "test_rank": np.int32,  # place in the published list of test nodes, or -1
            "feature_indices": ints,
            "feature_values": tfds.features.Tensor(shape=(None,), dtype=np.float32),
            "neighbours": ints,  # includes the node itself where it has a self loop
          }
        ),
        disable_shuffling=True,  # row i is node i
        metadata=tfds.core.MetadataDict(**sizes, feature_dtype=arrays["feat_data"].dtype.name),
      )

    def _split_generators(self, dl_manager):
      return {SPLIT: self._generate_examples()}

    def _generate_examples(self):
      for row in node_rows(self._arrays()):
        yield row["node"], row

  return Planetoid
