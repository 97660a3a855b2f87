"""Orthanc's answers about series and images, read: what is odd in one spoils no other, and a run asks for few."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from dicom_worklist.errors import PacsError
from dicom_worklist.settings import Pacs
from dicom_worklist.status import pacs_series
from dicom_worklist.status.records import Look, Series
from support.calendar import NOW

PACS = Pacs(url="http://127.0.0.1:1", user="reader", password_file="/nowhere")


class Orthanc:
    """Answers with what it is given, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.images: dict[str, list[dict[str, Any]]] = {}
        self.types: dict[str, object] = {}
        self.answer: Any = None

    def ask(self, _: Pacs, path: str, question: dict[str, Any]) -> Any:
        assert path == "/tools/find"
        self.asked.append(json.loads(json.dumps(question)))
        if self.answer is not None:
            return self.answer
        uids = question["Query"]["SeriesInstanceUID"].split("\\")
        if question["Level"] == "Series":
            return [{"ID": uid, "RequestedTags": {"ImageType": self.types.get(uid)}} for uid in uids]
        return [{"ParentSeries": uid, "MainDicomTags": tags} for uid in uids for tags in self.images.get(uid, ())]


@pytest.fixture
def orthanc(monkeypatch: pytest.MonkeyPatch) -> Iterator[Orthanc]:
    found = Orthanc()
    monkeypatch.setattr(pacs_series, "ask", found.ask)
    yield found


def listed(**changes: Any) -> Series:
    """Return a series, read from what Orthanc 1.12 answers."""
    tags = {
        "SeriesInstanceUID": "1.2", "SeriesNumber": "7", "SeriesDescription": "bold", "ProtocolName": "p",
        "Modality": "MR", "ImagesInAcquisition": "36", "NumberOfTemporalPositions": "100",
    }  # fmt: skip
    [(study, [one])] = pacs_series.listed(
        [
            {
                "ID": "a", "ParentStudy": "s", "IsStable": True, "MainDicomTags": tags | changes,
                "Metadata": {"ExpectedNumberOfInstances": "3600", "LastUpdate": "20261124T081000"},
                "RequestedTags": {"NumberOfSeriesRelatedInstances": "3600"},
            }
        ]
    ).items()  # fmt: skip
    assert study == "s"
    return one


def of(uid: str, images: int, *, minutes: int = 0, **changes: Any) -> Series:
    updated = NOW.astimezone(UTC) + timedelta(minutes=minutes)
    return Series(orthanc_id=uid, study="s", uid=uid, images=images, updated=updated, **changes)


def test_a_series_is_read_from_what_orthanc_lists() -> None:
    assert listed() == Series(
        orthanc_id="a", study="s", uid="1.2", number=7, name="bold", modality="MR", images=3600,
        updated=datetime(2026, 11, 24, 8, 10, tzinfo=UTC), in_acquisition=36, temporal_positions=100, expected=3600,
    )  # fmt: skip
    assert listed(SeriesDescription="", SeriesNumber="").name == "p"
    assert listed(SeriesNumber="").number is None


@pytest.mark.parametrize("odd", [None, "", "many", "1e9", "99999999999999999999999", "-5", ["1"], {"a": 1}, "\ud800"])
def test_an_odd_value_spoils_nothing(odd: object, orthanc: Orthanc) -> None:
    one = listed(ImagesInAcquisition=odd, SeriesNumber=odd, SeriesDescription=odd, Modality=odd)
    msgspec.json.encode(one)
    image = {"InstanceNumber": odd, "ImagePositionPatient": odd, "NumberOfFrames": odd}
    orthanc.images["1"] = [image, {"InstanceNumber": "1"}]
    [looked] = pacs_series.looked_into(PACS, [of("1", 2)], {})
    assert looked.look
    assert (looked.look.images, looked.look.frames) == (2, 2)


def test_a_series_without_a_name_of_orthancs_is_left_out() -> None:
    assert pacs_series.listed([{"ParentStudy": "s", "IsStable": True}]) == {}


def test_what_is_known_or_grows_is_not_asked_for(orthanc: Orthanc) -> None:
    known = Look(images=5, frames=5)
    series = [of("1", 5), of("2", 5, stable=False), of("3", 10_001), of("*", 5), of("4", 0)]
    assert [one.look for one in pacs_series.looked_into(PACS, series, {"1": known})] == [known, None, None, None, None]
    assert orthanc.asked == []


def test_a_run_asks_for_the_latest_series_and_not_for_too_many_images(orthanc: Orthanc) -> None:
    series = [of("1", 6000), of("2", 6000, minutes=9), of("3", 3000, minutes=5), of("4", 10_000, minutes=-5)]
    pacs_series.looked_into(PACS, series, {})
    assert [question["Query"]["SeriesInstanceUID"] for question in orthanc.asked] == ["2\\3"]
    pacs_series.looked_into(PACS, series[-1:], {})
    assert orthanc.asked[-1]["Query"] == {"SeriesInstanceUID": "4"}


def test_a_series_that_takes_too_long_is_left_out_and_the_others_are_looked_into(orthanc: Orthanc) -> None:
    """Its answer would come after pacs.timeout, in each run, and no run would have any hints."""
    orthanc.images["1"] = [{"InstanceNumber": "1"}]
    large, small = pacs_series.looked_into(PACS, [of("9", 50_000, minutes=9), of("1", 1)], {})
    assert [question["Query"]["SeriesInstanceUID"] for question in orthanc.asked] == ["1"]
    assert large.look is None
    assert small.look


def test_an_image_type_is_asked_for_only_where_the_header_says_more(orthanc: Orthanc) -> None:
    orthanc.types = {"1": "DERIVED\\PRIMARY", "2": "ORIGINAL\\PRIMARY"}
    for uid in ("1", "2", "3"):
        orthanc.images[uid] = [{"InstanceNumber": str(number)} for number in range(5)]
    series = [of("1", 5, in_acquisition=9), of("2", 5, in_acquisition=9), of("3", 5, in_acquisition=5)]
    looked = pacs_series.looked_into(PACS, series, {})
    assert [one.look and one.look.derived for one in looked] == [True, False, False]
    assert orthanc.asked[-1]["Query"] == {"SeriesInstanceUID": "1\\2"}


@pytest.mark.parametrize("answer", [{"a": 1}, [1], ["x"], [{}], [{"ParentSeries": "1", "MainDicomTags": 5}], 7])
def test_something_other_than_images_is_an_error(answer: object, orthanc: Orthanc) -> None:
    orthanc.answer = answer
    with pytest.raises(PacsError, match="other than images"):
        pacs_series.looked_into(PACS, [of("1", 5)], {})
