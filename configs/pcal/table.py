"""The results table of PCAL: the game at seven gammas, every baseline, trials, and the trade-off figures.

  python launch/table.py --suite=configs/pcal/table.py --workdir=runs/pcal_table

Hardware and time: two CPU cores, about three hours, 2 GB; half of the time for "limit_high exclude,": there
a row that trains takes about three minutes with its five full audits, another one to two.
--rows=REGEX picks rows, e.g. "^limit_high exclude,"; --seeds=N shortens; the same command
goes on where it was stopped. Beside the strongest new attacker's AUC: utility AUC, boosting as attacker, the
adversaries of training (always too good), what the utility score alone gives away. tradeoff_*.png, .csv and
.json have the fronts, whose points are chosen by validation rows.

"limit_high exclude" (variant B: its column left out) has all attackers on all rows and 5 seeds. What ends in
"fast" has four attackers on 8,000 rows and 3 seeds: variant A, the attributes edu and age, and `TRIALS`, from
which the settings of PCAL in papers/pcal/recipe.py were chosen, on validation rows.

In every group `raw` is the ceiling of utility, `score` what no encoder that keeps the score can hide,
`equalised_score` what one may hope for. The paper's numbers are not known.
"""

import functools
import json
from typing import NamedTuple

from vita_jax.audit import fronts
from vita_jax.base.files import write_text
from vita_jax.report.pictures import save_figure
from vita_jax.report.suite import Row

CONFIG = "configs/pcal/taiwan.py"
GAMMAS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
BESIDE = ("utility_auc", "attack_auc_boosting", "in_training_auc", "collapsed")
BAR = 0.68  # AUC of the strongest attacker at which methods are compared
FAST = {"seeds": 3, "audit.attackers": "fast", "audit.attacker_rows": 8000, "audit.test_rows": 4000}
PLAIN = {"dropout": 0.0, "noise": 0.0}
ALONE = {"adversary.widths": ((64, 64),), "restart.every": 0}
REFERENCES = ("raw", "score", "equalised_score")  # no competitors
BASELINES = {  # method -> strengths
  "drop": (0.0,),
  "drop_proxies": (0.6, 0.7),
  "random_projection": (0.0,),
  "gaussian_noise": (0.5, 1.0, 2.0, 4.0),
  "local_dp": (1.0, 10.0, 50.0),
  "binning": (2.0, 4.0),
  "inlp": (8.0,),
  "leace": (0.0,),
  "autoencoder": (0.0,),
}
PCAL = "PCAL"
PRECURSOR = {"loss": "auto"}  # neg_entropy where classes are as equal as here
TRIALS = {  # what PCAL's settings were chosen among: changes of the game with neither dropout nor noise
  "neither": ({}, (1.0, 3.0, 10.0)),
  "neg_entropy": (PRECURSOR, (1.0, 3.0, 10.0)),
  "neg_entropy, mean of the ensemble": ({**PRECURSOR, "reduction": "mean"}, (3.0,)),
  "xent_uniform": ({"loss": "xent_uniform"}, (3.0,)),
  "kl_prior": ({"loss": "kl_prior"}, (3.0,)),
  "kbeam": ({"loss": "kbeam", "adversary.widths": ((64, 64),) * 4}, (3.0,)),
  "one adversary": ({"adversary.widths": ((64, 64),)}, (3.0,)),
  "wide adversaries": ({"adversary.widths": ((256, 256), (256, 256), (128, 128, 128), (512,))}, (3.0,)),
  "no restarts": ({"restart.every": 0}, (3.0,)),
  "restarts every 250, 300 steps alone": ({"restart.every": 250, "restart.steps": 300}, (3.0,)),
  "chosen on validation rows": ({"select": "validation"}, (3.0,)),
  "1000 steps": ({"steps": 1000, "restart.every": 250}, (1.0, 3.0)),
  "6000 steps": ({"steps": 6000}, (3.0,)),
  "rate 3e-4": ({"learning_rate": 3e-4}, (1.0, 3.0)),
  "noise 0.5": ({"noise": 0.5}, (1.0, 3.0)),
  "noise 1": ({"noise": 1.0}, (1.0, 3.0)),
  "dropout 0.2": ({"dropout": 0.2}, (3.0,)),
  "dropout 0.5": ({"dropout": 0.5}, (1.0, 3.0)),
  "width 4": ({"latent": 4}, (3.0,)),
  "width 16": ({"latent": 16}, (3.0,)),
}


class Group(NamedTuple):
  """Rows that may be compared: one attribute, variant and protocol of audit ("" or "fast")."""

  attribute: str
  variant: str
  protocol: str = ""

  @property
  def name(self):
    return " ".join(filter(None, self))

  def label(self, method, setting=""):
    return ", ".join(filter(None, (self.name, method, setting)))

  def row(self, name, setting="", *, baseline="", **overrides):
    score = f"score_alone_{self.attribute}"
    return Row(
      label=self.label(name, setting),
      config=f"{CONFIG}:{self.attribute}",
      overrides={"seeds": 5, "variant": self.variant, **(FAST if self.protocol else {}), **overrides},
      metric="attack_auc",
      baseline=baseline,
      beside=(*BESIDE, score),
    )

  def references(self):
    return [self.row(m, method=m, **({"variant": "include"} if m == "raw" else {})) for m in REFERENCES]

  def baselines(self, method, strengths, **more):
    named = len(strengths) > 1
    each = ((f"{s:g}" if named else "", s) for s in strengths)
    more |= PLAIN if method == "autoencoder" else {}
    return [self.row(method, setting, method=method, strength=s, **more) for setting, s in each]

  def games(self, name, gammas, **more):
    return [self.row(name, f"gamma {g:g}", gamma=g, **more) for g in gammas]


MAIN, FAST_MAIN = Group("limit_high", "exclude"), Group("limit_high", "exclude", "fast")


def _main():
  drop = MAIN.label("drop")
  rows = MAIN.references()
  for method, strengths in BASELINES.items():
    rows += MAIN.baselines(method, strengths, baseline="" if method == "drop" else drop)
  rows += [MAIN.row("pca", f"width {m}", baseline=drop, method="pca", latent=m) for m in (4, 8)]
  rows += [MAIN.row("encoder without adversary", baseline=drop, gamma=0.0, noise=0.0)]
  rows += MAIN.games(PCAL, GAMMAS, baseline=drop)
  rows += MAIN.games(f"{PCAL} neg_entropy", (1.0, 3.0, 10.0), baseline=drop, **PRECURSOR)
  rows += MAIN.games("GRL", GAMMAS[1:-1], baseline=drop, **ALONE, **PLAIN)
  return rows + MAIN.games("GRL with dropout and noise", GAMMAS[1:-2], baseline=drop, **ALONE)


def _trials():
  base = FAST_MAIN.label(PCAL, "gamma 3")
  rows = FAST_MAIN.references() + FAST_MAIN.games(PCAL, (1.0, 3.0))
  for name, (change, gammas) in TRIALS.items():
    rows += FAST_MAIN.games(f"{PCAL}: {name}", gammas, baseline=base, **{**PLAIN, **change})
  return rows


def _secondary():
  rows = []
  for attribute, variant in (("limit_high", "include"), ("edu", "exclude"), ("age", "exclude")):
    group = Group(attribute, variant, "fast")
    rows += group.references()
    for method in ("leace",) if variant == "include" else ("drop", "pca", "leace"):
      rows += group.baselines(method, (0.0,))
    rows += group.baselines("gaussian_noise", (1.0, 2.0))
    rows += group.games(PCAL, (0.0, 1.0, 3.0))
    rows += group.games("GRL", (1.0, 3.0), **ALONE, **PLAIN)
  return rows


def get_suite():
  return (*_main(), *_trials(), *_secondary())


def finish(summaries, workdir):
  """Each group's trade-off as figure, CSV and JSON, and whether the bar is met; Markdown for the table."""
  groups, text = {}, ""
  for row in get_suite():
    if row.label in summaries:
      where, method, *setting = row.label.split(", ", 2)
      entries = groups.setdefault(where, {})
      entries[method, " ".join(setting)] = summaries[row.label]["metrics"]
  for where, entries in groups.items():
    points = fronts.points_of(entries)
    trials = [p for p in points if p.method.startswith(f"{PCAL}:")]
    points = [p for p in points if p not in trials]
    text += f"\n# {where}\n\n" + (fronts.markdown(points, at=BAR) if points else "")
    if trials:
      text += "\n" + fronts.gains(trials, [p for p in points if p.method == PCAL])
      points += [p._replace(method=f"{PCAL}, trials") for p in trials]
    rivals = [p for p in points if p.method not in REFERENCES]
    for ours in (PCAL, f"{PCAL} neg_entropy"):
      if where == MAIN.name and any(p.method == ours for p in points):
        text += "\n" + fronts.bar(
          rivals, ours, at=BAR, boosted=("leace", "GRL", "GRL with dropout and noise")
        )
    name = where.replace(" ", "_")
    save_figure(workdir / f"tradeoff_{name}.png", functools.partial(fronts.figure, points, title=where))
    write_text(workdir / f"tradeoff_{name}.csv", fronts.comma_separated(points))
    at_bar = {method: fronts.utility_at(own, BAR) for method, own in fronts.by_method(points).items()}
    facts = {"points": [fronts.plain(p) for p in points], "bar": BAR, "utility_at": at_bar}
    write_text(workdir / f"tradeoff_{name}.json", json.dumps(facts, indent=1) + "\n")
  return text
