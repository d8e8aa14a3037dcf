"""Importing is cheap, and goes one way: papers stand on the rest, never the other way round."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from launch.commands import ROOT, environment

HEAVY = (
  "tensorflow",
  "torch",
  "transformers",
  "sklearn",
  "matplotlib",
  "pymetis",
  "grain",
  "tokenizers",
  "safetensors",
)
PACKAGE = ROOT / "vita_jax"
ENGINE = ("train", "cli", "help.py")
# What shared code may import of ours, beside itself; papers, cli and launch may import all of it.
FLOORS = {
  "base": (),
  "metrics": ("base",),
  "losses": ("base", "metrics"),
  "pose": ("base", "metrics"),
  "data": ("base", "metrics", "pose"),
  "nn": ("base", "data", "losses", "metrics"),
  "optim": ("base", "data", "losses", "metrics", "nn", "report"),
  "search": ("base", "losses", "metrics", "nn"),
  "compress": ("base", "data", "nn", "metrics"),
  "report": ("base", "metrics", "pose"),
  "attacks": ("base", "data", "losses", "nn"),
  "audit": ("base", "data", "metrics", "losses", "nn", "report"),
  "render": ("base", "data"),
  "hands": ("base", "data", "metrics", "nn", "pose", "render"),
  "train": ("base", "data", "metrics", "report"),
}


@pytest.mark.parametrize(
  ("modules", "absent"),
  [
    ("vita_jax", (*HEAVY, "orbax", "absl.flags", "scipy")),
    ("vita_jax.train, vita_jax.data", HEAVY),
    ("vita_jax.pose, vita_jax.report.skeletons", (*HEAVY, "cv2", "PIL", "pycocotools")),
    ("vita_jax.papers.ss_gcn", HEAVY),
    ("vita_jax.papers.adv_logo", (*HEAVY, "cv2", "PIL")),
    ("vita_jax.papers.pcal", HEAVY),
    ("vita_jax.papers.bert_tickets, vita_jax.nn.bert, vita_jax.compress", HEAVY),
  ],
)
def test_an_import_brings_nothing_heavy_along(modules, absent):
  # What jax and flax themselves import is not ours to judge.
  new = "set(sys.modules) - old"
  code = f"import sys, jax, flax.linen; old = set(sys.modules); import {modules}; print(*({new}))"
  done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert "vita_jax" in done.stdout.split()
  assert [name for name in done.stdout.split() if name.startswith(tuple(absent))] == []


def _imports(path):
  """Dotted names of everything a file imports, at any depth."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{path}: relative import"
      yield node.module
      yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _starts(name, *packages):
  return any(name == p or name.startswith(p + ".") for p in packages)


FILES = {str(p.relative_to(ROOT)): p for p in sorted(PACKAGE.rglob("*.py"))}


@pytest.mark.parametrize("file", FILES)
def test_imports_go_one_way(file):
  parts, names = Path(file).parts, set(_imports(FILES[file]))
  if parts[1] in FLOORS:
    allowed = tuple(f"vita_jax.{part}" for part in (parts[1], *FLOORS[parts[1]]))
    ours = {n for n in names if _starts(n, "vita_jax") and not _starts(n, "vita_jax._lazy")} - {"vita_jax"}
    assert not [n for n in ours if not _starts(n, *allowed)], f"{parts[1]} stands on {allowed} only"
  if parts[1] == "papers" and len(parts) > 3:
    known = {n for n in names if _starts(n, "vita_jax.papers")}
    others = {n for n in known if not _starts(n, f"vita_jax.papers.{parts[2]}")}
    assert others <= {"vita_jax.papers"}, "papers do not know each other"
  if parts[1] not in ENGINE:
    assert not [n for n in names if _starts(n, "orbax", "absl")], "only the engine knows orbax and absl"
    assert not [n for n in names if n in ("jax.make_mesh", "jax.sharding.Mesh")], "only train knows meshes"


def test_the_rules_see_every_kind_of_import(tmp_path):
  file = tmp_path / "a.py"
  file.write_text("import a.b as c\ndef f():\n  from d import e\n")
  assert set(_imports(file)) == {"a.b", "d", "d.e"}
  assert _starts("orbax.checkpoint", "orbax") and not _starts("orbaxial", "orbax")
