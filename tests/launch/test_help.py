"""Every script explains itself: --help shows what it does and its own flags, and exits with 0."""

import shutil
import subprocess
import sys

import pytest

from launch.commands import ROOT, environment, launch, refused, succeeded, vita
from vita_jax import help as script_help
from vita_jax.__main__ import overview, scripts

ALWAYS = ("train", "table", "benchmark", "l2o/optimize")


@pytest.mark.parametrize(
  "script", [pytest.param(name, marks=[pytest.mark.slow] * (name not in ALWAYS)) for name in scripts()]
)
def test_help_shows_the_flags_of_the_script_and_none_of_absls(script):
  text = succeeded(launch(script, "--help"))
  first = (ROOT / "launch" / f"{script}.py").read_text().partition("\n")[0].strip('"')
  assert text.startswith(first.rstrip())
  assert "--helpfull" in text and "Flags:" in text and "--showprefixforinfo" not in text
  assert all(len(line) <= 112 for line in text.splitlines())


def test_train_shows_config_workdir_devices_cluster_flags_and_where_keys_are_explained():
  text = succeeded(launch("train", "-h"))
  for flag in ("--config=FILE", "--workdir=FOLDER", "--cpu_devices=N", "--coordinator", "--process_id=N"):
    assert flag in text, flag
  assert "--config=FILE --explain" in text and "python launch/train.py --config=configs/ss_gcn" in text


@pytest.mark.parametrize(
  ("script", "required"),
  [
    ("train", ["config", "workdir"]),
    ("table", ["suite", "workdir"]),
    ("predict", ["data", "out", "workdir"]),
    pytest.param("prepare_data", ["dataset"], marks=pytest.mark.slow),
    pytest.param("l2o/optimize", ["optimizer", "task", "workdir"], marks=pytest.mark.slow),
  ],
)
def test_help_marks_the_flags_that_a_script_needs(script, required):
  entries = succeeded(launch(script, "--help")).partition("Flags:")[2].split("\n  --")
  marked = [entry.partition("=")[0] for entry in entries if "(required" in entry]
  assert sorted(marked) == required


def test_every_script_that_trains_or_evaluates_a_run_has_the_watchdog():
  """Otherwise a table whose row hangs waits for good."""
  sources = {name: path.read_text(encoding="utf-8") for name, path in scripts().items()}
  works = ("cli.run_row(", "cli.trained(", "train.run(", "final_report(")
  these = {name for name, text in sources.items() if any(call in text for call in works)}
  assert these >= {"train", "table", "evaluate", "l2o/optimize", "bert_tickets/transfer"}
  for name in these:
    starts = ("cli.define_cluster()", "cluster.start_watchdog(**limits())")
    assert any(call in sources[name] for call in starts), name


def test_the_command_vita_speaks_of_itself_and_a_script_of_its_file():
  said = succeeded(vita("train", "--help"))
  assert "vita train --config=configs/ss_gcn/citeseer.py:partition --explain" in said
  assert "launch/train.py" not in said and str(ROOT / "vita_jax" / "launch" / "cluster" / "README.md") in said
  refused(vita("evaluate", "--workdir=none"), "finish the run with vita train first")
  refused(launch("evaluate", "--workdir=none"), "finish the run with launch/train.py first")


def test_what_vita_runs_is_named_as_it_is_called(monkeypatch):
  text = "run python launch/l2o/state.py or launch/train.py; ../launch/other.py, configs/l2o/optimize.py"
  assert script_help.as_called(text) == text
  monkeypatch.setattr(script_help, "by_name", True)
  expected = "run vita l2o state or vita train; ../launch/other.py, configs/l2o/optimize.py"
  assert script_help.as_called(text) == expected


def test_the_command_vita_lists_every_script_and_answers_a_mistyped_one():
  assert all(f"  {name} " in overview() for name in scripts())
  command = [sys.executable, "-m", "vita_jax", "l2o", "optimise"]
  done = subprocess.run(command, env=environment(), capture_output=True, text=True)
  assert done.returncode == 1
  assert done.stderr.startswith("error: no script 'l2o/optimise' (nearest: 'l2o/optimize'): choose one of")


def test_a_paper_alone_lists_its_own_scripts():
  for arguments in (["l2o"], ["l2o", "--help"]):
    command = [sys.executable, "-m", "vita_jax", *arguments]
    text = succeeded(subprocess.run(command, env=environment(), capture_output=True, text=True))
    assert text.startswith("Usage: vita l2o optimize|ship|state ")
    assert "  l2o/state " in text and "  train " not in text


# script, flags -> what the line says. These scripts parse without vita_jax.cli.
BAD_FLAGS = {
  "no dataset": ("prepare_data", [], ["--dataset is missing", "give --dataset=VALUE"]),
  "unknown dataset": ("prepare_data", ["--dataset=foo"], ["--dataset=foo", "planetoid/cora"]),
  "stray word": ("prepare_data", ["--dataset=digits", "foo"], ["unexpected argument 'foo'"]),
  "unknown flag": ("benchmark", ["--nope"], ["'nope'"]),
  "no number": ("benchmark", ["scale", "--sizes=300,many"], ["--sizes=300,many", "'many'"]),
  "unknown graph": ("benchmark", ["ss_gcn", "--graph=foo"], ["--graph=foo", "citeseer|cora|pubmed"]),
}


@pytest.mark.parametrize("fault", BAD_FLAGS)
def test_bad_flags_of_a_script_without_config_are_one_line(fault):
  script, flags, words = BAD_FLAGS[fault]
  refused(launch(script, *flags), *words, code=2)


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make_gpu_names_what_its_python_lacks():
  bare = f"{sys.executable} -S"  # no packages
  done = subprocess.run(
    ["make", "gpu", f"PYTHON={bare}"],
    cwd=ROOT,
    env=environment(PYTHONPATH=None),
    capture_output=True,
    text=True,
  )
  assert done.returncode and "Traceback" not in done.stderr
  (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
  assert line.startswith(f"error: {bare} has no absl, jax") and line.endswith("names a Python that has")


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make_gpu_takes_the_python_of_the_venv_unless_one_is_named(tmp_path):
  (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())

  def command(*arguments):
    make = ["make", "-n", "gpu", *arguments]
    done = subprocess.run(make, cwd=tmp_path, env=environment(PYTHON=None), capture_output=True, text=True)
    (line,) = [line for line in succeeded(done).splitlines() if "launch/benchmark.py" in line]
    return line

  assert " python3 launch/benchmark.py gpu" in command()
  (tmp_path / ".venv" / "bin").mkdir(parents=True)
  (tmp_path / ".venv" / "bin" / "python").touch()
  assert " .venv/bin/python launch/benchmark.py gpu" in command()
  assert " other launch/benchmark.py gpu" in command("PYTHON=other")


def test_explain_shows_value_rule_and_meaning_of_every_key():
  text = succeeded(launch("train", "--config=ss_gcn/citeseer.py:partition", "--explain", "--config.seeds=7"))
  rows = {line.split()[0]: line for line in text.splitlines()}
  assert rows["key"].split() == ["key", "value", "default", "allowed", "meaning"]
  assert (
    " 7 " in rows["seeds"] and "a whole number, from 1" in rows["seeds"] and "How many seeds" in rows["seeds"]
  )
  assert "one of gcn, gin, gat" in rows["host"] and "mesh.seed" in rows


@pytest.mark.parametrize("settings", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_a_terminal_that_cannot_show_a_character_gets_a_spelling(settings):
  code = (
    "import sys; from vita_jax import cli; cli.spell_out();"
    " print('0.70 \\xb1 0.01'); print('2 \\xd7 \\xb5', file=sys.stderr)"
  )
  env = environment(PYTHONCOERCECLOCALE="0", **settings)
  done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True)
  assert done.returncode == 0, done.stderr
  assert done.stdout.decode() in ("0.70 +/- 0.01\n", "0.70 ± 0.01\n") and b"2 " in done.stderr
  if settings.get("PYTHONIOENCODING"):
    assert done.stdout == b"0.70 +/- 0.01\n" and done.stderr.endswith(b"2 x u\n")


def test_output_that_nobody_reads_on_is_no_error():
  command = f"{sys.executable} launch/train.py --help | head -1"
  done = subprocess.run(command, shell=True, cwd=ROOT, env=environment(), capture_output=True, text=True)
  assert done.stdout.startswith("Trains one experiment") and not done.stderr


def test_an_error_is_at_most_a_screen_long():
  code = "from vita_jax.cli.errors import fail; fail('cause ' + 'x' * 200_000 + ' remedy', 1)"
  done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
  assert done.returncode == 1 and len(done.stderr) < 2100
  assert done.stderr.startswith("error: cause xx") and done.stderr.endswith("xx remedy\n")
