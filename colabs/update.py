"""Writes the first cells of every notebook from one place, and runs notebooks to store their outputs.

  python colabs/update.py                        # the first cells of all notebooks
  python colabs/update.py --run quickstart pcal  # runs these from top to bottom and stores what they show

SOURCE and REPOSITORY say, in one place, where vita_jax is installed from and where the notebooks lie.
Outputs are stored so that a reader on the web sees them; the tests run the notebooks again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
SOURCE = (
  "vita_jax[graph]"  # from PyPI; from a repository: "vita_jax[graph] @ git+https://HOST/OWNER/vita_jax"
)
REPOSITORY = ""  # OWNER/NAME on GitHub, from which Colab opens the notebooks; "" leads to Colab's start page
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
INSTALL = f'''import importlib.util

# Does nothing where vita_jax is installed. Elsewhere, e.g. on Colab: from PyPI, or from a Git address.
SOURCE = "{SOURCE}"

if importlib.util.find_spec("vita_jax") is None:
  %pip install --quiet "{{SOURCE}}"'''
RUNTIME = (
  "Everything here runs on a CPU. With a GPU or TPU runtime (Colab: Runtime, Change runtime type) the same"
  " code runs there, since jax uses the accelerator that it finds; such small models gain little from it."
)


def badge(name: str) -> str:
  """The Markdown of the badge that opens a notebook in Colab."""
  path = f"github/{REPOSITORY}/blob/main/colabs/{name}.ipynb" if REPOSITORY else ""
  return f"[![Open in Colab]({BADGE})](https://colab.research.google.com/{path})"


def with_first_cells(notebook: dict[str, Any], name: str) -> dict[str, Any]:
  """Returns a notebook that begins with the badge, its introduction, a word on runtimes, and the install."""
  cells = list(notebook["cells"])
  intro = _text(cells[0])
  lines = [line for line in intro.split("\n") if "colab-badge" not in line]
  intro = "\n".join(lines).replace(f"\n\n{RUNTIME}", "").strip()
  cells[0] = {**cells[0], "source": f"{badge(name)}\n\n{intro}\n\n{RUNTIME}"}
  place = next(i for i, cell in enumerate(cells) if cell["cell_type"] == "code")
  if "find_spec" in _text(cells[place]):
    cells[place] = {**cells[place], "source": INSTALL}
  return {**notebook, "cells": cells}


def run(notebook: dict[str, Any]) -> dict[str, Any]:
  """Returns the notebook with the outputs of a run from top to bottom, in an empty folder."""
  import nbclient
  import nbformat

  node = nbformat.reads(json.dumps(notebook), as_version=4)
  with tempfile.TemporaryDirectory() as folder:
    resources = {"metadata": {"path": folder}}
    nbclient.NotebookClient(node, timeout=1800, kernel_name="python3", resources=resources).execute()
  for i, cell in enumerate(c for c in node.cells if c.cell_type == "code"):
    cell.execution_count = i + 1
    cell.outputs = [_stored(output, i + 1) for output in cell.outputs if output.get("name") != "stderr"]
  for cell in node.cells:
    cell.metadata = {}
  node.metadata = nbformat.from_dict(notebook["metadata"])
  return json.loads(json.dumps(node))


def _stored(output: Any, number: int) -> Any:
  if "execution_count" in output:
    output["execution_count"] = number
  if "metadata" in output:
    output["metadata"] = {}
  return output


def _text(cell: dict[str, Any]) -> str:
  return "".join(cell["source"])


def main() -> None:
  parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
  parser.add_argument("--run", nargs="*", default=[], metavar="NAME", help="notebooks to run and store")
  chosen = parser.parse_args().run
  for path in sorted(FOLDER.glob("*.ipynb")):
    old = json.loads(path.read_text(encoding="utf-8"))
    notebook = with_first_cells(old, path.stem)
    if path.stem in chosen:
      print(f"running {path.name}", file=sys.stderr)
      notebook = run(notebook)
    if notebook != old:
      path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
      print(f"written: {path}")


if __name__ == "__main__":
  main()
