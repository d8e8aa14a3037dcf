"""Makes the pages of the site from what stands elsewhere: READMEs, tables of config keys, modules.

So a new paper appears by itself: its README as a page, its keys in "Config keys", its modules in the API.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from vita_jax.base.keys import Key
from vita_jax.papers import PAPERS, keys
from vita_jax.train.config import KEYS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "vita_jax"
IMAGES = (".png", ".jpg", ".gif", ".svg")
# page -> the file it is; links between these files become links between pages
SOURCES = {
  "index.md": "README.md",
  "learned_optimizers.md": "vita_jax/optim/README.md",
  "data.md": "vita_jax/data/README.md",
  "audit.md": "vita_jax/audit/README.md",
  "pose.md": "vita_jax/pose/README.md",
  "search.md": "vita_jax/search/README.md",
  "render.md": "vita_jax/render/README.md",
  "hands.md": "vita_jax/hands/README.md",
  "detectors.md": "vita_jax/nn/detectors/README.md",
  "engine.md": "vita_jax/train/README.md",
  "cluster.md": "launch/cluster/README.md",
  "contributing.md": "CONTRIBUTING.md",
  "changelog.md": "CHANGELOG.md",
  **{f"papers/{paper}.md": f"vita_jax/papers/{paper}/README.md" for paper in PAPERS},
}
PAGES = {page: source for page, source in SOURCES.items() if (ROOT / source).exists()}
PARTS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py") if path.parent.name != "papers")
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("_"))


def on_config(config: MkDocsConfig) -> MkDocsConfig:
  """Lists the pages."""
  papers = [{Path(page).stem: page} for page in PAGES if page.startswith("papers/")]
  config.nav = [
    {"Start": "index.md"},
    {"Papers": papers},
    *({"Learned optimizers": page} for page in PAGES if page == "learned_optimizers.md"),
    {"Data": "data.md"},
    {"Audits": "audit.md"},
    {"Poses": "pose.md"},
    {"Architecture search": "search.md"},
    {"Renderer": "render.md"},
    {"Hands": "hands.md"},
    {"Person detectors": "detectors.md"},
    {"The loop": "engine.md"},
    {"Several machines": "cluster.md"},
    {"Config keys": "config_keys.md"},
    {"How to add a paper": "contributing.md"},
    {
      "API": [
        *({part: f"api/{part}.md"} for part in sorted([*PARTS, *MODULES])),
        *({p: f"api/papers/{p}.md"} for p in PAPERS),
      ]
    },
    {"Changelog": "changelog.md"},
  ]
  return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
  """Adds the pages, and the images that they show."""
  shown: set[str] = set()

  def add(page: str, content: str | bytes) -> None:
    files.append(File.generated(config, page, content=content))

  for page, source in PAGES.items():
    add(page, _linked((ROOT / source).read_text(encoding="utf-8"), page, source, shown))
  for image in sorted(shown):
    add(image, (ROOT / image).read_bytes())
  add("config_keys.md", _config_keys())
  for part in PARTS:
    add(f"api/{part}.md", _api(f"vita_jax.{part}"))
  for module in MODULES:
    add(f"api/{module}.md", f"# vita_jax.{module}\n\n::: vita_jax.{module}\n")
  for paper in PAPERS:
    add(f"api/papers/{paper}.md", _api(f"vita_jax.papers.{paper}"))
  return files


def _linked(text: str, page: str, source: str, shown: set[str]) -> str:
  """A README as a page: its links lead to pages, its images come along, links to code become plain text."""
  page_of = {file: name for name, file in PAGES.items()}
  page_of |= {posixpath.dirname(file): name for name, file in PAGES.items() if file.endswith("/README.md")}

  def replace(match: re.Match) -> str:
    bang, label, target = match[1], match[2], match[3]
    if re.match(r"[a-z]+:|#", target):
      return match[0]
    path, _, anchor = target.partition("#")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    here = posixpath.dirname(page) or "."
    if path.endswith(IMAGES):
      shown.add(path)
      return f"{bang}[{label}]({posixpath.relpath(path, here)})"
    if path in page_of:
      return f"[{label}]({posixpath.relpath(page_of[path], here)}{'#' + anchor if anchor else ''})"
    if not (ROOT / path).exists():
      raise FileNotFoundError(f"{source} links to {target}, which is not there")
    return label

  return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", replace, text)


def _config_keys() -> str:
  """The tables of keys, from which the defaults, the checks and `--explain` come, too."""
  lines = [
    "# Config keys",
    "",
    "Every key of a config can be set on the command line, `--config.epochs=100`.",
    "`launch/train.py --config=FILE --explain` prints those of one config file with its values.",
    "",
    "## Every experiment",
    *_table(KEYS),
  ]
  for paper in PAPERS:
    lines += ["", f"## {paper}", *_table(keys(paper))]
  return "\n".join(lines) + "\n"


def _table(table: tuple[Key, ...]) -> list[str]:
  def cell(text: object) -> str:
    return str(text).replace("|", r"\|").replace("\n", " ")

  rows = [
    f"| `{key.name}` | `{cell(repr(key.default))}` | {cell(key.allowed.text)} | {cell(key.meaning)} |"
    for key in table
  ]
  return ["", "| key | default | allowed | meaning |", "|---|---|---|---|", *rows]


def _api(package: str) -> str:
  """The modules of a package, one after the other; those of a package inside it, too."""
  folder = ROOT.joinpath(*package.split("."))
  inside = sorted(path.relative_to(folder) for path in folder.rglob("*.py"))
  names = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in inside]
  modules = [name for name in names if not any(part.startswith("_") for part in name.split("."))]
  lines = [f"# {package}", "", f"::: {package}", "    options: {members: false}"]
  if package.startswith("vita_jax.papers."):
    lines = [f"# {package}", "", f"::: {package}"]
  for module in modules:
    lines += ["", f"## {package}.{module}", "", f"::: {package}.{module}"]
  return "\n".join(lines) + "\n"
