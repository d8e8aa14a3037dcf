"""The notebooks run from top to bottom with this interpreter (most are slow); what they store is small."""

import ast
import importlib
import inspect
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from vita_jax.base.files import load_python_file
from vita_jax.papers.ss_gcn.recipe import default_config

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
TransformerManager = pytest.importorskip("IPython.core.inputtransformer2").TransformerManager

COLABS = Path(__file__).parents[2] / "colabs"
update = load_python_file(COLABS / "update.py")
NOTEBOOKS = sorted(path.stem for path in COLABS.glob("*.ipynb"))


@pytest.fixture
def kernel(tmp_path, monkeypatch):
  """The name of a kernel that is this very interpreter; Jupyter's and IPython's files stay in a folder."""
  folder = tmp_path / "jupyter" / "kernels" / "this_python"
  folder.mkdir(parents=True)
  argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
  spec = {"argv": argv, "display_name": "this python", "language": "python"}
  (folder / "kernel.json").write_text(json.dumps(spec))
  monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
  for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
    (tmp_path / name).mkdir()
    monkeypatch.setenv(name, str(tmp_path / name))
  return "this_python"


def _run(name, kernel, folder, question):
  """Executes a notebook in `folder`; returns its cells and what `question` evaluates to at the end."""
  notebook = nbformat.read(COLABS / f"{name}.ipynb", as_version=4)
  text = f"import json as _json, sys as _sys\nprint(_json.dumps([_sys.executable, {question}]))"
  notebook.cells.append(nbformat.v4.new_code_cell(text))
  client = nbclient.NotebookClient(
    notebook, timeout=300, kernel_name=kernel, resources={"metadata": {"path": str(folder)}}
  )
  client.execute()
  executable, answer = json.loads(notebook.cells[-1].outputs[-1].text)
  assert executable == sys.executable
  return notebook.cells, answer


def _pictures(cells):
  outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
  return sum("image/png" in output.get("data", {}) for output in outputs)


def test_quickstart(kernel, tmp_path):
  pytest.importorskip("pymetis")
  question = "[accuracy['values'], by_hand[0]['loss'], by_hand[-1]['loss'], len(rows)]"
  cells, (values, first, last, n_rows) = _run("quickstart", kernel, tmp_path, question)
  assert len(values) == 3 and min(values) > 0.6  # chance is 1/6
  assert last < first - 0.05
  assert n_rows >= 10
  assert _pictures(cells) == 1
  assert (tmp_path / "runs" / "quickstart" / "summary.json").exists()


@pytest.mark.slow
def test_ss_gcn(kernel, tmp_path):
  pytest.importorskip("pymetis")
  question = (
    "[accuracy['none'], accuracy['partition'], [low, mean, high], own_accuracy, predicted_accuracy, reports]"
  )
  cells, (plain, parts, interval, own, predicted, reports) = _run("ss_gcn", kernel, tmp_path, question)
  assert 0.69 < plain["mean"] < 0.73 and 0.69 < parts["mean"] < 0.73
  assert interval == sorted(interval)
  assert interval[1] == pytest.approx(100 * (parts["mean"] - plain["mean"]), abs=1e-9)
  assert own > 0.65
  assert predicted == pytest.approx(parts["values"][0], abs=2e-3)  # another order of sums may flip a tie
  assert reports["cluster"]["left_out_accuracy"] > reports["cluster"]["majority_share"]
  assert reports["partition"]["purity"] > reports["random_labels"]["purity"]
  assert _pictures(cells) == 2


@pytest.mark.slow
def test_l2o(kernel, tmp_path):
  numbers = "(losses[0], losses[-1], linen_accuracy, nnx_accuracy, rate)"
  question = f"[finals, mine, [float(x) for x in {numbers}]]"
  cells, (finals, mine, (first, last, linen, nnx, rate)) = _run("l2o", kernel, tmp_path, question)
  assert 0.002 < rate < 0.2  # of an optimizer of one's own, from 0.0001
  assert last < 0.05 * first
  assert finals["rnnprop-cl-il"]["diverged"] == 0 and finals["rnnprop-cl-il"]["mean"] < -2
  assert finals["untrained-rnnprop"]["diverged"] or finals["untrained-rnnprop"]["mean"] > -1
  assert min(linen, nnx) > 0.8  # chance is 0.1
  assert mine["diverged"] == 0 and mine["mean"] < -1
  assert _pictures(cells) == 2


@pytest.mark.slow
def test_self_pu(kernel, tmp_path):
  question = (
    "[{name: found['test_accuracy']['values'] for name, (_, _, found) in results.items()}, estimate,"
    " {name: x.tolist() for name, x in history.items()}, estimated]"
  )
  cells, (accuracy, prior, history, estimated) = _run("self_pu", kernel, tmp_path, question)
  assert all(0.5 < value <= 1 for name in ("nnpu", "self_pu") for value in accuracy[name])
  assert 0.3 < prior < 0.6  # 0.37 in truth, and the estimate is a bound from above
  sizes = [row[0] for row in history["size"]]
  assert sizes == sorted(sizes) and len(sizes) == 4
  assert all(share > 0.6 for row in history["purity_positive"] for share in row)
  assert 0 < estimated["recall"] <= 1
  assert _pictures(cells) == 1


@pytest.mark.slow
def test_pcal(kernel, tmp_path):
  question = (
    "[found, dropped['private']['age']['strongest']['auc'], dropped['utility']['best']['auc'],"
    " outputs['z'].shape, 'age' in encoding.schema.inputs]"
  )
  cells, (found, attack, utility, shape, has_age) = _run("pcal", kernel, tmp_path, question)
  assert 0.55 < found["utility_auc"] <= utility + 0.1 and 0.5 <= found["attack_auc"] < 0.85
  assert attack > 0.55 and found["collapsed"] == 0
  assert shape == [1000, 4] and not has_age
  assert _pictures(cells) == 2


@pytest.mark.slow
def test_bert_tickets(kernel, tmp_path):
  question = "[accuracy, compress.sparsity(ticket.masks), len(rows), losses[0], losses[-1], zeros]"
  cells, (accuracy, sparsity, n, first, last, zeros) = _run("bert_tickets", kernel, tmp_path, question)
  assert n > 400
  assert min(accuracy["full_0"], accuracy["theta0_40"]) > 0.7  # chance is 0.5
  assert set(accuracy) == {
    *(f"{start}_{s}" for start in ("theta0", "random_reinit", "random mask, theta0") for s in (40, 80)),
    "full_0",
  }
  assert sparsity == pytest.approx(0.8, abs=1e-3)
  assert last < 0.1 * first and zeros == 0.5
  assert _pictures(cells) == 2


@pytest.mark.slow
def test_render(kernel, tmp_path):
  question = "[turned(start), turned(given), losses[0], losses[-1]]"
  cells, (before, after, first, last) = _run("render", kernel, tmp_path, question)
  assert before > 30 and after < 1 and last < 0.01 * first
  assert _pictures(cells) == 1


@pytest.mark.slow
def test_adv_logo(kernel, tmp_path):
  question = "[found['success_10'], found['pictures'], found['threshold'], empty, scores]"
  cells, (success, pictures, threshold, empty, scores) = _run("adv_logo", kernel, tmp_path, question)
  assert pictures >= 12 and success > 0.5 and empty < threshold
  assert min(scores["no logo"]) > threshold  # the photograph did not train
  assert np.mean(scores["trained logo"]) < 0.5 * np.mean(scores["grey logo"])
  assert _pictures(cells) == 2
  assert (tmp_path / "export" / "logo.png").exists()


@pytest.mark.slow
def test_autopose(kernel, tmp_path):
  cells, (found, trained, best) = _run("autopose", kernel, tmp_path, "[found, [ours, rival], best]")
  assert 0 < found["supernet_score"] < 1 and {"reward_last", "uniform_last"} <= found.keys()
  assert all(abs(one["macs"] - 1e6) < 0.05e6 and one["oks"] > 0 for one in trained)
  assert best == [1, 0] and _pictures(cells) == 3


@pytest.mark.slow
def test_asg(kernel, tmp_path):
  cells, (found, shape) = _run("asg", kernel, tmp_path, "[results, list(multipliers.shape)]")
  plain, proxy = found["source_only"], found["proxy"]
  assert proxy["kl"] < 0.05 * plain["kl"] and proxy["old_head_accuracy"] > plain["old_head_accuracy"] + 0.05
  assert all(0.2 < one["real_mean_class_accuracy"] < 1 for one in found.values())  # chance is 0.1
  assert shape[0] > 3 and shape[1] == 4 and _pictures(cells) == 2


@pytest.mark.slow
def test_attacks(kernel, tmp_path):
  question = "[points[names[label]], curves, found, own]"
  cells, (true, curves, found, own) = _run("attacks", kernel, tmp_path, question)
  assert true[0][1] > 0.4 and true[-1][1] < 0.25  # the target's class is lost
  for name, curve in curves.items():
    shares = [share for _, share in curve]
    assert shares[-1] < shares[0] - 0.2, name
  assert found["GCN"][1] < found["GCN"][0] - 0.1 and all(row[2] <= row[0] for row in found.values())
  assert own[1] < own[0] and _pictures(cells) == 2


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_it_imports_is_there(name):
  """Whatever a notebook imports, and every attribute of a vita_jax module that it names."""
  cells = nbformat.read(COLABS / f"{name}.ipynb", as_version=4).cells
  sources = ("\n".join(cell.source.splitlines()) for cell in cells if cell.cell_type == "code")
  trees = [ast.parse(TransformerManager().transform_cell(source)) for source in sources]
  modules = {}
  for node in (node for tree in trees for node in ast.walk(tree)):
    if isinstance(node, ast.Import):
      for alias in node.names:
        modules[alias.asname or alias.name.partition(".")[0]] = importlib.import_module(alias.name)
    elif isinstance(node, ast.ImportFrom):
      module = importlib.import_module(node.module)
      for alias in node.names:
        if not hasattr(module, alias.name):
          importlib.import_module(f"{node.module}.{alias.name}")
        modules[alias.asname or alias.name] = getattr(module, alias.name)
  for node in (node for tree in trees for node in ast.walk(tree)):
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
      module = modules.get(node.value.id)
      if inspect.ismodule(module) and module.__name__.startswith("vita_jax"):
        assert hasattr(module, node.attr), f"{module.__name__} has no {node.attr}"
  assert any(getattr(m, "__name__", "").startswith("vita_jax") for m in modules.values())


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_is_committed_is_small_and_says_nothing_of_the_machine(name):
  text = (COLABS / f"{name}.ipynb").read_text(encoding="utf-8")
  notebook = json.loads(text)
  nbformat.validate(notebook)
  assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
  assert notebook["metadata"]["kernelspec"]["name"] == "python3"
  assert len(text) < 400_000
  for cell in notebook["cells"]:
    assert cell["metadata"] == {}
    for output in cell.get("outputs", []):
      assert output["output_type"] != "error" and output.get("name") != "stderr"
      assert "/tmp/" not in json.dumps(output) and "/home/" not in json.dumps(output)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_first_cells_are_those_of_the_one_place(name):
  """Badge, a word on runtimes and the install cell: `python colabs/update.py` writes them."""
  notebook = json.loads((COLABS / f"{name}.ipynb").read_text(encoding="utf-8"))
  assert update.with_first_cells(notebook, name) == notebook
  first = "".join(notebook["cells"][0]["source"])
  assert first.startswith("[![Open in Colab]") and "GPU or TPU runtime" in first


def test_quickstart_shows_its_outputs_on_the_web():
  cells = nbformat.read(COLABS / "quickstart.ipynb", as_version=4).cells
  assert _pictures(cells) == 1 and any("test accuracy" in str(c.get("outputs")) for c in cells)


def test_settings_in_the_graph_notebooks_are_those_of_the_config_file():
  scope = {}
  exec((COLABS.parent / "configs" / "ss_gcn" / "citeseer.py").read_text(), scope)
  expected = scope["get_config"]("partition").to_dict()
  found = default_config("citeseer", "partition", {"gcn": {"partition": (0.8, 14)}}).to_dict()
  found["ss"] = {**expected["ss"], "gcn": found["ss"]["gcn"]}  # the notebooks train no other host
  assert found == expected
  for name in ("quickstart", "ss_gcn"):
    assert '{\\"gcn\\": {\\"partition\\": (0.8, 14)}}' in (COLABS / f"{name}.ipynb").read_text()


@pytest.mark.slow
def test_mm_hand(kernel, tmp_path):
  question = "[numbers, [list(x.shape) for x in drawn.values()]]"
  cells, (numbers, shapes) = _run("mm_hand", kernel, tmp_path, question)
  assert len(numbers) == 3 and shapes == [[10, 32, 32, 3]] * 3
  assert all(0 < own["l1"] < 1 for own in numbers.values())
  assert _pictures(cells) == 3
