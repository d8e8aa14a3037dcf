"""The audit finds what is there, by attackers not chosen on test rows, and says when it cannot know."""

import numpy as np
import pytest

from vita_jax import audit
from vita_jax.audit import Attacker, Options, Private, Target, attackers, findings, protocol, scores, text

N = 1200
RNG = np.random.default_rng(0)
A, S = RNG.choice([-1.0, 1.0], N), RNG.choice([-1.0, 1.0], N)
U = RNG.normal(size=N)
BINARY = ("0", "1")
PARTS = {"train": np.arange(600), "validation": np.arange(600, 900), "test": np.arange(900, N)}
FAST = Options(attackers="fast", n_jobs=1)


IS_S = (S > 0).astype(int)
QUESTION = audit.Question("classes", IS_S, BINARY)


def _hidden(z, values=IS_S, classes=BINARY, **more):
  return audit.audit(z, private={"s": Private(values, classes)}, parts=PARTS, options=FAST, **more)


@pytest.fixture(scope="module")
def exclusive_or():
  """z = (a, a s, u): no linear attacker finds s, all others do; the target is u > 0."""
  return _hidden(np.stack([A, A * S, U], 1), target=Target((U > 0).astype(int)))


def test_what_linear_attackers_do_not_see_is_reported(exclusive_or):
  found = exclusive_or["private"]["s"]
  by_family = {a["family"]: a["auc"] for a in found["attackers"]}
  assert by_family["logistic"] < 0.6
  assert min(by_family[f] for f in ("kNN", "boosting", "MLP")) > 0.98
  assert found["strongest"]["auc"] > 0.99 and found["strongest"]["advantage"] > 0.98
  assert found["information"]["nats"] > 0.9 * np.log(2)
  low, high = found["strongest"]["interval"]
  assert low <= found["strongest"]["auc"] <= high + 1e-9
  assert exclusive_or["utility"]["best"]["auc"] > 0.99 and not exclusive_or["collapsed"]
  assert found["few_labels"]["0.01"] is None  # six labels are too few to try
  assert found["score_alone"] < 0.6


def test_the_report_shows_both_sides_and_the_gap(exclusive_or):
  shown = text.markdown(exclusive_or, title="XOR", in_training={"s": 0.55})
  assert "not differential privacy" in shown and "reach 0.550; new attackers find 0.4" in shown
  assert "majority class" in shown and "Utility: AUC" in shown
  assert len(text.figure(exclusive_or, in_training={"s": 0.55}).axes) == 1


def test_a_tiny_scale_hides_nothing():
  z = 1e-4 * S[:, None] + 1e-7 * RNG.normal(size=(N, 1))
  assert _hidden(z)["private"]["s"]["strongest"]["auc"] > 0.999


def test_the_bayes_attack_on_a_gaussian():
  generator = np.random.default_rng(1)
  n = 6000
  s = generator.choice([-1.0, 1.0], n)
  z = np.stack([s + generator.normal(size=n), generator.normal(size=n)], 1)
  parts = dict(zip(("train", "validation", "test"), np.split(np.arange(n), [1500, 2500]), strict=True))
  found = audit.audit(z, private={"s": s > 0}, parts=parts, options=FAST)["private"]["s"]
  assert found["strongest"]["auc"] == pytest.approx(0.9214, abs=0.012)  # Phi(sqrt 2)


def test_wrong_more_often_than_right_is_no_privacy():
  """Decided on validation rows: right more often there and wrong on test rows is no leak."""
  wrong = np.stack([S > 0, S < 0], 1) * 0.8 + 0.1
  wrong[:: N // 20] = 0.5
  guesses = [wrong[PARTS[part]] for part in ("validation", "test")]
  found = findings.answer(QUESTION, [(Attacker("a", "MLP", None), guesses)], PARTS)["strongest"]
  assert found["auc"] > 0.9 and found["advantage"] > 0.8
  guesses[0] = guesses[0][:, ::-1]
  found = findings.answer(QUESTION, [(Attacker("a", "MLP", None), guesses)], PARTS)["strongest"]
  assert found["validation"] > 0.9 and found["auc"] < 0.1


def test_scores_are_scikit_learns():
  from sklearn import metrics

  score, label = np.round(RNG.random(400), 2), RNG.integers(0, 2, 400)
  found = scores.utility(score, label)
  assert found["auc"] == pytest.approx(metrics.roc_auc_score(label, score), abs=1e-12)
  assert found["average_precision"] == pytest.approx(metrics.average_precision_score(label, score), abs=1e-12)
  assert found["brier"] == pytest.approx(metrics.brier_score_loss(label, score), abs=1e-12)
  false, true, _ = metrics.roc_curve(label, score)
  assert found["ks"] == pytest.approx(np.max(np.abs(true - false)), abs=1e-12)


def test_gaps_and_what_base_rates_force():
  private, bad = np.repeat([0, 1], 500), np.zeros(1000, int)
  bad[:100] = bad[500:800] = 1
  found = scores.fairness(bad + 0.01 * np.arange(1000) / 1000, bad, private)
  assert found["base_rate_gap"] == pytest.approx(0.6 - 0.2)
  # 600 good ones are accepted, and the first 100 bad ones, which are all of class 0.
  assert found["demographic_parity_gap"] == pytest.approx(1.0 - 0.4)
  assert found["equal_opportunity_gap"] == 0.0


def test_continuous_and_many_classed_attributes():
  """R² of a value, and three classes in a circle that no threshold tells apart."""
  angle = RNG.uniform(0, 2 * np.pi, N)
  z = np.stack([np.cos(angle), np.sin(angle)], 1)
  private = {
    "angle": Private(np.sin(angle).astype(np.float32), ()),
    "third": Private((angle // (2 * np.pi / 3)).astype(int), ("a", "b", "c")),
  }
  found = audit.audit(z, private=private, parts=PARTS, options=FAST)["private"]
  assert found["angle"]["strongest"]["r2"] > 0.98 and found["angle"]["metric"] == "r2"
  assert found["third"]["strongest"]["auc"] > 0.97 and len(found["third"]["strongest"]["recalls"]) == 3


def test_a_collapsed_representation_is_flagged_with_both_numbers():
  target = Target((U > 0).astype(int))
  found = _hidden(np.zeros((N, 2)), target=target)
  assert found["collapsed"] and "COLLAPSED" in text.markdown(found, title="x")
  assert found["private"]["s"]["strongest"]["auc"] == pytest.approx(0.5, abs=0.01)
  assert found["utility"]["best"]["auc"] == pytest.approx(0.5, abs=0.01)


def test_the_strongest_is_chosen_without_test_labels():
  """Of one that is better on validation rows and one on test rows: the first, and the other is told."""
  labels = {part: IS_S[rows] for part, rows in PARTS.items()}

  def sure(y, right):
    return np.eye(2)[np.where(RNG.random(len(y)) < right, y, 1 - y)]

  each = [
    (Attacker(name, "MLP", None), (sure(labels["validation"], on_validation), sure(labels["test"], on_test)))
    for name, on_validation, on_test in (("lucky", 0.6, 0.95), ("chosen", 0.9, 0.8))
  ]
  found = findings.answer(QUESTION, each, PARTS)
  assert found["strongest"]["name"] == "chosen" and found["strongest"]["auc"] < 0.87
  assert found["largest_test"] > 0.9


@pytest.mark.parametrize("split", audit.SPLITS)
def test_attackers_never_know_the_rows_they_are_scored_on(split):
  options = Options(attacker_split=split, attacker_rows=100, test_rows=150)
  rows = audit.attacker_parts(PARTS, options)
  together = np.concatenate(list(rows.values()))
  assert len(np.unique(together)) == len(together)
  assert set(rows["test"]) <= set(PARTS["test"]) and len(rows["test"]) == 150 and len(rows["train"]) == 100
  learned_by_the_encoder = np.isin(rows["train"], PARTS["train"])
  assert learned_by_the_encoder.all() if split == "train" else not learned_by_the_encoder.any()


def test_faults_have_one_clear_line():
  z, values = np.stack([A, S], 1), (S > 0).astype(int)
  with pytest.raises(ValueError, match="in two of train, validation and test"):
    audit.audit(z, private={"s": values}, parts={**PARTS, "test": np.arange(890, N)}, options=FAST)
  with pytest.raises(ValueError, match="one class only among the train rows"):
    _hidden(z, np.where(np.arange(N) < 700, 0, 1))
  with pytest.raises(ValueError, match="has 9 rows of class '1'"):
    _hidden(z, (np.arange(N) < 9).astype(int))
  with pytest.raises(ValueError, match="'s' has 1 of 600 training rows in its rarest class"):
    _hidden(z, np.isin(np.arange(N), [0, *range(600, 700), *range(900, 950)]).astype(int))
  with pytest.raises(ValueError, match="'s' equals the target"):
    _hidden(z, values, target=Target(1 - values))
  with pytest.raises(ValueError, match="finite matrix"):
    _hidden(np.full((N, 1), np.nan))
  assert "40 test rows" in scores.small(np.zeros(40, int), 2)
  assert "a class with 3 test rows" in scores.small(np.repeat([0, 1], [200, 3]), 2)
  assert scores.small(np.repeat([0, 1], [200, 30]), 2) == ""
  labels, records = np.repeat([0, 1], [600, 24]), np.arange(624) // 6
  assert "a class with 4 test records" in scores.small(labels, 2, records)
  assert "40 test records" in scores.small(np.zeros(200, int), 2, np.arange(200) // 5)


def test_a_small_test_set_gives_its_reason_instead_of_an_interval():
  parts = {**PARTS, "test": PARTS["test"][:60]}
  found = audit.audit(A[:, None], private={"s": S > 0}, parts=parts, options=FAST)
  assert found["private"]["s"]["strongest"]["interval"] is None
  assert "no interval: 60 test rows, under 100" in text.markdown(found, title="x")


def test_few_labels_are_too_few_where_a_class_is_missing():
  """No attacker could take validation rows of a class that it never saw; wide inputs and few rows do fit."""
  rare = np.arange(N) % 60 == 0
  third = np.where(rare, 2, IS_S)
  z = np.concatenate([S[:, None] + 3.0 * rare[:, None], RNG.normal(size=(N, 45))], 1)
  strongest = {"name": "quadratic, C 0.01", "family": "quadratic", "validation": 1.0}
  found = {"s": {"attackers": [strongest]}}
  rows = {**PARTS, "train": PARTS["train"][:300]}
  for values, classes, tried in ((third, ("a", "b", "c"), False), (IS_S, BINARY, True)):
    asked = {"s": audit.questions(Private(values, classes), rows["train"])}
    protocol._add_fewer_labels(found, audit.rows.scale(z), asked, rows, Options(n_jobs=1))
    few = found["s"]["few_labels"]
    assert few["0.01"] is None and (few["0.1"] is not None) == tried


def test_all_attackers_of_the_protocol_are_there():
  families = {a.family for a in attackers("all", n_classes=2, width=8, n_rows=1000)}
  assert families == {"logistic", "quadratic", "kNN", "forest", "boosting", "kernel", "MLP"}
  names = [a.name for a in attackers("all", n_classes=2, width=8, n_rows=1000)]
  assert len(set(names)) == len(names) and sum(n.startswith("MLP") for n in names) == 9
  assert all(a.neighbours <= 75 for a in attackers("all", n_classes=2, width=8, n_rows=150))
