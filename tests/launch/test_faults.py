"""Everything a user can get wrong: one line with cause and remedy, an exit code, nothing saved is lost."""

import json
import os
import shutil
import zlib

import jax
import numpy as np
import pytest

from launch.commands import CUSTOM, launch, launch_all, refused, succeeded, training
from vita_jax import cli
from vita_jax.cli.errors import _said
from vita_jax.cli.start import _show_warning
from vita_jax.report.summary import summarize


@pytest.fixture(scope="module")
def finished(graph, tmp_path_factory):
  """The workdir of a finished run."""
  workdir = tmp_path_factory.mktemp("finished")
  succeeded(launch("train", *training(graph, workdir, epochs=12)))
  return workdir


# What is typed -> what the line says: (flags after --workdir, words, exit code). GRAPH is a good file.
TYPED = {
  "unknown key": (["CUSTOM", "--config.epoch=3"], ["'epoch'", 'Did you mean "epochs"'], 2),
  "unknown nested key": (["CUSTOM", "--config.ss.gcm.weight=1"], ["no key 'gcm'", "--explain"], 2),
  "wrong type": (["CUSTOM", "--config.epochs=many"], ["--config.epochs=many", "int"], 2),
  "unknown task": (["CUSTOM:partiton"], ["'partiton'", "did you mean 'partition'", "completion"], 2),
  "unknown config file": (["--config=custum.py"], ["cannot read custum.py", "configs/<paper>"], 2),
  "unknown flag": (["CUSTOM", "--confg=x"], ["'confg'", "Did you mean: config"], 2),
  "stray word": (["CUSTOM", "partition"], ["'partition'", "flags start with --"], 2),
  "a suite": (["--config=ss_gcn/table.py"], ["is a suite, for launch/table.py --suite"], 2),
  "no devices": (["CUSTOM", "--cpu_devices=0"], ["--cpu_devices=0", "[1, 1024]"], 2),
  "profile": (["GRAPH", "--profile=/proc/x"], ["cannot write to --profile=/proc/x", "give a folder"], 1),
  "no config": ([], ["--config=FILE"], 2),
  "unknown host": (["GRAPH", "--config.host=gan"], ["'gan'", "did you mean 'gin'", "gat"], 1),
  "unknown mechanism": (["GRAPH", "--config.mechanism=pretrane"], ["did you mean 'pretrain'"], 1),
  "unknown dtype": (["GRAPH", "--config.dtype=float16"], ["config.dtype 'float16'", "mean 'bfloat16'"], 1),
  "no flagfile": (["CUSTOM", "--flagfile=none"], ["Unable to open flagfile", "'none'"], 2),
  "endless devices": (["CUSTOM", "--cpu_devices=100000"], ["--cpu_devices=100000", "1024"], 2),
  "empty config": (["--config="], ["no file is named: config files are configs/<paper>/*.py"], 2),
  "config is no Python": (["--config=README.md"], ["README.md is no Python file"], 2),
  "endless number": (
    ["GRAPH", "--config.hidden=99999999999999999999"],
    ["config.hidden is 9", "4294967296"],
    1,
  ),
  "endless call": (
    ["GRAPH", "--config.steps_per_call=2999999999"],
    ["steps_per_call is 2", "to 2147483647"],
    1,
  ),
  "endless seeds": (["GRAPH", "--config.seeds=4000000"], ["config.seeds is 4000000", "from 1 to 65536"], 1),
  "no seeds": (["GRAPH", "--config.seeds=0"], ["config.seeds is 0", "from 1 to"], 1),
  "too few devices": (["GRAPH", "--config.mesh.seed=2"], ["1 device(s)", "--cpu_devices"], 1),
  "no data file": (["CUSTOM", "--config.data.path=/no/such.npz"], ["/no/such.npz", "check the path"], 1),
}


@pytest.fixture(scope="module")
def typed(graph, tmp_path_factory):
  """fault -> (CompletedProcess, workdir) of all of `TYPED`."""
  folder = tmp_path_factory.mktemp("typed")
  good = f"--config={CUSTOM} --config.data.path={graph}"
  calls = {}
  for fault, (flags, *_) in TYPED.items():
    text = " ".join(flags).replace("GRAPH", good).replace("CUSTOM", f"--config={CUSTOM}")
    calls[fault] = [f"--workdir={folder / fault}", *text.split()]
  return {fault: (done, folder / fault) for fault, done in launch_all(calls).items()}


@pytest.mark.parametrize("fault", TYPED)
def test_what_is_typed_wrong_is_named_with_what_is_right(fault, typed):
  _, words, code = TYPED[fault]
  done, workdir = typed[fault]
  refused(done, *words, code=code)
  assert not (workdir / "checkpoints").exists()


# A user's config file -> what the line says.
CONFIGS = {
  "def get_config(:\n  return 3\n": ["line 1: invalid syntax"],
  "def get_config():\n  return 3\n": ["is no config", "returns int", "must return a ConfigDict"],
  "size = 3\n": ["is no config", "must define get_config()"],
  "import nosuch\n": ["line 1: ModuleNotFoundError: No module named 'nosuch'"],
  "def get_config():\n  return {}['a']\n": ["line 2: KeyError: 'a'"],
  "def get_suite():\n  return ()\n": ["is a suite, for launch/table.py --suite"],
}


@pytest.mark.parametrize("text", CONFIGS)
def test_a_config_file_that_cannot_be_used_is_named_with_its_line(text, tmp_path):
  path = tmp_path / "config.py"
  path.write_text(text)
  with pytest.raises(ValueError) as error:
    cli.load_config(cli.find_config(str(path)))
  assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)
  assert all(word in str(error.value) for word in CONFIGS[text])


def test_a_fault_of_a_config_is_one_line_on_the_command_line_and_in_a_flagfile(tmp_path):
  (tmp_path / "config.py").write_text("def get_config(:\n")
  (tmp_path / "flags").write_text(f"--config={tmp_path / 'config.py'}\n")
  done = launch("train", f"--flagfile={tmp_path / 'flags'}", f"--workdir={tmp_path / 'W'}")
  refused(done, "config.py, line 1: invalid syntax", code=2)


def test_configs_and_suites_are_not_mistaken_for_each_other():
  with pytest.raises(IsADirectoryError) as error:
    cli.find_config("ss_gcn")
  assert "citeseer.py" in str(error.value) and "table" not in str(error.value)
  with pytest.raises(FileNotFoundError, match="config files are") as error:
    cli.find_config("ss_gcn/tabel.py")
  assert "table" not in str(error.value)
  with pytest.raises(FileNotFoundError, match="suites are .* 'ss_gcn/table.py'"):
    cli.find_suite("ss_gcn/tabel.py")


def _jax_error(text):
  return jax.errors.JaxRuntimeError(text)


OUT_OF_MEMORY = [
  (_jax_error("INTERNAL: Out of memory allocating 1481200000000 bytes."), "1,481,200,000,000 bytes"),
  (_jax_error("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 65536 bytes."), "65,536 bytes"),
  (_jax_error("RESOURCE_EXHAUSTED: Attempting to allocate 1.21G. That was not possible."), "1.21 G"),
  (_jax_error("RESOURCE_EXHAUSTED: Failed to allocate request for 2.00GiB (2147483648B)"), "2.00 GiB"),
  (MemoryError("Unable to allocate 1.35 TiB for an array with shape (1, 2)"), "1.35 TiB"),
]


@pytest.mark.parametrize("error, asked", OUT_OF_MEMORY)
def test_out_of_memory_tells_the_bytes_and_the_remedies(error, asked):
  line = cli.out_of_memory(error)
  assert f"({asked} asked for at once)" in line
  assert all(remedy in line for remedy in ("--dry_run", "--config.seeds", "width"))


def test_other_errors_of_jax_are_not_taken_for_it():
  for error in (_jax_error("INTERNAL: a fault"), RuntimeError("Out of memory"), KeyError("x")):
    assert cli.out_of_memory(error) == ""
  assert cli.out_of_memory(MemoryError()).startswith("out of memory: ")


@pytest.mark.slow  # it asks the operating system for 1.5 TB
def test_a_run_that_is_too_large_ends_as_one_line(tmp_path):
  wide = ["--config=ss_gcn/citeseer.py:none", "--config.hidden=100000000", "--config.epochs=2"]
  refused(launch("train", *wide, f"--workdir={tmp_path}"), "out of memory (", "--dry_run")


def test_whole_counts_are_printed_without_needless_digits(capsys):
  metrics = {
    "epochs": summarize([233, 272]),
    "test_accuracy": summarize([1.0, 0.0]),
    "loss": summarize([0.5, 1.0]),
  }
  summary = {"experiment": "toy", "seeds": [0, 1], "seconds": 1.0}
  cli.print_metrics({**summary, "metrics": metrics})
  one = {name: summarize(entry["values"][:1]) for name, entry in metrics.items()}
  cli.print_metrics({**summary, "seeds": [0], "metrics": one})
  rows = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
  assert [row for row in rows if row[0] == "epochs"] == [["epochs", "252.5 ± 19.5"], ["epochs", "233"]]
  assert ["loss", "0.7500 ± 0.2500"] in rows and ["test_accuracy", "50.00 ± 50.00"] in rows


def test_a_missing_workdir_flag_is_named():
  refused(launch("train", f"--config={CUSTOM}"), "--workdir is missing", "give --workdir", code=2)


def test_cora_without_its_file_names_the_ways_to_get_it(tmp_path):
  nothing = {"VITA_DATA_DIR": None, "TFDS_DATA_DIR": str(tmp_path)}
  flags = ["--config=configs/ss_gcn/cora.py", f"--workdir={tmp_path / 'W'}"]
  ways = ("planetoid/cora", "$VITA_DATA_DIR", "prepare_data.py", "$TFDS_DATA_DIR")
  refused(launch("train", *flags, env=nothing), *ways)


def test_a_data_file_that_is_not_the_recorded_one_is_refused(tmp_path):
  (tmp_path / "planetoid").mkdir()
  np.savez(tmp_path / "planetoid" / "pubmed.npz", edges=np.zeros((1, 2), int))
  flags = ["--config=configs/ss_gcn/pubmed.py", f"--workdir={tmp_path / 'W'}"]
  line = refused(launch("train", *flags, env={"VITA_DATA_DIR": str(tmp_path)}), "pubmed.npz", "sha256")
  assert "2934de56" in line  # the one it should have


def _truncate(arrays, path):
  np.savez(path, **arrays)
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _with(**changes):
  return lambda arrays, path: np.savez(path, **{**arrays, **{k: f(arrays[k]) for k, f in changes.items()}})


def _nan(features):
  features = features.copy()
  features[7, 3] = np.nan
  return features


GRAPHS = {
  "truncated": (_truncate, ["is truncated or damaged", "again"]),
  "object arrays": (_with(labels=lambda x: x.astype(object)), ["'labels' holds Python objects", "dtype"]),
  "edges out of range": (_with(edges=lambda x: x + 100), ["edges must name nodes 0 .. 119"]),
  "NaN features": (_with(features=_nan), ["features hold NaN", "clean them"]),
  "empty train mask": (_with(train_mask=lambda x: x[:0]), ["train_mask selects no node"]),
  "labels beyond num_classes": (
    lambda arrays, path: np.savez(path, **arrays, num_classes=2),
    ["labels must be in -1 .. 1", "found 0 .. 2"],
  ),
}


@pytest.fixture(scope="module")
def bad_graphs(graph, tmp_path_factory):
  """fault -> CompletedProcess of all of `GRAPHS`."""
  folder, calls = tmp_path_factory.mktemp("graphs"), {}
  with np.load(graph) as arrays:
    good = dict(arrays)
  for number, (fault, (write, _)) in enumerate(GRAPHS.items()):
    write(good, path := folder / f"bad_{number}.npz")
    calls[fault] = training(path, folder / f"W_{number}")
  return launch_all(calls)


@pytest.mark.parametrize("fault", GRAPHS)
def test_a_graph_that_cannot_be_trained_on_is_refused(fault, bad_graphs):
  refused(bad_graphs[fault], "bad_", *GRAPHS[fault][1])


def test_a_workdir_of_another_config_is_refused_and_kept(finished, graph):
  before = (finished / "summary.json").read_bytes()
  done = launch("train", *training(graph, finished, epochs=13))
  refused(done, "another config", "epochs", "another --workdir")
  assert (finished / "summary.json").read_bytes() == before


def test_a_config_may_be_mended_as_long_as_nothing_was_saved(graph, tmp_path):
  flags = {"learning_rate": 1e30, "epochs": 6}
  done = launch("train", *training(graph, tmp_path, **flags))
  line = refused(done, "loss", "not finite at step 1", "last good")
  assert "checkpoint: none" in line and "learning rate" in line and "on_nonfinite=skip" in line
  output = succeeded(launch("train", *training(graph, tmp_path, **flags, on_nonfinite="skip")))
  assert "complete" in output
  rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
  assert max(row["metrics"].get("skipped", 0.0) for row in rows) > 0.5


def test_partitioning_without_pymetis_names_the_extra(graph, tmp_path):
  (tmp_path / "pymetis.py").write_text("raise ImportError('not here')\n")
  path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
  flags = training(graph, tmp_path / "W", task="partition")
  env = {"PYTHONPATH": path, "VITA_CACHE_DIR": str(tmp_path / "cache")}
  refused(launch("train", *flags, env=env), "pymetis", 'pip install "vita_jax[graph]"')


def test_a_workdir_that_cannot_be_written_is_refused(graph):
  refused(launch("train", *training(graph, graph)), f"cannot write to --workdir={graph}", "File exists")
  refused(launch("train", *training(graph, "/proc/run")), "cannot write to --workdir=/proc/run")


def test_what_needs_a_run_says_so(finished, graph, tmp_path):
  nothing, out = f"--workdir={tmp_path}", f"--out={tmp_path / 'P.npz'}"
  refused(launch("evaluate", nothing), "no summary.json", "launch/train.py")
  refused(launch("export", nothing), "holds no run", "launch/train.py")
  done = launch("predict", f"--workdir={finished}", f"--data={graph}", out, "--seed=9")
  refused(done, "--seed=9", "0 to 0")
  done = launch("predict", f"--workdir={finished}", f"--data={graph}", f"--out={tmp_path / 'no' / 'P.npz'}")
  refused(done, "--out=", "folder that exists")
  with np.load(graph) as arrays:
    np.savez(tmp_path / "narrow.npz", edges=arrays["edges"], features=arrays["features"][:, :20])
  done = launch("predict", f"--workdir={finished}", f"--data={tmp_path / 'narrow.npz'}", out)
  refused(done, "20 features per node", "24")
  assert not (tmp_path / "P.npz").exists()


def flip_a_bit(checkpoint):
  """Flips one bit in the middle of the largest data file of the state in a checkpoint."""
  files = [p for p in (checkpoint / "state").rglob("*") if p.is_file() and p.parent.name == "d"]
  path = max(files, key=lambda p: p.stat().st_size)
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 16
  path.write_bytes(data)


@pytest.fixture(scope="module")
def saved_often(graph, tmp_path_factory):
  """(flags, workdir) of a finished run with a checkpoint every five steps."""
  workdir = tmp_path_factory.mktemp("often")
  often = {"save_seconds": 0.0, "steps_per_call": 5, "keep_checkpoints": 20}

  def flags(workdir):
    return training(graph, workdir, epochs=14, **often)

  succeeded(launch("train", *flags(workdir)))
  return flags, workdir


def _copy_without_end(workdir, target):
  shutil.copytree(workdir, target, ignore=shutil.ignore_patterns("summary.json", "export", "figures"))
  return sorted((target / "checkpoints").iterdir(), key=lambda p: int(p.name))


def test_a_flipped_bit_in_the_newest_checkpoint_costs_only_its_steps(saved_often, tmp_path):
  flags, whole = saved_often
  workdir = tmp_path / "W"
  *_, before, newest = _copy_without_end(whole, workdir)
  flip_a_bit(newest)
  done = launch("train", *flags(workdir))
  succeeded(done)
  assert f"checkpoint {newest.name} " in done.stderr and "is damaged" in done.stderr
  assert f"resuming {workdir} at step {before.name}" in done.stderr
  assert (workdir / "damaged" / newest.name / "state").is_dir()
  weights = "export/params.safetensors"
  assert (workdir / weights).read_bytes() == (whole / weights).read_bytes()
  metrics = [json.loads((w / "summary.json").read_text())["metrics"] for w in (workdir, whole)]
  assert metrics[0] == metrics[1]
  assert (workdir / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_when_every_checkpoint_is_damaged_the_run_stops_and_keeps_them(saved_often, tmp_path):
  flags, whole = saved_often
  workdir = tmp_path / "W"
  checkpoints = _copy_without_end(whole, workdir)
  for number, checkpoint in enumerate(checkpoints):
    if number % 2:
      flip_a_bit(checkpoint)
    else:
      shutil.rmtree(checkpoint / "progress")
  for _ in range(2):  # the second time, too
    done = launch("train", *flags(workdir))
    refused(done, f"none of the {len(checkpoints)} checkpoint(s)", "another --workdir")
  assert all(checkpoint.exists() for checkpoint in checkpoints)


@pytest.mark.parametrize(
  ("edit", "words"),
  [
    ({"learning_rate": 0.5}, ["they differ in learning_rate): config.json was edited"]),
    (
      {"hidden": None},
      ["config.json is no config of this code (config.hidden is missing", "or another version"],
    ),
    ({"seeds": "2"}, ["config.seeds is '2': it must be a whole number"]),
    ({"paper": "ss_gnc"}, ["unknown config.paper 'ss_gnc': did you mean 'ss_gcn'"]),
  ],
)
def test_a_config_json_that_was_edited_is_named_at_an_evaluation(edit, words, saved_often, tmp_path):
  _, whole = saved_often
  workdir = tmp_path / "W"
  shutil.copytree(whole, workdir)
  facts = json.loads((workdir / "config.json").read_text())
  facts["config"] = {k: v for k, v in {**facts["config"], **edit}.items() if v is not None}
  (workdir / "config.json").write_text(json.dumps(facts))
  done = launch("evaluate", f"--workdir={workdir}")
  refused(done, str(workdir), *words, "delete it and run launch/train.py with the config it was made from")


def test_a_full_disk_at_the_start_names_the_file_and_the_remedy():
  assert _said(OSError(28, "cannot write W/.owner.json: No space left on device")) == (
    "cannot write W/.owner.json: No space left on device; free some space and run the same command again"
  )
  assert _said(PermissionError(13, "Permission denied", "W/x")) == "W/x: Permission denied"
  assert _said(FileNotFoundError("no file W; check the path")) == "no file W; check the path"


def test_a_damaged_entry_of_the_compilation_cache_is_one_line_and_goes(tmp_path, capsys):
  whole = zlib.compress(b"a program")
  entries = {"jit_run-a-cache": whole[:-4], "jit_run-b-cache": b"", "jit_other-c-cache": b"x"}
  for name, content in entries.items():
    (tmp_path / name).write_bytes(content)
  before = jax.config.jax_compilation_cache_dir
  jax.config.update("jax_compilation_cache_dir", str(tmp_path))
  try:
    said = "Error reading persistent compilation cache entry for 'jit_run': zlib.error: Error -5\n  Traceback"
    _show_warning(UserWarning(said))
  finally:
    jax.config.update("jax_compilation_cache_dir", before)
  assert capsys.readouterr().err == (
    "warning: the compiled program 'jit_run' in the cache was damaged: it is compiled again\n"
  )
  assert [path.name for path in tmp_path.iterdir()] == ["jit_other-c-cache"]  # another program's


@pytest.mark.slow
def test_a_damaged_cache_is_written_again(graph, tmp_path):
  env = {"VITA_CACHE_DIR": str(tmp_path / "cache"), "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
  env |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
  succeeded(launch("train", *training(graph, tmp_path / "one", epochs=3), env=env))
  entries = {path: path.read_bytes() for path in (tmp_path / "cache").glob("jit_run-*-cache")}
  for path, content in entries.items():
    path.write_bytes(content[: len(content) // 2])
  for workdir, count in (("two", 1), ("three", 0)):
    done = launch("train", *training(graph, tmp_path / workdir, epochs=3), env=env)
    succeeded(done)
    assert (
      done.stderr.count("in the cache was damaged") == count * len(entries) and "Traceback" not in done.stderr
    )
  assert all(len(path.read_bytes()) > 0.9 * len(content) for path, content in entries.items())


def test_a_prediction_does_not_overwrite_its_data(finished, graph, tmp_path):
  data = tmp_path / "my.npz"
  shutil.copy(graph, data)
  before = data.read_bytes()
  done = launch(
    "predict", f"--workdir={finished}", f"--data={data}", f"--out={tmp_path}/../{tmp_path.name}/my.npz"
  )
  refused(done, "is the file of --data", "give another name")
  assert data.read_bytes() == before


@pytest.mark.parametrize(
  ("change", "words"),
  [
    ({"frozen": "x"}, "summary.json is damaged (it lacks frozen, or has something else there): delete it"),
    ({"frozen": ["x"]}, "its seeds and steps are no whole numbers"),
    ({"seeds": [7]}, "is of other seeds than its config.json: it was edited; delete it"),
    ({"frozen": [99]}, "is of other seeds than its config.json"),
  ],
)
def test_a_summary_json_that_was_edited_is_named_at_an_evaluation(change, words, finished, tmp_path):
  shutil.copytree(finished, tmp_path / "W")
  path = tmp_path / "W" / "summary.json"
  path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
  refused(launch("evaluate", f"--workdir={tmp_path / 'W'}"), words)


def test_numbers_and_platforms_that_mean_nothing_are_refused(finished):
  where = f"--workdir={finished}"
  refused(launch("evaluate", where, "--tolerance=nan"), "--tolerance must be a finite number", code=2)
  refused(launch("export", where, "--platforms=cdua"), "did you mean 'cuda'", "cpu, cuda, rocm, tpu")
  refused(launch("export", where, "--platforms="), "--platforms is empty")


def test_a_file_where_an_export_needs_its_folder_is_named_with_the_remedy(finished, tmp_path):
  shutil.copytree(finished, tmp_path / "W")
  shutil.rmtree(tmp_path / "W" / "export")
  (tmp_path / "W" / "export").write_text("a file")
  refused(launch("export", f"--workdir={tmp_path / 'W'}"), "export: File exists; move that file away")
  assert (tmp_path / "W" / "export").read_text() == "a file"
