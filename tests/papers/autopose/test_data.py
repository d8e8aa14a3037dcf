"""A user's own file: held in memory or streamed, the rows are the same, and so are the parts of a search."""

import json

import numpy as np
import pytest
from papers.autopose import small
from PIL import Image

from vita_jax.data.stream import read_batch
from vita_jax.papers.autopose.data import median_pose, read_inputs
from vita_jax.papers.autopose.recipe import recipe_of

NAMES = ["left_hand", "right_hand", "nose"]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
  """A file in COCO's format of 12 pictures with a person each, and a crowd that is left out."""
  folder, rng = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
  images, people = [], []
  for i in range(12):
    Image.fromarray(rng.integers(0, 256, (50, 60, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    images.append({"id": i, "file_name": f"{i}.png", "height": 50, "width": 60})
    points = np.concatenate([rng.uniform(12, 38, (3, 2)), np.full((3, 1), 2)], axis=1)
    person = {"id": i, "image_id": i, "category_id": 1, "iscrowd": 0, "num_keypoints": 3, "area": 500.0}
    people.append({**person, "bbox": [8, 6, 40, 36], "keypoints": points.ravel().tolist()})
  people.append({**people[0], "id": 99, "iscrowd": 1})
  content = {
    "images": images,
    "annotations": people,
    "categories": [{"id": 1, "name": "x", "keypoints": NAMES}],
  }
  (folder / "own.json").write_text(json.dumps(content))
  return folder


def _recipe(own, step="retrain:all_edges", **more):
  files = {"data.name": "custom", "data.annotations": str(own / "own.json"), "data.folder": str(own)}
  return recipe_of(small.config(step, **{**files, "data.held_out": 3, "data.flip": 0.0, **more}))


def test_streamed_rows_are_those_held_in_memory(own):
  held, streamed = (read_inputs(_recipe(own, **{"data.stream": s})) for s in (False, True))
  rows = read_batch(streamed.test, 0, 0)
  assert len(rows["image"]) == 3 and held.skeleton.flip_pairs == ((0, 1),)
  for name in ("image", "joints", "visible", "area"):
    np.testing.assert_allclose(rows[name], held.test.arrays[name], rtol=1e-5, err_msg=name)
  np.testing.assert_allclose(streamed.mean, held.mean, atol=1e-3)
  assert held.people.files == streamed.people.files


def test_parts_of_a_search_share_nobody(own):
  inputs = read_inputs(_recipe(own, "search", **{"data.stream": True, "search.batch": 3}))
  files = [
    set(part.source.people.files) for part in (inputs.weights, inputs.chooser, inputs.held, inputs.test)
  ]
  assert sum(map(len, files)) == len(set.union(*files)) == 12 and all(files)


@pytest.mark.parametrize("stream", [False, True])
def test_people_of_one_picture_are_in_one_part(own, stream):
  """The file lists the second person of every picture after all the first ones."""
  content = json.loads((own / "own.json").read_text())
  people = content["annotations"]
  content["annotations"] = people[:12] + [{**p, "id": 100 + p["id"]} for p in people[:12]]
  (own / "pairs.json").write_text(json.dumps(content))
  more = {"data.annotations": str(own / "pairs.json"), "data.stream": stream, "search.batch": 3}
  inputs = read_inputs(_recipe(own, "search", **more))
  parts = [inputs.weights, inputs.chooser, inputs.held]
  if stream:
    found = [set(part.source.people.files) for part in parts]
  else:
    found = [{row.tobytes() for row in part.arrays["image"]} for part in parts]
  assert sum(map(len, found)) == len(set.union(*found)) == 9 and all(found)


@pytest.mark.parametrize("stream", [False, True])
def test_two_pictures_are_enough_to_train(own, stream):
  """Parts of a search are cut where one is run."""
  more = {"data.stream": stream, "data.held_out": 10, "train.batch": 2}
  assert len(read_inputs(_recipe(own, **more)).people.files) == 10
  with pytest.raises(ValueError, match="a search needs some"):
    read_inputs(_recipe(own, "search", **{**more, "search.batch": 1}))


def test_a_step_of_more_rows_than_there_are_is_refused(own):
  with pytest.raises(ValueError, match="lower config.train.batch"):
    read_inputs(_recipe(own, **{"train.batch": 10}))


def test_test_persons_have_the_keypoints_of_the_training_persons_in_their_order(own):
  content = json.loads((own / "own.json").read_text())
  content["categories"][0]["keypoints"] = ["nose", "left_hand", "right_hand"]
  (own / "turned.json").write_text(json.dumps(content))
  with pytest.raises(ValueError, match="turned.json has the keypoints nose, left_hand, right_hand: those of"):
    read_inputs(
      _recipe(own, **{"data.test_annotations": str(own / "turned.json"), "data.test_folder": str(own)})
    )


def test_a_keypoint_that_is_never_labelled_has_no_median():
  joints = np.array([[[1.0, 2.0], [9.0, 9.0]], [[3.0, 6.0], [9.0, 9.0]]])
  found = median_pose(joints, np.array([[1, 0], [2, 0]]))
  np.testing.assert_allclose(found, [[2, 4], [0, 0]])
