"""Audits of representations: what attackers still find of private attributes, and what use is left.

    from vita_jax import audit

    found = audit.audit(z, private={"sex": sex, "age": age}, target=default)
    print(audit.markdown(found, title="My encoder"))

An audit is an empirical bound over the attackers that were tried. It is no differential privacy.
"""

from vita_jax._lazy import submodules
from vita_jax.audit.attackers import KINDS, Attacker, Rows, attackers, run_all, run_one
from vita_jax.audit.baselines import BASELINES, REFERENCES, Settings, Training, equalised, utility_score
from vita_jax.audit.erasure import Affine, inlp, leace
from vita_jax.audit.files import read_column, read_labels, read_matrix, read_split
from vita_jax.audit.fronts import Point, bar, gains, leak_at, pareto, points_of, utility_at
from vita_jax.audit.labels import Private, Target, as_private, as_target, check_label
from vita_jax.audit.protocol import SPLITS, VERSION, Options, attacker_parts, audit
from vita_jax.audit.questions import Question, questions
from vita_jax.audit.scores import attack, fairness, utility
from vita_jax.audit.summary import numbers
from vita_jax.audit.text import CAVEAT, figure, headlines, markdown

__all__ = [
  "BASELINES",
  "CAVEAT",
  "KINDS",
  "REFERENCES",
  "SPLITS",
  "Affine",
  "Attacker",
  "Options",
  "Point",
  "Private",
  "Question",
  "Rows",
  "Settings",
  "Target",
  "Training",
  "VERSION",
  "as_private",
  "as_target",
  "attack",
  "attacker_parts",
  "attackers",
  "audit",
  "bar",
  "check_label",
  "equalised",
  "fairness",
  "figure",
  "gains",
  "headlines",
  "inlp",
  "leace",
  "leak_at",
  "markdown",
  "numbers",
  "pareto",
  "points_of",
  "questions",
  "read_column",
  "read_labels",
  "read_matrix",
  "read_split",
  "run_all",
  "run_one",
  "utility",
  "utility_at",
  "utility_score",
]

__getattr__, __dir__ = submodules(__name__)
