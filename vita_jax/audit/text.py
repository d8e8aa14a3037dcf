"""An audit as Markdown and as a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vita_jax.audit.rows import LARGEST_GROUP
from vita_jax.audit.scores import USELESS

CAVEAT = (
  "An empirical bound over the attackers tried, on these rows. It is not differential privacy, it does not"
  " bound attackers that were not tried, and it says nothing of membership."
)

CLEAR = 0.005  # a difference that is told


def markdown(audit: Mapping[str, Any], *, title: str, in_training: Mapping[str, float] | None = None) -> str:
  """Writes an audit as Markdown.

  Args:
    audit: from `audit`.
    in_training: attribute -> AUC that the adversaries of training reach on test rows.
  """
  lines = [f"# {title}", "", CAVEAT, ""]
  if audit["collapsed"]:
    lines += [
      f"**COLLAPSED**: {_collapse(audit)}; its privacy is worth nothing.",
      "",
    ]
  rows = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in audit["rows"].items())
  lines += [f"Representation of width {audit['width']}; rows: {rows}. Protocol {audit['version']}.", ""]
  lines += [_same_records(audit["same_records"]), ""]
  if "utility" in audit:
    lines += _utility(audit["utility"])
  for name, found in audit["private"].items():
    lines += _private(_headline(name, found, audit["same_records"]), found, (in_training or {}).get(name))
  return "\n".join(lines) + "\n"


def headlines(audit: Mapping[str, Any]) -> list[str]:
  """Returns the lines that matter most: which rows are one record, what use is left, what is found."""
  shown = [f"COLLAPSED: {_collapse(audit)}"] if audit["collapsed"] else []
  if "utility" in audit:
    shown.append(_utility(audit["utility"])[0][3:])
  same = audit["same_records"]
  if same["by"] != "equal rows" or same["rows"] or same["rows_apart"]:
    shown.append(_same_records(same))
  return shown + [_headline(name, found, same) for name, found in audit["private"].items()]


def _collapse(audit: Mapping[str, Any]) -> str:
  """Says in what way a representation is worth nothing."""
  if "utility" in audit and audit["utility"]["best"]["auc"] < USELESS:
    return "the representation no longer tells the target"
  return "nothing in the representation varies"


def _same_records(same: Mapping[str, Any]) -> str:
  """Says which rows counted as one record."""
  left = f" {same['left_out']} rows were left out of the later part." if same["left_out"] else ""
  if same["by"] == "groups":
    return f"Rows of one of the given groups are on one side of the split: {same['groups']} groups.{left}"
  if same["by"] == "nothing":
    return (
      "Every row counts as a record of its own, equal ones too: attackers may know the rows they are asked."
    )
  text = (
    "Equal and nearly equal rows (standardised, closer than 1e-6) are on one side of the split:"
    f" {same['rows']} rows in {same['groups']} groups.{left}"
  )
  if same["largest"] > LARGEST_GROUP:
    text += (
      f" The largest has {same['largest']} rows; if equal rows are different records, see --duplicates=apart."
    )
  if same["rows_apart"]:
    text += (
      f" {same['rows_apart']} rows are equal to so many others that they count as values, not as records."
    )
  return text


def _upper(same: Mapping[str, Any]) -> str:
  """Says of what was found that attackers may know the records they are asked, "" where they cannot."""
  if not same["rows_apart"]:
    return ""
  return f" (an upper figure: {same['rows_apart']} equal rows may be on both sides; name records by --groups)"


def _bracket(entry: Mapping[str, Any], key: str) -> str:
  value = f"{entry[key]:.3f}"
  if entry["interval"]:
    return f"{value} [{entry['interval'][0]:.3f}, {entry['interval'][1]:.3f}]"
  return f"{value} (no interval: {entry['no_interval']})"


def _utility(utility: Mapping[str, Any]) -> list[str]:
  best = utility["best"]
  lines = [
    f"## Utility: AUC {_bracket(best, 'auc')}, {best['name']} (chosen on validation rows)",
    "",
    f"Accuracy at 0.5 {best['accuracy']:.3f} (majority class {best['majority_rate']:.3f}),"
    f" average precision {best['average_precision']:.3f}, KS {best['ks']:.3f}, Brier {best['brier']:.3f},"
    f" bad rate at 70 % acceptance {best['bad_rate_at_70']:.3f}.",
    "",
    "| model | AUC on validation rows | AUC on test rows |",
    "|---|---|---|",
  ]
  each = (f"| {m['name']} | {m['validation']:.3f} | {m['auc']:.3f} |" for m in utility["models"])
  return [*lines, *each, ""]


def _headline(name: str, found: Mapping[str, Any], same: Mapping[str, Any]) -> str:
  if found["metric"] == "auc":
    return f"{name}: strongest attacker {_of_classes(found, 'class')}{_upper(same)}"
  strongest = found["strongest"]
  line = f"{name}: strongest attacker R² {_bracket(strongest, 'r2')}, {strongest['name']}"
  if rank := found.get("rank"):
    line += f"; of its rank R² {_bracket(rank['strongest'], 'r2')}, {rank['strongest']['name']}"
  if bins := found.get("bins"):
    line += f"; of its bin {_of_classes(bins, 'bin')}"
  return line + _upper(same)


def _of_classes(found: Mapping[str, Any], what: str) -> str:
  strongest = found["strongest"]
  line = f"AUC {_bracket(strongest, 'auc')}"
  if strongest["auc"] < 0.5:
    line += " (below chance: what validation rows suggested is not there)"
  if (n := len(found["classes"])) == 2:
    return f"{line}, {strongest['name']}"
  worst = found["worst_class"]
  line += f" in the mean of {n}, {strongest['name']}"
  return f"{line}; worst {what} '{worst['class']}' AUC {_bracket(worst, 'auc')}, {worst['name']}"


def _private(headline: str, found: Mapping[str, Any], in_training: float | None) -> list[str]:
  strongest, key = found["strongest"], found["metric"]
  shown = {"auc": "AUC", "r2": "R²"}[key]
  lines = [
    f"## {headline}",
    "",
    f"Chosen on validation rows; the largest {shown} of any attacker on test rows is"
    f" {found['largest_test']:.3f}.",
  ]
  if in_training is not None:
    lines.append(_beside_training(strongest[key], in_training))
  if found.get("score_alone") is not None:
    lines.append(f"The utility score alone, itself one of the attackers, reaches {found['score_alone']:.3f}.")
  if key == "auc":
    lines.append(
      f"Advantage {strongest['advantage']:.3f}; accuracy {strongest['accuracy']:.3f} (majority class"
      f" {strongest['majority_rate']:.3f}), balanced {strongest['balanced_accuracy']:.3f};"
      f" {_information(found['information'])}."
    )
  few = {k: v for k, v in found["few_labels"].items() if v is not None}
  if few:
    lines.append("With fewer labels: " + ", ".join(f"{float(k):.0%} {v:.3f}" for k, v in few.items()) + ".")
  if "fairness" in found:
    gaps = ", ".join(f"{k.replace('_', ' ')} {v:.3f}" for k, v in found["fairness"].items())
    lines.append(f"At 70 % acceptance: {gaps}.")
  for what, one in (("class", found), ("bin", found.get("bins") or {})):
    if one.get("each_class"):
      each = ", ".join(f"{c['class']} {c['auc']:.3f}" for c in one["each_class"] if c["auc"] is not None)
      lines.append(f"Each {what} against the others, by the attacker chosen for it, AUC: {each}.")
  lines += ["", f"| attacker | {shown} on validation rows | {shown} on test rows |", "|---|---|---|"]
  ordered = sorted(found["attackers"], key=lambda a: -a["validation"])
  return [*lines, *(f"| {a['name']} | {a['validation']:.3f} | {a[key]:.3f} |" for a in ordered), ""]


def _information(told: Mapping[str, Any]) -> str:
  if told["nats"] <= 0:
    return f"no information is shown ({told['nats']:.3f} nats by {told['name']})"
  bounds = f" [{told['interval'][0]:.3f}, {told['interval'][1]:.3f}]" if told["interval"] else ""
  return f"at least {told['nats']:.3f}{bounds} nats of information ({told['name']})"


def _beside_training(strongest: float, in_training: float) -> str:
  """Says how the adversaries of training compare; one that is stronger is an attacker like any other."""
  difference = strongest - in_training
  line = f"The adversaries of training reach {in_training:.3f}"
  if difference >= CLEAR:
    return f"{line}; new attackers find {difference:.3f} more."
  if difference <= -CLEAR:
    return f"{line}, more than the strongest new attacker: the leak is at least that."
  return f"{line}, as much as new attackers."


def figure(audit: Mapping[str, Any], *, in_training: Mapping[str, float] | None = None) -> Any:
  """Draws every attacker's test score per attribute, the strongest with its interval: a matplotlib Figure."""
  from matplotlib.figure import Figure

  training = in_training or {}
  panels = dict(audit["private"])
  panels |= {f"{name}, in bins": one["bins"] for name, one in audit["private"].items() if one.get("bins")}
  most = max(len(found["attackers"]) for found in panels.values())
  drawing = Figure(figsize=(5.2 * len(panels), 1.4 + 0.19 * most), layout="constrained")
  for i, (name, found) in enumerate(panels.items()):
    axes, key = drawing.add_subplot(1, len(panels), i + 1), found["metric"]
    ordered = sorted(found["attackers"], key=lambda a: a["validation"])
    axes.plot([a[key] for a in ordered], range(len(ordered)), "o", ms=4, label="new attackers, test rows")
    axes.plot(
      [a["validation"] for a in ordered], range(len(ordered)), "|", color="0.5", label="validation rows"
    )
    if bounds := found["strongest"]["interval"]:
      axes.plot(bounds, [len(ordered) - 1] * 2, color="C0", lw=1)
    if name in training:
      axes.axvline(training[name], color="C3", ls="--", label="adversaries of training")
    axes.axvline(0.5 if key == "auc" else 0.0, color="0.8", zorder=0)
    axes.set_yticks(range(len(ordered)), [a["name"] for a in ordered], fontsize=6)
    axes.set(xlabel="AUC" if key == "auc" else "R²", title=name)
    axes.legend(frameon=False, fontsize=6)
  return drawing
