"""The example notebook runs as it is committed: without results of its own, and without outputs."""

from __future__ import annotations

import nbformat
import pytest
from integration_cli import ROOT
from nbclient import NotebookClient

NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert [path.name for path in NOTEBOOKS] == ["search.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_committed_without_outputs(path):
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.slow
# The kernel's libraries warn of their own future; what they warn of is no matter of ours.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("given", [False, True], ids=["makes its own run", "takes a run"])
def test_the_search_notebook(example, tmp_path, monkeypatch, given):
    monkeypatch.delenv("TIERFLOW_RESULTS", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    if given:
        monkeypatch.setenv("TIERFLOW_RESULTS", str(example.output))
    notebook = nbformat.read(ROOT / "examples" / "notebooks" / "search.ipynb", as_version=4)
    folder = ROOT / "examples" / "notebooks"
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    made = list(tmp_path.glob("tierflow-example-*/results/report.html"))
    assert len(made) == (0 if given else 1)
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    texts = "".join(output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in shown)
    assert "('A', 8), ('D', 6), ('B', 2), ('C', 2), ('quarantine', 1)" in texts
    assert "(512, 512), dtype('uint16')" in texts
    assert "[(5, 6, " in texts
    kinds = [kind for output in shown for kind in output.get("data", {})]
    assert kinds.count("image/svg+xml") == 1
    assert kinds.count("text/html") == 2
    pictures = next(o["data"]["text/html"] for o in shown if "figcaption" in o.get("data", {}).get("text/html", ""))
    assert pictures.count('<img src="data:image/webp;base64,') == 6
