"""Sphinx. Builds offline; SPM_DOCS_ONLINE=1 links to the pages of other packages."""

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from importlib.metadata import metadata
from pathlib import Path

from sphinx.deprecation import RemovedInSphinx10Warning

_about = metadata("scperturbmamba")
project = _about["Name"]
author = "scperturbmamba developers"
copyright = author
version = release = _about["Version"]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_autodoc_typehints",
    "scanpydoc.elegant_typehints",
    "sphinx_copybutton",
    "sphinx_design",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_results", "**.ipynb_checkpoints"]
master_doc = "index"
default_role = "literal"
nitpicky = True

autosummary_generate = True
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = True
napoleon_use_param = True
napoleon_use_ivar = True
typehints_defaults = "comma"
typehints_document_rtype_none = False
always_use_bars_union = True

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks carry the outputs of the machine that ran them

_ELSEWHERE = {
    "anndata": "https://anndata.readthedocs.io/en/stable/",
    "lightning": "https://lightning.ai/docs/pytorch/stable/",
    "matplotlib": "https://matplotlib.org/stable/",
    "numpy": "https://numpy.org/doc/stable/",
    "pandas": "https://pandas.pydata.org/docs/",
    "python": "https://docs.python.org/3/",
    "scanpy": "https://scanpy.readthedocs.io/en/stable/",
    "torch": "https://docs.pytorch.org/docs/stable/",
}
intersphinx_mapping = (
    {name: (url, None) for name, url in _ELSEWHERE.items()} if os.environ.get("SPM_DOCS_ONLINE") == "1" else {}
)
nitpick_ignore_regex = [(r"py:.*", r"(?!scperturbmamba).*")]  # names of other packages, which an offline build lacks

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["page.css"]
html_theme_options = {
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "home_page_in_toc": True,
    "use_download_button": False,
    "use_fullscreen_button": False,
}
html_show_sourcelink = False

warnings.filterwarnings("ignore", category=RemovedInSphinx10Warning)  # sphinx-autodoc-typehints, once per function

# The notebooks live beside docs/; Sphinx reads copies of them.
_HERE = Path(__file__).parent
shutil.copytree(_HERE.parent / "tutorials", _HERE / "generated" / "tutorials", dirs_exist_ok=True)

# The example of a report is made by the package, once; `make clean` removes it.
_EXAMPLE = _HERE / "generated" / "example" / "example_report.html"
if not _EXAMPLE.exists():
    with tempfile.TemporaryDirectory() as _folder:
        _call = [sys.executable, "-m", "scperturbmamba.cli", "benchmark", "--epochs", "40", "--out", _folder]
        subprocess.run(_call, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _EXAMPLE.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(_folder) / "report.html", _EXAMPLE)
html_extra_path = ["generated/example"]


def _lay_out_returns(app, what, name, obj, options, lines):
    """Show the slot list of "Returns" without the word None before it, and apart from the line of a returned type."""
    for start in range(len(lines) - 2):
        kind = lines[start + 2]
        if lines[start] == "Returns" and set(lines[start + 1]) == {"-"} and kind:
            stop = start + 3
            while stop < len(lines) and (lines[stop].startswith("    ") or not lines[stop]):
                stop += 1
            body = [line.removeprefix("    ") for line in lines[start + 3 : stop]]
            lines[start + 2 : stop] = body if kind == "None" else [kind, "", *body]
            return


def _list_fields(app, what, name, obj, options, lines):
    """Show the fields of a configuration as a list of names, types and defaults."""
    fields = getattr(obj, "model_fields", {}) if what == "class" else {}
    if not fields:
        return
    start = lines.index("Attributes")
    lines[start : start + 2] = [".. rubric:: Fields", ""]
    for number, line in enumerate(lines):
        names = [one.strip() for one in line.split(",")]
        if all(one in fields for one in names):
            lines[number] = ", ".join(f"``{one}: {_type_of(fields[one])} = {fields[one].default!r}``" for one in names)


def _type_of(field):
    choices = getattr(field.annotation, "__args__", (field.annotation,))
    return " | ".join(getattr(one, "__name__", repr(one)).replace("NoneType", "None") for one in choices)


def setup(app):
    app.connect("autodoc-process-docstring", _lay_out_returns, priority=100)  # before napoleon
    app.connect("autodoc-process-docstring", _list_fields, priority=100)
