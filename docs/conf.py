"""Sphinx. Builds offline; SPM_DOCS_ONLINE=1 links to the pages of other packages."""

import os
import shutil
from importlib.metadata import metadata
from pathlib import Path

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
typehints_defaults = "braces"
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
    "torch": "https://pytorch.org/docs/stable/",
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
    "home_page_in_toc": True,
    "use_download_button": False,
    "use_fullscreen_button": False,
}
html_show_sourcelink = False


# The notebooks live beside docs/; Sphinx reads copies of them.
_HERE = Path(__file__).parent
shutil.copytree(_HERE.parent / "tutorials", _HERE / "generated" / "tutorials", dirs_exist_ok=True)
