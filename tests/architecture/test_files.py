"""No file of the project depends on the machine it was written on."""

from __future__ import annotations

import pytest

from tests.architecture.sources import ROOT, project_files

_HOSTS = ["pypi" + ".org", "pythonhosted" + ".org", "download.pytorch" + ".org", "huggingface" + ".co"]
_PLACES = ["/" + "root/", "/" + "home/", "/" + "work/", "/" + "Users/", "/" + "opt/"]
_TEXT = {"", ".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".json", ".cfg"}
_FREE = {"LICENSE"}


@pytest.mark.parametrize("kind", ["hosts", "places"])
def test_no_file_names_a_registry_or_a_place_on_one_machine(kind: str) -> None:
    """Registries and folders of a machine are that machine's settings and appear in no file."""
    words = _HOSTS if kind == "hosts" else _PLACES
    files = [path for path in project_files() if path.suffix in _TEXT and path.name not in _FREE]
    texts = {path: path.read_text(encoding="utf-8", errors="replace") for path in files}
    assert texts
    assert not [f"{path.relative_to(ROOT)}: {word}" for path, text in texts.items() for word in words if word in text]
