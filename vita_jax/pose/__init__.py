"""Human (and other) poses: descriptions of keypoints, heat maps, crops, augmentation, evaluation. See
README.md.

Points are (x, y) in pixels, x to the right and y down, counted from the centre of the pixel at the upper
left. Sizes are (height, width). Heat maps are channels-last: [batch, height, width, keypoints].
"""

from vita_jax._lazy import submodules
from vita_jax.pose.augment import Augmentation, augment_on_device
from vita_jax.pose.crops import (
  Crop,
  apply_matrix,
  centre_and_scale,
  clip_boxes,
  crop_matrix,
  inverse_matrix,
  to_picture,
  warp,
)
from vita_jax.pose.evaluate import (
  coco_ap,
  coco_persons,
  coco_results,
  coco_truth,
  oks_nms,
  pckh,
  person_scores,
  torso_lengths,
)
from vita_jax.pose.heatmaps import (
  Decoded,
  decode,
  flip_heatmaps,
  flip_test,
  gaussian_targets,
  heatmap_loss,
  to_input,
)
from vita_jax.pose.skeletons import (
  COCO,
  FIGURES,
  HAND,
  MPII,
  OPENFIELD,
  SKELETONS,
  Skeleton,
  flip_order,
  skeleton,
)

__all__ = [
  "COCO",
  "FIGURES",
  "HAND",
  "MPII",
  "OPENFIELD",
  "SKELETONS",
  "Augmentation",
  "Crop",
  "Decoded",
  "Skeleton",
  "apply_matrix",
  "augment_on_device",
  "centre_and_scale",
  "clip_boxes",
  "coco_ap",
  "coco_persons",
  "coco_results",
  "coco_truth",
  "crop_matrix",
  "decode",
  "flip_heatmaps",
  "flip_order",
  "flip_test",
  "gaussian_targets",
  "heatmap_loss",
  "inverse_matrix",
  "oks_nms",
  "pckh",
  "person_scores",
  "skeleton",
  "to_input",
  "to_picture",
  "torso_lengths",
  "warp",
]
__getattr__, __dir__ = submodules(__name__)
