"""The search for the settings of configs/asg/table.py, by held-out synthetic pictures: one seed, 47 runs.

  python launch/table.py --suite=configs/asg/table_search.py --workdir=runs/asg_search \\
    --results=results/asg/table_search.jsonl

One rate for all methods, the strength of the proxy, and those of what else holds a student. Candidates are
compared by their accuracy on the styles of emoji, or fonts, that are held out; no real picture chooses. Of
strengths within one standard error of the best, the one with the smallest L_KL is taken, so the strongest
that costs nothing. The rate of `SMALL` stays unless another one is better by more than a standard error. The
end of table.md says what is chosen: put rates into `SMALL` of the config, the rest into TUNED of table.py.
Strengths are searched at the rate of `SMALL`: where another one is chosen, search them again, in another
workdir (--rows="proxy|l2|synaptic"). The seed is none of the table's.
Pictures are many, but renderings of 41 drawings, or of six faces: an accuracy is less certain than the
standard error of the rule, which leaves that out.
Hardware and time: two CPU cores; 3 hours of one of them, beside other work. Memory: 4 GB.
"""

import math

from vita_jax.report.suite import Row

METRIC, LOSS = "synthetic_mean_class_accuracy", "kl"
SEED = 100
HELD_OUT = 1000  # pictures: data.held_out of both configs
# By data: rates, and method -> strengths of its term. At a tenth of the rate the pretrained layers have 1e-4
# to 5e-4, where a pilot on emoji was stable; at 2e-3 they forgot, so that no larger rate is tried.
RATES = {"emoji": (1e-3, 2e-3, 5e-3), "fonts": (0.01, 0.02, 0.05, 0.1)}
AT = {"emoji": 5e-3, "fonts": 0.05}  # the rate of `SMALL`, at which strengths are searched
RATED = ("source_only", "backbone_x01", "random_policy")
STRENGTHS = {
  "emoji": {
    "proxy": (0.1, 0.3, 1.0),
    "l2_sp": (0.1, 1.0, 10.0),
    "feature_l2": (1.0, 10.0, 100.0),
    "synaptic": (1e3, 1e4, 1e5),
  },
  "fonts": {
    "proxy": (0.3, 1.0, 3.0, 10.0, 30.0),
    "l2_sp": (0.01, 0.1, 1.0),
    "feature_l2": (1.0, 10.0, 100.0),
    "synaptic": (1.0, 100.0, 1e4),
  },
}


def _candidates():
  """(label, data, method, changes), label "data: what, value"."""
  for data, rates in RATES.items():
    for method in RATED:
      for rate in rates:
        yield f"{data}: rate of {method}, {rate:g}", data, method, {"finetune.rate": rate}
    for method, strengths in STRENGTHS[data].items():
      key = "proxy.weight" if method == "proxy" else "anchor.weight"
      for strength in strengths:
        yield f"{data}: {method}, {strength:g}", data, method, {key: strength}


def get_suite():
  return tuple(
    Row(label, f"configs/asg/{data}.py:{method}", {"seed": SEED, **changes}, metric=METRIC, beside=(LOSS,))
    for label, data, method, changes in _candidates()
  )


def finish(summaries, workdir):
  """Says what is chosen, where all candidates of a group are there."""
  del workdir
  groups: dict[str, list[str]] = {}
  for label, *_ in _candidates():
    groups.setdefault(label.rpartition(", ")[0], []).append(label)
  found = {
    group: {label.rpartition(", ")[2]: _scores(summaries[label]) for label in labels}
    for group, labels in groups.items()
    if set(labels) <= summaries.keys()
  }
  strengths = {group: scores for group, scores in found.items() if "rate of" not in group}
  lines = []
  for group, scores in strengths.items():
    name = chosen(scores)
    lines.append(f"- {group}: {name}" + (", the largest tried" if name == max(scores, key=float) else ""))
  for data, rates in RATES.items():
    rated = [found[name] for method in RATED if (name := f"{data}: rate of {method}") in found]
    if len(rated) == len(RATED):
      means = {r: sum(scores[f"{r:g}"][0] for scores in rated) / len(rated) for r in rates}
      best, stays = max(means, key=means.__getitem__), AT[data]
      if means[best] - means[stays] > standard_error(means[best]):
        stays = best
        lines.append(f"- {data}: strengths were searched at {AT[data]:g}: search them again")
      shown = ", ".join(f"{rate:g}: {mean:.4f}" for rate, mean in means.items())
      lines.append(f"- {data}: rate {stays:g} (means of {', '.join(RATED)}: {shown})")
  return "\n".join(["", "## Chosen", "", *lines, ""]) if lines else ""


def _scores(summary):
  accuracy, loss = (summary["metrics"][name]["mean"] for name in (METRIC, LOSS))
  return (-1.0 if accuracy is None else accuracy), (math.inf if loss is None else loss)


def chosen(scores):
  """Returns the candidate of smallest L_KL of those within a standard error of the most accurate.

  Args:
    scores: candidate -> (accuracy, L_KL).
  """
  best = max(accuracy for accuracy, _ in scores.values())
  near = {n: loss for n, (accuracy, loss) in scores.items() if accuracy >= best - standard_error(best)}
  return min(near, key=near.__getitem__)


def standard_error(accuracy):
  """Of an accuracy on so many pictures; with two right and two wrong ones more, or it were 0 at 1."""
  p = (accuracy * HELD_OUT + 2) / (HELD_OUT + 4)
  return math.sqrt(max(p * (1 - p), 0.0) / HELD_OUT)
