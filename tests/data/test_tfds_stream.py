"""A TFDS data set in array_record files is a Stream's source, and its batches go on from any number."""

import numpy as np
import pytest

from vita_jax.data.stream import Stream, batches, read_batch, read_sweep_batch


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  """300 rows of images, written by TFDS as array_record and read without TensorFlow."""
  import tensorflow_datasets as tfds

  class Noise(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    code_path = None  # as in data/tfds_files.py

    def _info(self):
      features = {"image": tfds.features.Tensor(shape=(4, 4), dtype=np.uint8), "label": np.int64}
      return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
      return {"train": self._generate_examples()}

    def _generate_examples(self):
      for i in range(300):
        yield i, {"image": np.full((4, 4), i % 251, np.uint8), "label": i}

  builder = Noise(data_dir=tmp_path_factory.mktemp("tfds"), file_format="array_record")
  builder.download_and_prepare()
  return builder.as_data_source(split="train")


def _scaled(row, rng):
  del rng
  return {"image": row["image"].astype(np.float32) / 255, "label": np.int32(row["label"])}


def _take(data, start, n, **options):
  iterator = batches(data, 3, start, **options)
  found = [next(iterator)[1] for _ in range(n)]
  iterator.close()
  return found


def _assert_equal(ours, theirs):
  for one, other in zip(ours, theirs, strict=True):
    assert one.keys() == other.keys()
    for name in one:
      np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_an_epoch_shows_each_row_once_and_ends_in_a_padded_batch(source):
  data = Stream(source, 64, transform=_scaled)
  epoch = _take(data, 0, 5)
  labels = np.concatenate([batch["label"][batch["mask"] > 0] for batch in epoch])
  assert sorted(labels) == list(range(300)) and epoch[-1]["mask"].sum() == 300 - 4 * 64
  swept = [read_sweep_batch(data, i) for i in range(5)]
  assert sum(batch["mask"].sum() for batch in swept) == 300


def test_it_resumes_by_number_bit_for_bit_whatever_reads_ahead(source):
  expected = _take(Stream(source, 64, transform=_scaled), 0, 8)
  for prefetch in (0, 1, 5):
    data = Stream(source, 64, transform=_scaled, prefetch=prefetch)
    _assert_equal(_take(data, 3, 5), expected[3:])


@pytest.mark.parametrize("n", [2, 4])
def test_the_parts_of_the_processes_make_up_the_batch(source, n):
  data = Stream(source, 64, transform=_scaled)
  for t in (0, 4):
    whole = read_batch(data, 3, t)
    parts = [read_batch(data, 3, t, part=(slice(i * 64 // n, (i + 1) * 64 // n),)) for i in range(n)]
    _assert_equal([{k: np.concatenate([part[k] for part in parts]) for k in whole}], [whole])
    seeds = read_batch(data, [1, 3], t, part=(slice(1, 2), slice(0, 32)))
    np.testing.assert_array_equal(seeds["label"][0], whole["label"][:32])


def test_a_part_reads_only_its_rows(source):
  read = []

  class Counted:
    def __len__(self):
      return len(source)

    def __getitem__(self, i):
      read.append(i)
      return source[i]

  batch = read_batch(Stream(Counted(), 64, transform=_scaled), 3, 0, part=(slice(16, 32),))
  assert sorted(read) == sorted(batch["index"]) and len(read) == 16
