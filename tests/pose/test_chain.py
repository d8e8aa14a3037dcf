"""The whole chain, crop to AP: of a network that gives the target of its input, and of one that learned."""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vita_jax import data, pose
from vita_jax.data import sources
from vita_jax.nn.hrnet import HRNet
from vita_jax.nn.resnet import preprocessed
from vita_jax.pose.crops import Crop

pytestmark = pytest.mark.skipif(
  importlib.util.find_spec("pycocotools") is None, reason="pycocotools is not installed (extra: pose)"
)
MAPS = (64, 48)


def _results(people, rows, found, **options):
  """COCO's results of all persons of `data.crops_of`."""
  boxes = {"centre": rows["centre"], "scale": rows["scale"], "box_scores": rows["score"]}
  places = {"image_ids": people.image_ids, "skeleton": people.skeleton}
  return pose.coco_persons(found.joints, found.scores, **boxes, **places, **options)


def _found(rows, skeleton, crop, method):
  """What is decoded from the targets, flip test included."""
  stride = crop.stride(MAPS)
  last, order = crop.size[1] - 1, np.array(pose.flip_order(skeleton))
  centre = "rounded" if method == "quarter" else "exact"

  def targets(joints, visible):
    return pose.gaussian_targets(joints, visible, size=MAPS, stride=stride, sigma=2.0, centre=centre)[0]

  joints, visible = rows["joints"], np.ones_like(rows["visible"])
  mirrored = targets((joints * [-1, 1] + [last, 0])[:, order].astype(np.float32), visible)
  other = pose.flip_heatmaps(mirrored, skeleton, shift=1 if crop.convention == "half" else 0)
  return pose.decode((targets(joints, visible) + other) / 2, method=method)


@pytest.mark.parametrize(("convention", "method", "least"), [("half", "quarter", 0.95), ("udp", "udp", 0.99)])
def test_twelve_persons_of_coco(convention, method, least):
  if sources.source_files("pose/coco") is None:
    pytest.skip("no pose/coco under $VITA_DATA_DIR")
  crop = Crop((256, 192), convention)
  people = data.load_people("coco", crop=crop)
  rows = data.crops_of(people, crop)
  found = _found(rows, people.skeleton, crop, method)
  results = _results(people, rows, found, size=MAPS, convention=convention)
  path = sources.data_file("pose/coco/test_coco.json")
  assert len(results) == 12
  found = pose.coco_ap(path, results, skeleton=people.skeleton)
  assert found["AP"] >= least and found["AP50"] == 1


def test_figures_as_cocos_annotations():
  rows = data.figures.figures(12, size=64)
  crop = Crop((256, 192))
  truth = pose.coco_truth(
    rows["joints"], 2 * rows["visible"], rows["area"], rows["box"], pose.FIGURES, size=(64, 64)
  )
  centre, scale = pose.centre_and_scale(rows["box"], aspect=crop.aspect)
  joints = pose.apply_matrix(pose.crop_matrix(centre, scale, size=crop.size), rows["joints"]).astype(
    np.float32
  )
  found = _found({"joints": joints, "visible": rows["visible"]}, pose.FIGURES, crop, "quarter")
  results = pose.coco_persons(
    found.joints,
    found.scores,
    centre=centre,
    scale=scale,
    box_scores=np.ones(12),
    image_ids=range(1, 13),
    size=MAPS,
    skeleton=pose.FIGURES,
  )
  found = pose.coco_ap(truth, results, skeleton=pose.FIGURES)
  assert found["AP"] > 0.9


@pytest.mark.slow
def test_a_reduced_hrnet_learns_the_twelve_persons_by_heart():
  """300 steps, half a minute of CPU: AP 0.93 with the annotated boxes (measured once)."""
  if sources.source_files("pose/coco") is None:
    pytest.skip("no pose/coco under $VITA_DATA_DIR")
  crop, size = Crop((128, 96)), (32, 24)
  people = data.load_people("coco", crop=crop)
  rows = data.crops_of(people, crop)
  options = dict(width=16, stem=16, modules=(1, 1, 1), blocks=1, bottlenecks=1, start="he", form="top")
  net = HRNet(people.skeleton.n_keypoints, **options)
  optimizer = optax.adam(optax.warmup_cosine_decay_schedule(0.0, 3e-3, 30, 300))
  mirrored = pose.Augmentation(scale=0.0, rotation=0.0, turned=0.0, half_body=0.0)
  images = preprocessed(rows["image"].astype(np.float32) / 255)
  variables = jax.jit(net.init)(jax.random.key(0), images)

  @functools.partial(jax.jit, donate_argnums=(0, 1))
  def step(variables, state, key):
    seen = (jnp.asarray(rows[name]) for name in ("image", "joints", "visible"))
    pictures, joints, visible = pose.augment_on_device(key, *seen, people.skeleton, mirrored)
    targets, weights = pose.gaussian_targets(joints, visible, size=size, stride=4, sigma=1.5)

    def loss(params):
      x = preprocessed(pictures.astype(jnp.float32) / 255)
      maps, moved = net.apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"])
      return pose.heatmap_loss(maps, targets, weights), moved["batch_stats"]

    (_, stats), gradients = jax.value_and_grad(loss, has_aux=True)(variables["params"])
    updates, state = optimizer.update(gradients, state)
    return {"params": optax.apply_updates(variables["params"], updates), "batch_stats": stats}, state

  state = optimizer.init(variables["params"])
  for i in range(300):
    variables, state = step(variables, state, jax.random.key(i))
  apply = functools.partial(net.apply, variables)
  found = jax.jit(lambda x: pose.decode(pose.flip_test(apply, x, people.skeleton)))(images)
  results = _results(people, rows, found, size=size)
  path = sources.data_file("pose/coco/test_coco.json")
  assert pose.coco_ap(path, results, skeleton=people.skeleton)["AP"] >= 0.9
