"""The templates of the pages, compiled when a release is installed: the same pages, and never those of before."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import Environment

from dicom_worklist.status import rendering
from support.timed_site import Site


@pytest.fixture
def templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a copy of the templates, of which the pages are made meanwhile."""
    here = tmp_path / "status"
    shutil.copytree(rendering.HERE, here, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(rendering, "HERE", here)
    monkeypatch.setattr(rendering, "FOLDERS", (here, here / "past", here / "usage"))
    monkeypatch.setattr(rendering, "COMPILED", here / "__pycache__")
    rendering._template.cache_clear()
    yield here
    rendering._template.cache_clear()


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Return the names of the templates that are compiled from now on."""
    names: list[str | None] = []
    stock = Environment.compile

    def watched(self: Environment, source: str, name: str | None = None, filename: str | None = None) -> object:
        names.append(name)
        return stock(self, source, name, filename)

    monkeypatch.setattr(Environment, "compile", watched)
    return names


def page(site: Site) -> str:
    rendering._template.cache_clear()
    site.run("10:30")
    return site.page


def test_a_page_of_compiled_templates_is_the_same(
    field_site: Site, templates: Path, compiled: list[str | None]
) -> None:
    field_site.book(31, "31-1")
    before = page(field_site)
    assert {*compiled} == {"page.html.j2", "palette.css"}
    rendering.compile_all()
    assert {*compiled} >= {template.name for template in templates.rglob("*.j2")}
    compiled.clear()
    assert page(field_site) == before
    assert compiled == []


def test_a_template_that_has_changed_is_compiled_anew(
    field_site: Site, templates: Path, compiled: list[str | None]
) -> None:
    rendering.compile_all()
    template = templates / "page.html.j2"
    template.write_text(template.read_text().replace('<h2 id="runs">Runs', '<h2 id="runs">What ran'))
    compiled.clear()
    assert "What ran" in page(field_site)
    assert compiled == ["page.html.j2"]


@pytest.mark.parametrize("length", [0, 3, 10, 40, 200])
def test_a_compiled_template_that_is_damaged_is_compiled_anew(
    field_site: Site, templates: Path, compiled: list[str | None], length: int
) -> None:
    rendering.compile_all()
    damaged = templates / "__pycache__/page.html.j2"
    damaged.write_bytes(damaged.read_bytes()[:length])
    compiled.clear()
    assert "Worklist of" in page(field_site)
    assert compiled == ["page.html.j2"]


def test_a_run_writes_no_code(field_site: Site, templates: Path) -> None:
    page(field_site)
    assert not (templates / "__pycache__").exists()
    rendering.compile_all()
    for one in (templates / "__pycache__").iterdir():
        assert one.stat().st_mode & 0o777 == 0o644
