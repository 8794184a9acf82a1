"""Sphinx' configuration. ``make docs`` builds into ``docs/_build/html``."""

from __future__ import annotations

import sys
from pathlib import Path

from pallets_sphinx_themes import ProjectLink

sys.path.insert(0, str(Path(__file__).parent))

project = "Flask-Mailchimp-Optin"
author = "The Flask-Mailchimp-Optin developers"
version = release = "0.1.0"

extensions = ["sphinx.ext.autodoc", "pallets_sphinx_themes", "reference"]
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True

html_theme = "flask"
html_theme_options = {"index_sidebar_logo": False}
html_title = f"{project} {release}"
html_static_path = ["_static"]
html_show_sourcelink = False
html_show_copyright = False
html_sidebars = {"**": ["localtoc.html", "relations.html", "searchbox.html"]}
html_context = {"project_links": [ProjectLink("Contents", "index.html")]}
