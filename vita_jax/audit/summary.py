"""An audit as flat metrics, for summaries, tables and fronts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def numbers(found: Mapping[str, Any], *, in_training: Mapping[str, float] | None = None) -> dict[str, float]:
  """Flattens an audit to metrics: utility, and what is found per attribute; `attack_auc` is the worst.

  Names that start with `validation_` are what models and settings may be chosen by.

  Args:
    found: from `audit`.
    in_training: attribute -> AUC that the adversaries of training reach on test rows, if there were any.
  """
  training, values = in_training or {}, _of_utility(found["utility"]) if "utility" in found else {}
  for name, one in found["private"].items():
    values |= _of_attribute(name, one)
    if name in training:
      values[f"in_training_auc_{name}"] = training[name]
  areas = {name: told for name, one in found["private"].items() if (told := _as_classes(one))}
  if areas:
    worst = max(areas, key=lambda name: areas[name]["strongest"]["validation"])
    told = areas[worst]
    values["attack_auc"] = told["strongest"]["auc"]
    values["validation_attack_auc"] = told["strongest"]["validation"]
    classes = [one["worst_class"] for one in areas.values()]
    values["attack_auc_worst_class"] = max(classes, key=lambda one: one["validation"])["auc"]
    values["attack_auc_boosting"] = _of_family(told, "boosting", "auc")
    if worst in training:
      values["in_training_auc"] = training[worst]
  values["collapsed"] = float(found["collapsed"])
  return values


def _of_utility(utility: Mapping[str, Any]) -> dict[str, float]:
  best = utility["best"]
  values = {
    "utility_auc": best["auc"],
    "validation_utility_auc": best["validation"],
    **{f"utility_{k}": best[k] for k in ("accuracy", "majority_rate", "average_precision", "ks", "brier")},
    "utility_bad_rate_at_70": best["bad_rate_at_70"],
  }
  for model in utility["models"]:
    values[f"utility_auc_{_plain(model['name'])}"] = model["auc"]
  return values


def _as_classes(found: Mapping[str, Any]) -> Mapping[str, Any]:
  """What was found of the classes of an attribute, or of the bins of a continuous one."""
  return found if found["metric"] == "auc" else found.get("bins") or {}


def _of_family(found: Mapping[str, Any], family: str, key: str) -> float:
  """The test score of a family's attacker, the strongest on validation rows."""
  members = [a for a in found["attackers"] if a["family"] == family]
  return max(members, key=lambda a: a["validation"])[key]


def _of_attribute(name: str, found: Mapping[str, Any]) -> dict[str, float]:
  strongest, key, end = found["strongest"], found["metric"], f"_{name}"
  values = {
    f"attack_{key}{end}": strongest[key],
    f"validation_attack_{key}{end}": strongest["validation"],
    f"largest_attack_{key}{end}": found["largest_test"],
  }
  for family in dict.fromkeys(a["family"] for a in found["attackers"] if a["family"] != "score"):
    values[f"attack_{key}_{_plain(family)}{end}"] = _of_family(found, family, key)
  if found.get("score_alone") is not None:
    values[f"score_alone{end}"] = found["score_alone"]
  if key == "auc":
    names = ("advantage", "balanced_accuracy", "majority_rate")
    values |= {f"attack_{k}{end}": strongest[k] for k in names}
    values[f"information_nats{end}"] = found["information"]["nats"]
    values |= {f"{k}{end}": v for k, v in found.get("fairness", {}).items()}
  else:
    values[f"attack_r2_rank{end}"] = found["rank"]["strongest"]["r2"]
  if told := _as_classes(found):
    if len(told["classes"]) > 2:
      values[f"attack_auc_worst_class{end}"] = told["worst_class"]["auc"]
    if key != "auc":
      values[f"attack_auc_bins{end}"] = told["strongest"]["auc"]
  return values


def _plain(name: str) -> str:
  return "_".join("".join(c if c.isalnum() else " " for c in name.lower()).split())
