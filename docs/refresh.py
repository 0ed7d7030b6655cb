"""Make again what the pages show: the demo, the README's table, the pages on leaks and on drugs, the notebooks."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "docs" / "_results" / "demo.txt"
FIGURES = ("effect", "loss_curves", "qc", "scores")


def run_demo() -> str:
    """Run the demo, copy its figures, and return what it printed but for the list of files."""
    with tempfile.TemporaryDirectory() as folder:
        command = [Path(sys.executable).parent / "scperturbmamba", "demo", "--out", folder]
        printed = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout
        for name in FIGURES:
            shutil.copy(Path(folder) / f"{name}.png", ROOT / "docs" / "_static" / f"demo_{name}.png")
    table = printed.split("\n\nWritten to")[0]
    return "\n".join(line.rstrip() for line in table.splitlines()) + "\n"


def into_readme(table: str) -> None:
    """Put the table between the two marks."""
    readme = ROOT / "README.md"
    block = f"<!-- demo -->\n```text\n{table}```\n<!-- /demo -->"
    readme.write_text(re.sub(r"<!-- demo -->.*?<!-- /demo -->", lambda _: block, readme.read_text(), flags=re.DOTALL))


def run_notebooks() -> None:
    """Run every notebook in place."""
    import nbformat
    from nbclient import NotebookClient

    for path in sorted((ROOT / "tutorials").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(notebook, timeout=900, kernel_name="python3").execute(cwd=str(path.parent))
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)  # times of the run
        notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
        nbformat.write(notebook, path)


def run_page(name: str) -> dict:
    """Run the code of a page from its first block to its last, and return what it made."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / name).read_text(), re.MULTILINE | re.DOTALL)
    made: dict = {}
    exec("\n".join(blocks), made)
    return made


def run_drugs_page() -> None:
    """Run the code of the page on drugs and write its two figures."""
    made = run_page("drugs.md")
    for name, ax in {"dose_response": made["curve"], "contexts": made["maps"][0]}.items():
        ax.figure.savefig(ROOT / "docs" / "_static" / f"drugs_{name}.png", dpi=160)


def run_leakage_page() -> None:
    """Run the code of the page on leaks and write its two tables."""
    made = run_page("leakage.md")
    ridge = made["ridge"]
    for name, table in {"leakage": made["table"], "leakage_cells": ridge[ridge["verdict"] == "leak"]}.items():
        rows = [list(table.columns), ["---"] * table.shape[1], *table.to_numpy().tolist()]
        text = "".join(f"| {' | '.join(row)} |\n" for row in rows)
        (RESULT.parent / f"{name}.md").write_text(text)


if __name__ == "__main__":
    table = run_demo()
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(table)
    into_readme(table)
    run_leakage_page()
    run_drugs_page()
    run_notebooks()
