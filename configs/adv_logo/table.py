"""The results table of adversarial logos: every method, transfer, the back, wide angles, and ablations.

  python launch/table.py --suite=configs/adv_logo/table.py --workdir=runs/adv_logo

--rows=REGEX picks rows (e.g. "^Main", "^Ablation"), --seeds=N shortens, and the same command goes on where it
was stopped. Hardware and time: two CPU cores; about three hours in all,
and 2 GB of memory.
Success is the share of pictures within 10 degrees, of two bodies that trained on 20 photographs that did not,
in which the detector finds nobody above its calibrated threshold. Beside it: success at 20 degrees, within 30
and 45, on the body that did not train, by overlap of boxes, the mean best score, AP of the person class, and
the pictures, photographs and bodies that were dropped. Rows of one run are its transfer to other detectors.
HOG needs `pip install 'vita_jax[hog]'`; without it its rows and the detector are left out.
The paper's numbers are not known.
"""

import functools
import importlib.util

from vita_jax.papers.adv_logo.recipe import METHODS
from vita_jax.report.charts import lines
from vita_jax.report.pictures import save_figure
from vita_jax.report.suite import Row

FILE = "configs/adv_logo/person.py"
TRANSFER = ("ssd_mobilenetv2", "movenet_lightning", *(("hog",) if importlib.util.find_spec("cv2") else ()))
LEAD = "nanodet"
BESIDE = (
  "success_20",
  "success_30",
  "success_45",
  "unseen_10",
  "matched_10",
  "score_10",
  "ap_10",
  "threshold",
  "pictures",
  "dropped_pictures",
  "dropped_photographs",
  "dropped_bodies",
)
SEEDS = {"grey": 1}  # nothing in it is drawn
# label -> (method, changes)
MAIN = {
  "grey": ("grey", {}),
  "noise": ("noise", {}),
  "2D patch": ("patch2d", {}),
  "2D patch as texture": ("patch2d_as_texture", {}),
  "conventional": ("conventional", {}),
  "single angle": ("single_angle", {}),
  "hard": ("hard", {}),
  "logo": ("logo", {}),
}
WIDE = {
  "place.chart": "cylindrical",
  "place.span": 200.0,
  "train.range": 60.0,
  "train.every": 5.0,
  "train.steps": 450,
}
VARIANTS = {
  "logo on the back": {"place.side": "back"},
  "wide angles": WIDE,
  "NanoDet and SSD": {"detectors.train": ("nanodet", "ssd_mobilenetv2")},
}
ABLATIONS = {
  "full rectangle": {"shape": "full"},
  "G": {"shape": "G", "texture.height": 100},
  "T": {"shape": "T"},
  "X": {"shape": "X"},
  "two thirds of the size": {"place.width": 0.67, "place.height": 0.6},
  "a third of the size": {"place.width": 0.33, "place.height": 0.3},
  "no total variation": {"loss.smoothness": 0.0},
  "total variation times 10, no floor": {"loss.smoothness": 25.0, "loss.floor": 0.0},
  "no median filter": {"texture.median": 1},
  "no photometric augmentation": {"texture.contrast": 0.0, "texture.brightness": 0.0, "texture.noise": 0.0},
}
ROBUSTNESS = {
  "JPEG 50": {"test.jpeg": 50},
  "blur 1 pixel": {"test.blur": 1.0},
  "brighter by 0.1": {"test.brightness": 0.1},
}


def _row(group, label, method="logo", detector=LEAD, baseline="", seeds=3, run="", **changes):
  return Row(
    label=f"{group}: {label}",
    config=f"{FILE}:{method}",
    overrides={"seeds": seeds, **changes},
    metric=f"{detector}_success_10",
    baseline=baseline,
    beside=tuple(f"{detector}_{name}" for name in BESIDE),
    run=run,
  )


def get_suite():
  assert {method for method, _ in MAIN.values()} == set(METHODS)
  everything = {"detectors.test": (LEAD, *TRANSFER), "replicate": "map"}
  rows = []
  for label, (method, changes) in MAIN.items():
    baseline = "" if label in ("2D patch", "grey") else "Main: 2D patch"
    seeds = SEEDS.get(label, 3)
    rows.append(_row("Main", label, method, baseline=baseline, seeds=seeds, **everything, **changes))
  for label, changes in VARIANTS.items():
    rows.append(_row("Main", label, baseline="Main: logo", **everything, **changes))
  for detector in TRANSFER:
    for row in tuple(rows):
      if row.metric.startswith(LEAD):
        label = row.label.removeprefix("Main: ")
        options = {"metric": f"{detector}_success_10", "run": row.label, "baseline": ""}
        beside = tuple(f"{detector}_{name}" for name in BESIDE)
        rows.append(row._replace(label=f"Transfer to {detector}: {label}", beside=beside, **options))
  for label, changes in {**ABLATIONS, **ROBUSTNESS}.items():
    rows.append(_row("Ablation", label, seeds=1, **changes))
  return tuple(rows)


def finish(summaries, workdir):
  """Success by range of angles for the rows of the first detector, as a picture; "": no text of its own."""
  points = {}
  for label, summary in summaries.items():
    rates = {reach: summary["metrics"][f"{LEAD}_success_{reach}"]["mean"] for reach in (10, 30, 45)}
    if label.startswith("Main: ") and None not in rates.values():
      points[label.removeprefix("Main: ")] = [(reach, 100 * rate) for reach, rate in rates.items()]
  if points:
    axes = {"x": "within so many degrees", "y": "success rate, %"}
    save_figure(workdir / "angles.png", functools.partial(lines, points, **axes))
  return ""
