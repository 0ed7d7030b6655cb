"""The frame of a page: its head, its look, its sections."""

from __future__ import annotations

from html import escape
from typing import Final

from scperturbmamba.pl._style import ACCENT, FAINT, INK, WARN

_GREY: Final = "#5b636b"  # small type, dark enough to be read
_STYLE: Final = f"""
:root {{ color-scheme: light; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: #fff; color: {INK}; line-height: 1.55; font-size: 16px;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }}
main {{ max-width: 1020px; margin: 0 auto; padding: 40px 24px 72px; }}
header {{ border-bottom: 2px solid {INK}; margin-bottom: 24px; }}
h1 {{ font-size: 28px; line-height: 1.2; margin: 0 0 6px; }}
h2 {{ font-size: 20px; line-height: 1.3; margin: 44px 0 8px; }}
h3 {{ font-size: 16px; margin: 22px 0 4px; }}
p, ul, dl {{ max-width: 760px; margin: 8px 0; }}
ul {{ padding-left: 20px; }}
li {{ margin: 6px 0; }}
.small, small {{ color: {_GREY}; font-size: 14px; }}
.lead {{ background: #f5f7f9; border-left: 4px solid {ACCENT}; padding: 10px 20px; margin: 20px 0; }}
.lead h2 {{ margin: 4px 0; }}
.warn {{ background: #fdf3ec; border-left: 4px solid {WARN}; padding: 8px 20px; margin: 16px 0; max-width: none; }}
dl {{ display: grid; grid-template-columns: minmax(120px, max-content) 1fr; gap: 4px 20px; max-width: 900px; }}
dt {{ font-weight: 600; }}
dd {{ margin: 0; }}
.scroll, .figure {{ overflow-x: auto; margin: 12px 0; }}
.figure img {{ display: block; height: auto; max-width: 100%; }}
table {{ border-collapse: separate; border-spacing: 0; font-size: 14px; line-height: 1.35; }}
th, td {{ padding: 5px 12px 5px 0; text-align: left; vertical-align: top; border-bottom: 1px solid {FAINT}; }}
thead th {{ border-bottom: 1px solid {INK}; vertical-align: bottom; font-weight: 600; }}
tbody th {{ font-weight: 500; white-space: nowrap; position: sticky; left: 0; background: #fff; }}
th.n, td.n {{ text-align: right; font-variant-numeric: tabular-nums; padding: 5px 0 5px 16px; }}
th.group {{ text-align: center; padding-left: 16px; }}
td.n, td.line {{ white-space: nowrap; }}
td.words {{ min-width: 190px; }}
td small {{ display: block; font-size: 12px; }}
table.dense {{ font-size: 12.5px; }}
table.dense th.n, table.dense td.n {{ padding-left: 10px; }}
td.best {{ font-weight: 700; }}
td.best small {{ font-weight: 400; }}
tr .ceiling {{ color: {_GREY}; font-style: italic; }}
.beats {{ color: {ACCENT}; font-weight: 600; }}
.loses {{ color: {WARN}; font-weight: 600; }}
.open {{ color: {_GREY}; }}
details {{ border-top: 1px solid {FAINT}; padding: 8px 0; }}
summary {{ cursor: pointer; font-weight: 600; }}
footer {{ margin-top: 48px; border-top: 1px solid {FAINT}; padding-top: 8px; }}
@media (max-width: 640px) {{
  main {{ padding: 24px 16px 48px; }}
  dl {{ grid-template-columns: 1fr; gap: 0; }}
  dd {{ margin-bottom: 8px; }}
  .figure img {{ max-width: none; }}
}}
@media print {{
  body {{ font-size: 11pt; }}
  main {{ max-width: none; padding: 0; }}
  .scroll, .figure {{ overflow: visible; }}
  .figure, .lead, .warn, tr, p {{ break-inside: avoid; }}
  h2, h3, summary, section > .small {{ break-after: avoid; }}
  table {{ font-size: 8.5pt; }}
  table.dense {{ font-size: 6.5pt; }}
  table.dense th.n, table.dense td.n {{ padding-left: 5px; }}
  details::details-content {{ content-visibility: visible; height: auto; }}
}}
"""


def page(title: str, under: str, sections: str) -> str:
    """Return the whole page; ``sections`` are ready-made HTML, the other words are escaped."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<header><h1>{escape(title)}</h1><p class="small">{escape(under)}</p></header>\n'
        f"{sections}</main>\n</body>\n</html>\n"
    )


def section(title: str, words: str, inside: str) -> str:
    """Return a section with a heading and an explanation; nothing where it would be empty."""
    if not inside:
        return ""
    return f'<section>\n<h2>{escape(title)}</h2>\n<p class="small">{escape(words)}</p>\n{inside}</section>\n'
