"""The module `worklist_configuration`: a configuration is right before a host sees it."""

from pathlib import Path

import pytest
import yaml

from support.configuration import changed, settings
from support.plays import Result, run, tries

SETTINGS = settings(Path("/srv/calendar.sqlite"), Path("/srv/wlbroker"))
INSTALLED = yaml.safe_dump(changed(SETTINGS, {"site.uid_root": None}))
OTHER = yaml.safe_dump(changed(SETTINGS, {"site.name": "Other", "site.uid_root": "1.2.3"}))


def given(changes: dict[str, object] | None = None, **arguments: object) -> Result:
    return {"content": yaml.safe_dump(changed(SETTINGS, changes or {})), "host": "worklist.example", **arguments}


#: What is given → what the message has to say; nothing, if it is right.
CASES: dict[str, tuple[Result, tuple[str, ...]]] = {
    "a good one": (given(), ()),
    "labs that are one scanner's": (given(labs=["Siemens PRISMA 3T", "Prismafit"]), ()),
    "the same site": (given(installed=INSTALLED), ()),
    "another site, on purpose": (given(installed=OTHER, new_uids=True), ()),
    "another site": (
        given(installed=OTHER),
        ("worklist.example has the site Other (UID root 1.2.3)", "the inventory DCCN (UID root None)",
         "worklist_sync_new_uids=true"),
    ),
    "a pattern that is invalid": (
        given({"scanners.2.lab": "SKYRA("}), ("scanners[2].lab (scanner SKYRA) 'SKYRA('", "site_scanners"),
    ),
    "a lab of two scanners": (
        given({"scanners.0.lab": "PRISMA"}), ("'PRISMAFIT' would be PRISMA and PRISMAFIT", "would be rejected"),
    ),
    "two labs of no scanner": (given(labs=["TERRA 7T", "MEG"]), ("'TERRA 7T'", "'MEG'", "no scanner's")),
    "no YAML": ({"content": "{", "host": "worklist.example"}, ("the configuration", "YAML")),
}  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    asked = tries("worklist_configuration", *(arguments for arguments, _ in CASES.values()))
    return dict(zip(CASES, run(tmp_path_factory.mktemp("asked"), asked)[0], strict=True))


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_refused_with_a_remedy(case: str, results: dict[str, Result]) -> None:
    _, said = CASES[case]
    result = results[case]
    assert bool(result.get("failed")) is bool(said), result.get("msg")
    assert not [fragment for fragment in said if fragment not in result["msg"]], result["msg"]
    assert not result["changed"]


def test_a_good_one_has_its_scanners(results: dict[str, Result]) -> None:
    assert results["a good one"]["scanners"] == ["PRISMA", "PRISMAFIT", "SKYRA"]
