"""The results table of PCAL: the game at seven gammas, every baseline, ablations, and the trade-off figure.

  python launch/table.py --suite=configs/pcal/table.py --workdir=runs/pcal_table

Hardware and time: not measured yet; the audits are most of it. --rows=REGEX picks rows ("^limit_high exc"),
--seeds=N shortens; the same command goes on where it was stopped. Beside the strongest new attacker's AUC:
utility AUC, boosting as attacker, the adversaries of training (always too good), what the utility score alone
gives away. tradeoff_*.png, .csv and .json have the fronts, whose points are chosen by validation rows.

"limit_high exclude" (variant B: its column left out) has all attackers on all rows and 5 seeds; variant A and
the attributes edu and age have four attackers on 8,000 rows and 3 seeds. Row `raw` is the ceiling of utility,
`score` what no encoder that keeps the score can hide, `equalised_score` what one may hope for. The paper's
numbers are not known.
"""

import json

from vita_jax.papers.pcal import front
from vita_jax.train.suite import Row
from vita_jax.train.summary import write_text

CONFIG = "configs/pcal/taiwan.py"
GAMMAS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
BESIDE = ("utility_auc", "attack_auc_boosting", "in_training_auc", "collapsed")
BAR = 0.68
SMALL = {"seeds": 3, "audit.attackers": "fast", "audit.attacker_rows": 8000, "audit.test_rows": 4000}
WITHOUT_ADVERSARY = {"gamma": 0.0, "adversary.steps": 0, "restart.every": 0}
GRL = {"loss": "neg_xent", "adversary.widths": ((64, 64),), "restart.every": 0}
BASELINES = {  # method -> strengths
  "drop": (0.0,),
  "drop_proxies": (0.6, 0.65, 0.7),
  "pca": (0.0,),
  "random_projection": (0.0,),
  "gaussian_noise": (0.5, 1.0, 2.0, 4.0),
  "local_dp": (1.0, 5.0, 10.0, 50.0),
  "binning": (2, 3, 4),
  "inlp": (2, 8),
  "leace": (0.0,),
  "autoencoder": (0.0,),
  "score": (0.0,),
  "equalised_score": (0.0,),
}
PCAL, ALONE = "PCAL", "encoder without adversary"


def _label(attribute, variant, method, setting):
  return f"{attribute} {variant}, {method}" + (f", {setting}" if setting else "")


def _row(attribute, variant, name, setting="", baseline="", **overrides):
  score = f"score_alone_{attribute}"
  return Row(
    label=_label(attribute, variant, name, setting),
    config=f"{CONFIG}:{attribute}",
    overrides={"seeds": 5, "variant": variant, **overrides},
    metric="attack_auc",
    baseline=baseline,
    beside=(*BESIDE, score),
  )


def _game(attribute, variant, name, gammas, **overrides):
  return [_row(attribute, variant, name, f"gamma {g:g}", gamma=g, **overrides) for g in gammas]


def _main():
  """Variant B of limit_high: everything."""
  where = ("limit_high", "exclude")
  drop = _label(*where, "drop", "")
  rows = [_row("limit_high", "include", "raw", method="raw")]
  for method, strengths in BASELINES.items():
    for strength in strengths:
      setting = f"{strength:g}" if len(strengths) > 1 else ""
      baseline = "" if method == "drop" else drop
      rows.append(_row(*where, method, setting, baseline, method=method, strength=float(strength)))
  for latent in (4, 16):
    rows.append(_row(*where, "pca", f"width {latent}", drop, method="pca", latent=latent))
  rows.append(_row(*where, ALONE, "", drop, **WITHOUT_ADVERSARY))
  rows += _game(*where, PCAL, GAMMAS)
  rows += _game(*where, "GRL", GAMMAS[1:], **GRL)
  return rows


ABLATIONS = {  # each changes one thing of PCAL
  "one adversary": {"adversary.widths": ((64, 64),)},
  "no restarts": {"restart.every": 0},
  "mean of the ensemble": {"reduction": "mean"},
  "neg_entropy": {"loss": "neg_entropy"},
  "xent_uniform": {"loss": "xent_uniform"},
  "neg_xent": {"loss": "neg_xent"},
  "kbeam": {"loss": "kbeam", "adversary.widths": ((64, 64),) * 4},
  "kl_prior": {"loss": "kl_prior"},
  "noise 0.1": {"noise": 0.1},
  "noise 0.5": {"noise": 0.5},
  "noise 1": {"noise": 1.0},
  "width 2": {"latent": 2},
  "width 4": {"latent": 4},
  "width 16": {"latent": 16},
  "wide adversaries": {"adversary.widths": ((256, 256), (256, 256), (128, 128, 128), (512,))},
  "restarts every 250, 300 steps alone": {"restart.every": 250, "restart.steps": 300},
  "chosen on validation rows": {"select": "validation"},
  "6000 steps": {"steps": 6000},
}


def _ablations():
  base = _label("limit_high", "exclude", PCAL, "gamma 3")
  return [
    _row("limit_high", "exclude", f"{PCAL} {name}", "gamma 3", base, gamma=3.0, **change)
    for name, change in ABLATIONS.items()
  ]


def _secondary():
  rows = []
  for attribute, variant in (("limit_high", "include"), ("edu", "exclude"), ("age", "exclude")):
    where = (attribute, variant)
    plain = ("raw", "leace") if variant == "include" else ("drop", "pca", "leace")
    rows += [_row(*where, f"{m} (fast)", method=m, **SMALL) for m in plain]
    rows += [
      _row(*where, "gaussian_noise (fast)", f"{s:g}", method="gaussian_noise", strength=s, **SMALL)
      for s in (1.0, 2.0)
    ]
    rows += _game(*where, f"{PCAL} (fast)", (0.0, 1.0, 3.0), **SMALL)
    rows += _game(*where, "GRL (fast)", (1.0, 3.0), **GRL, **SMALL)
  return rows


def get_suite():
  return (*_main(), *_ablations(), *_secondary())


def finish(summaries, workdir):
  """The trade-off of each attribute and variant as figure, CSV and JSON; returns Markdown for the table."""
  groups = {}
  for row in get_suite():
    if row.label in summaries:
      where, method, *setting = row.label.split(", ", 2)
      family = (
        f"{PCAL} and its ablations, best"
        if method.startswith(f"{PCAL} ") and "fast" not in method
        else method
      )
      key = (family, f"{method} {' '.join(setting)}".strip())
      groups.setdefault(where, {})[key] = summaries[row.label]["metrics"]
  text = ""
  for where, entries in groups.items():
    points = front.points_of(entries)
    # The last family chooses among PCAL's own points, too.
    best = [p._replace(method=f"{PCAL} and its ablations, best") for p in points if p.method == PCAL]
    if best and any(p.method == best[0].method for p in points):
      points += best
    name = where.replace(" ", "_")
    front.figure(points, title=where).savefig(workdir / f"tradeoff_{name}.png", dpi=120)
    write_text(workdir / f"tradeoff_{name}.csv", front.comma_separated(points))
    facts = {"points": [_plain(p) for p in points], "bar": BAR, "utility_at": {}}
    for method, own in front.by_method(points).items():
      facts["utility_at"][method] = front.utility_at(own, BAR)
    write_text(workdir / f"tradeoff_{name}.json", json.dumps(facts, indent=1) + "\n")
    text += f"\n# {where}\n\n" + front.markdown(points, at=BAR)
  return text


def _plain(point):
  return {k: None if v != v else v for k, v in point._asdict().items()}
