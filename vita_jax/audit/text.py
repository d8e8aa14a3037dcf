"""An audit as Markdown and as a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CAVEAT = (
  "An empirical bound over the attackers tried, on these rows. It is not differential privacy, it does not"
  " bound attackers that were not tried, and it says nothing of membership."
)


def markdown(audit: Mapping[str, Any], *, title: str, in_training: Mapping[str, float] | None = None) -> str:
  """Writes an audit as Markdown.

  Args:
    audit: from `audit`.
    in_training: attribute -> AUC that the adversaries of training reach on test rows: always too good.
  """
  lines = [f"# {title}", "", CAVEAT, ""]
  if audit["collapsed"]:
    lines += [
      "**COLLAPSED**: the representation no longer tells the target; its privacy is worth nothing.",
      "",
    ]
  rows = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in audit["rows"].items())
  lines += [f"Representation of width {audit['width']}; rows: {rows}.", ""]
  if "utility" in audit:
    lines += _utility(audit["utility"])
  for name, found in audit["private"].items():
    lines += _private(name, found, (in_training or {}).get(name))
  return "\n".join(lines) + "\n"


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


def _private(name: str, found: Mapping[str, Any], in_training: float | None) -> list[str]:
  strongest, key = found["strongest"], found["metric"]
  shown = {"auc": "AUC", "r2": "R²"}[key]
  lines = [
    f"## {name}: strongest attacker {shown} {_bracket(strongest, key)}, {strongest['name']}",
    "",
    f"Chosen on validation rows; the largest {shown} of any attacker on test rows is"
    f" {found['largest_test']:.3f}.",
  ]
  if in_training is not None:
    lines.append(
      f"The adversaries of training reach {in_training:.3f}: a gap of {strongest[key] - in_training:+.3f}"
      " that only new attackers show."
    )
  if found.get("score_alone") is not None:
    lines.append(f"The utility score alone gives {found['score_alone']:.3f} away.")
  if key == "auc":
    told = found["information"]
    bounds = f" [{told['interval'][0]:.3f}, {told['interval'][1]:.3f}]" if told["interval"] else ""
    lines.append(
      f"Advantage {strongest['advantage']:.3f}; accuracy {strongest['accuracy']:.3f} (majority class"
      f" {strongest['majority_rate']:.3f}), balanced {strongest['balanced_accuracy']:.3f}; at least"
      f" {told['nats']:.3f}{bounds} nats of information ({told['name']})."
    )
  few = {k: v for k, v in found["few_labels"].items() if v is not None}
  if few:
    lines.append("With fewer labels: " + ", ".join(f"{float(k):.0%} {v:.3f}" for k, v in few.items()) + ".")
  if "fairness" in found:
    gaps = ", ".join(f"{k.replace('_', ' ')} {v:.3f}" for k, v in found["fairness"].items())
    lines.append(f"At 70 % acceptance: {gaps}.")
  lines += ["", f"| attacker | {shown} on validation rows | {shown} on test rows |", "|---|---|---|"]
  ordered = sorted(found["attackers"], key=lambda a: -a["validation"])
  return [*lines, *(f"| {a['name']} | {a['validation']:.3f} | {a[key]:.3f} |" for a in ordered), ""]


def figure(audit: Mapping[str, Any], *, in_training: Mapping[str, float] | None = None) -> Any:
  """Draws every attacker's test score per attribute, the strongest with its interval: a matplotlib Figure."""
  from matplotlib.figure import Figure

  panels = audit["private"]
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
    if name in (in_training or {}):
      axes.axvline(in_training[name], color="C3", ls="--", label="adversaries of training")
    axes.axvline(0.5 if key == "auc" else 0.0, color="0.8", zorder=0)
    axes.set_yticks(range(len(ordered)), [a["name"] for a in ordered], fontsize=6)
    axes.set(xlabel="AUC" if key == "auc" else "R²", title=name)
    axes.legend(frameon=False, fontsize=6)
  return drawing
