"""Series from a real Orthanc to folders, to a second Orthanc, and to another DICOM node; what fails and is lost."""

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from dicom_worklist import config as configuration
from dicom_worklist import orthanc
from dicom_worklist.delivery import run as delivery
from dicom_worklist.delivery import series as asking
from dicom_worklist.delivery.destinations.folder import Folder
from dicom_worklist.delivery.fetch import fetch
from dicom_worklist.delivery.pace import Pace, rest
from dicom_worklist.delivery.series import Series
from dicom_worklist.errors import ConfigError
from dicom_worklist.settings import Pacs
from support import delivering, scanner
from support.command import command
from support.delivering import Site, held
from support.images import synthetic_image
from support.own_pacs import USER, OwnPacs, own_pacs

HEURISTIC = Path(__file__).parents[1] / "support/heuristic.py"


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OwnPacs, OwnPacs]]:
    with (
        own_pacs(tmp_path_factory.mktemp("pacs")) as pacs,
        own_pacs(tmp_path_factory.mktemp("second"), DicomAet="ARCHIVE") as second,
    ):
        yield pacs, second


@pytest.fixture
def site(machines: tuple[OwnPacs, OwnPacs], tmp_path: Path) -> Site:
    return delivering.site(tmp_path, *machines)


def test_each_series_is_at_each_destination_byte_for_byte(site: Site) -> None:
    files = site.scan("007", 3)
    done = site.deliver()
    assert [name for name, _, _ in done.delivered] == ["raw", "second"]
    there = site.raw / "3010000.01/raw/sub-007/ses-mri01/003-series_3"
    sent = {scanner.data_set(path.read_bytes()) for path in files}
    assert {scanner.data_set(file) for file in held(there)} == sent
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=there, check=True, capture_output=True)
    [one] = site.second.ask("/series").json()
    copies = [site.second.ask(f"/instances/{image}/file").content
              for image in site.second.ask(f"/series/{one}").json()["Instances"]]  # fmt: skip
    assert sorted(copies) == held(there)
    assert site.deliver().delivered == []
    [copied] = site.summary.copied.values()
    assert (copied.series, copied.images, copied.places) == (1, 3, ("raw", "second"))


def test_late_images_go_after_their_series(site: Site) -> None:
    first = site.scan("007")
    site.deliver()
    [there] = site.raw.glob("*/*/*/*/*")
    kept = {path.name: path.stat().st_mtime_ns for path in there.glob("*.dcm")}
    uid = str(dcmread(first[0]).SeriesInstanceUID)
    site.scan("007", 1, 2, SeriesInstanceUID=uid)
    assert site.summary.copied  # of the run before: the page compares the number of images
    done = site.deliver()
    assert done.failed == []
    assert len(held(there)) == 5
    assert {name: (there / name).stat().st_mtime_ns for name in kept} == kept
    assert len((there / "SHA256SUMS").read_text().splitlines()) == 5
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=there, check=True, capture_output=True)
    [copied] = site.summary.copied.values()
    assert copied.images == 5
    [one] = site.second.ask("/series").json()
    assert len(site.second.ask(f"/series/{one}").json()["Instances"]) == 5


def test_a_destination_that_is_down_holds_up_no_other_and_gets_it_later(site: Site) -> None:
    site.scan("007")
    site.second.container.pause()
    try:
        site.destinations[1]["timeout"] = 2
        done = site.deliver()
    finally:
        site.second.container.unpause()
    assert [name for name, _, _ in done.delivered] == ["raw"]
    [(name, _, why)] = done.failed
    assert name == "second"
    assert "can't be asked" in why
    state = site.summary.destinations["second"]
    assert (state.waiting, state.down) == (1, why)
    assert site.deliver(after=timedelta(seconds=10)).delivered == []  # a pause
    assert [name for name, _, _ in site.deliver().delivered] == ["second"]
    assert site.summary.destinations["second"].waiting == 0


def test_nothing_that_is_there_is_overwritten(site: Site) -> None:
    there = site.raw / "3010000.01/raw/sub-007/ses-mri01/001-series_1"
    there.mkdir(parents=True)
    (there / "notes.txt").write_text("mine")
    site.scan("007")
    [(_, _, why)] = site.deliver("raw").failed
    assert "has nothing of this series" in why
    assert [path.name for path in there.iterdir()] == ["notes.txt"]
    assert list(there.parent.iterdir()) == [there]
    there.rename(there.with_name("mine"))
    assert len(site.deliver("raw").delivered) == 1


def test_two_series_with_one_path_are_told_apart(site: Site) -> None:
    site.scan("007", 1)
    site.scan("007", 1)
    done = site.deliver("raw")
    assert len(done.delivered) == 1
    [(_, _, why)] = done.failed
    assert "two series may have the same path" in why


def test_a_study_without_the_identity_of_a_booking_is_not_put_anywhere(site: Site) -> None:
    site.scan("007", PatientName="Somebody")
    [(_, _, why)] = site.deliver("raw").failed
    assert "don't say project_id, session, subject" in why
    assert list(site.raw.iterdir()) == []


@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_a_copy_that_is_lost_is_no_proof_any_more(site: Site, harm: str) -> None:
    site.scan("007")
    site.deliver("raw")
    assert site.summary.copied
    [there] = site.raw.glob("*/*/*/*/*")
    file = min(there.glob("*.dcm"))
    if harm == "changed":
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    else:
        file.unlink()
    done = site.deliver("raw", timedelta(hours=21))
    [(_, _, why)] = done.failed
    assert str(file) in why
    assert not site.summary.copied
    if harm == "changed":
        file.unlink()
    site.deliver("raw", timedelta(hours=2))
    assert len(held(there)) == 3
    assert site.summary.copied


def test_a_lost_copy_at_the_second_orthanc_is_noticed(site: Site) -> None:
    site.scan("007")
    site.deliver("second")
    assert site.summary.copied
    [one, *_] = site.second.data.glob("??/??/*")
    one.write_bytes(one.read_bytes()[:-1] + b"x")
    [(_, _, why)] = site.deliver("second", timedelta(hours=21)).failed
    assert "has lost or changed the file" in why
    assert not site.summary.copied


def test_a_broken_file_of_the_pacs_is_never_called_safe(site: Site) -> None:
    site.scan("007")
    [one, *_] = site.pacs.data.glob("??/??/*")
    one.write_bytes(one.read_bytes()[:-1] + b"x")
    done = site.deliver()
    assert {why.partition(" image ")[0] for _, _, why in done.failed} == {"the PACS's own file of the"}
    assert not site.summary.copied


def test_copies_on_the_disk_of_the_pacs_are_no_second_copy(site: Site) -> None:
    site.destinations[0]["disk"], site.destinations[1]["disk"] = "pacs", None
    site.scan("007")
    assert len(site.deliver().delivered) == 2
    assert not site.summary.copied


def test_a_share_that_is_not_mounted_gets_nothing(site: Site) -> None:
    site.destinations[0]["mount"] = str(site.raw)
    site.scan("007")
    [(_, _, why)] = site.deliver("raw").failed
    assert why == f"{site.raw} isn't mounted: mount it"
    assert list(site.raw.iterdir()) == []


def test_rules_say_what_goes_where(site: Site) -> None:
    site.destinations[0]["when"] = {"series_description": "series [12]", "modality": "mr"}
    site.destinations[1]["when"] = {"project_id": "3010000[.]02"}
    site.scan("007", 2)
    site.scan("007", 3)
    assert [(name, one.values["series_number"]) for name, one, _ in site.deliver().delivered] == [("raw", 2)]


def test_again_compares_and_completes_what_is_there(site: Site) -> None:
    site.scan("007")
    site.deliver()
    [there] = site.raw.glob("*/*/*/*/*")
    min(there.glob("*.dcm")).unlink()
    delivery.again(configuration.load(site.file), "1.2.7", site.now)
    assert {name for name, _, _ in site.deliver().delivered} == {"raw", "second"}
    assert len(held(there)) == 3


def test_the_command_prints_what_it_did(site: Site) -> None:
    site.scan("007")
    done = command("deliver", "-c", site.file, "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert [one["destination"] for one in printed["delivered"]] == ["raw", "second"]
    assert printed["failed"] == printed["busy"] == []


@pytest.mark.parametrize("commitment", [True, False])
def test_another_node_commits_itself_or_is_asked_for_each_image(site: Site, *, commitment: bool) -> None:
    def address(pacs: OwnPacs) -> str:
        pacs.container.reload()
        [network] = pacs.container.attrs["NetworkSettings"]["Networks"].values()
        return str(network["IPAddress"])

    for pacs, name, title, other in ((site.pacs, "archive", "ARCHIVE", site.second),
                                     (site.second, "pacs", "ORTHANC", site.pacs)):  # fmt: skip
        node = {"AET": title, "Host": address(other), "Port": 4042, "AllowStorageCommitment": True, "AllowFind": True}
        pacs.ask(f"/modalities/{name}", node, "PUT").raise_for_status()
    site.destinations = [{"type": "dicom", "name": "node", "modality": "archive", "commitment": commitment,
                          "timeout": 20, "disk": "elsewhere"}]  # fmt: skip
    site.scan("007", 1, 4)
    done = site.deliver()
    assert done.failed == []
    assert len(done.delivered) == 1
    assert len(site.second.ask("/instances").json()) == 4
    assert not site.summary.copied, "nothing was compared"
    for image in site.second.ask("/instances").json()[:1]:
        site.second.ask(f"/instances/{image}", method="DELETE")
    [(_, _, why)] = site.deliver(after=timedelta(hours=21)).failed
    assert "says that it doesn't have 1 of 4 images" in why
    site.deliver(after=timedelta(hours=1))
    assert len(site.second.ask("/instances").json()) == 4


SLICES = 5


def scan_volume(site: Site, folder: Path, subject: str, **tags: object) -> None:
    """Store a series that is a volume, with all that a converter reads."""
    files = []
    for number in range(SLICES):
        path = synthetic_image(folder / f"{len([*folder.iterdir()])}.dcm", number + 1, 8)
        dataset = dcmread(path)
        dataset.Manufacturer, dataset.MagneticFieldStrength = "Example", "3"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
        dataset.ImageOrientationPatient, dataset.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 2 * number]
        dataset.PixelSpacing, dataset.SliceThickness, dataset.SpacingBetweenSlices = [1, 1], 2, 2
        dataset.RepetitionTime, dataset.EchoTime = "2000", "30"
        dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = "20261124"
        dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = "093000"
        dataset.save_as(path)
        files.append(path)
    site.store(files, subject, **tags)


def test_a_researcher_can_convert_what_was_delivered(site: Site, tmp_path: Path) -> None:
    for subject in ("007", "008"):
        (tmp_path / subject).mkdir()
        scan_volume(site, tmp_path / subject, subject, SeriesInstanceUID=f"1.2.{int(subject)}.1")
    site.settle()
    assert len(site.deliver("raw").delivered) == 2
    places = [place.parent for place in site.raw.rglob("SHA256SUMS")]
    assert len(places) == 2
    for place in places:
        done = subprocess.run(
            ["dcm2niix", "-o", str(tmp_path), "-f", "%i", str(place)], text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stdout
        assert f"Convert {SLICES} DICOM as" in done.stdout
    assert {path.name for path in tmp_path.glob("*.nii")} == {f"3010000.01_sub-{one}.nii" for one in ("007", "008")}


def heudiconv(*line: str | Path) -> None:
    """Run Debian's, as a researcher does."""
    done = subprocess.run(
        ["/usr/bin/heudiconv", "--converter", "dcm2niix", "--bids", "--minmeta", *line],
        text=True, capture_output=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def images(bids: Path) -> set[str]:
    """Return the images of a BIDS folder; each has its description beside it."""
    found = [path for path in bids.rglob("*.nii.gz") if ".heudiconv" not in path.parts]
    for path in found:
        assert path.stat().st_size
        beside = path.with_name(path.name.replace(".nii.gz", ".json"))
        assert json.loads(beside.read_text())["EchoTime"] == 0.03, beside
    return {str(path.relative_to(bids)) for path in found}


def test_every_session_becomes_bids(site: Site, tmp_path: Path) -> None:
    """With a heuristic of the project's own: the folders' names say subject and session."""
    sessions = [(subject, session) for subject in ("007", "008") for session in ("01", "02")]
    for subject, session in sessions:
        for number, name in enumerate(("T1w", "rest"), 1):
            folder = tmp_path / f"{subject}-{session}-{name}"
            folder.mkdir()
            study = f"1.2.{int(subject)}.{int(session)}"
            scan_volume(
                site, folder, subject, StudyInstanceUID=study, SeriesInstanceUID=f"{study}.{number}",
                PatientName=f"3010000.01_sub-{subject}_ses-{session}", SeriesNumber=number,
                SeriesDescription=name, ProtocolName=name,
            )  # fmt: skip
    site.settle()
    assert len(site.deliver("raw").delivered) == 8
    bids = tmp_path / "bids"
    for session in ("01", "02"):
        heudiconv(
            "--dicom_dir_template", site.raw / "3010000.01/raw/sub-{subject}/ses-mri{session}/*/*.dcm",
            "--subjects", "007", "008", "--ses", session, "--heuristic", HEURISTIC, "--outdir", bids,
        )  # fmt: skip
    assert images(bids) == {
        f"sub-{subject}/ses-{session}/{name}.nii.gz"
        for subject, session in sessions
        for name in (f"anat/sub-{subject}_ses-{session}_T1w", f"func/sub-{subject}_ses-{session}_task-rest_bold")
    }


def test_names_of_reproin_need_no_heuristic_of_the_project(site: Site, tmp_path: Path) -> None:
    """As the set of attributes `reproin` names studies and subjects."""
    site.destinations[0]["path"] = f"{site.raw}/{{{{ patient_name }}}}/{{{{ series_number }}}}"
    for subject in ("007", "008"):
        for session in ("01", "02"):
            folder = tmp_path / f"{subject}-{session}"
            folder.mkdir()
            study, name = f"1.2.{int(subject)}.{int(session)}", f"anat-T1w_ses-{session}"
            scan_volume(
                site, folder, subject, StudyInstanceUID=study, SeriesInstanceUID=f"{study}.1",
                PatientID=f"3010000p01s{subject}", PatientName=f"3010000p01s{subject}_ses-{session}",
                StudyDescription="Lovelace^3010000.01", SeriesDescription=name, ProtocolName=name,
            )  # fmt: skip
    site.settle()
    assert len(site.deliver("raw").delivered) == 4
    heudiconv("--files", site.raw, "--heuristic", "reproin", "--outdir", tmp_path / "bids")
    assert images(tmp_path / "bids/Lovelace/3010000.01") == {
        f"sub-3010000p01s{subject}/ses-{session}/anat/sub-3010000p01s{subject}_ses-{session}_T1w.nii.gz"
        for subject in ("007", "008") for session in ("01", "02")
    }  # fmt: skip


def test_an_odd_value_of_one_series_stops_no_other(site: Site) -> None:
    site.scan("007", SeriesNumber="1.5")
    site.scan("008")
    done = site.deliver("raw")
    assert len(done.delivered) == 1
    [(_, _, why)] = done.failed
    assert "don't say series_number" in why


def test_a_run_that_is_killed_while_it_looks_loses_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.scan("007")
    time.sleep(1.1)
    site.scan("008")
    real = asking.changed

    def cut(*arguments: Any) -> Iterator[Series]:
        found = list(real(*arguments))
        assert len(found) == 2
        yield found[0]
        raise KeyboardInterrupt

    monkeypatch.setattr(delivery, "MARGIN", timedelta(seconds=0))
    monkeypatch.setattr(asking, "changed", cut)
    site.now -= timedelta(hours=1)
    with pytest.raises(KeyboardInterrupt):
        site.deliver("raw")
    monkeypatch.setattr(asking, "changed", real)
    assert len(site.deliver("raw").delivered) == 2


def test_the_pacs_itself_is_no_second_copy(site: Site) -> None:
    site.destinations[1]["url"] = site.pacs.login.url
    site.scan("007")
    [(_, _, why)] = site.deliver("second").failed
    assert "is the PACS itself" in why
    assert not site.summary.copied


@pytest.mark.parametrize("planted", ["link", "file", "fifo"])
def test_what_is_planted_in_a_folder_leads_nowhere(site: Site, tmp_path: Path, planted: str) -> None:
    files = site.scan("007")
    subject, elsewhere = site.raw / "3010000.01/raw/sub-007", tmp_path / "elsewhere"
    elsewhere.mkdir()
    if planted == "fifo":
        place = subject / "ses-mri01/001-series_1"
        place.mkdir(parents=True)
        os.mkfifo(place / f"{scanner.uid(files[0])}.dcm")
    else:
        subject.parent.mkdir(parents=True)
        subject.symlink_to(elsewhere) if planted == "link" else subject.touch()
    [(_, _, why)] = site.deliver("raw").failed
    assert "move it away" in why
    assert list(elsewhere.iterdir()) == []
    assert not site.summary.copied


def test_a_new_destination_gets_what_was_found_before(site: Site) -> None:
    second = site.destinations.pop()
    site.scan("007")
    assert len(site.deliver().delivered) == 1
    site.destinations.append(second)
    site.now += timedelta(days=3)
    assert [name for name, _, _ in site.deliver().delivered] == ["second"]


def test_a_series_that_grows_holds_up_no_other(site: Site) -> None:
    files = site.scan("007")
    site.deliver("raw")
    delivery.again(configuration.load(site.file), "1.2.7", site.now)
    series = str(dcmread(files[0]).SeriesInstanceUID)
    late = [synthetic_image(site.folder / f"late-{number}.dcm", 100 + number) for number in range(2)]
    site.store(late, "007", SeriesInstanceUID=series)  # not stable yet: the outbox has three
    done = site.deliver("raw", timedelta(0))
    assert (done.delivered, done.failed) == ([], [])
    site.settle()
    [(_, one, _)] = site.deliver("raw", timedelta(minutes=2)).delivered
    assert one.images == 5


def test_only_a_comparison_renews_a_proof(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.scan("007")
    site.deliver("raw")
    assert site.summary.copied
    with monkeypatch.context() as other:
        other.setattr(asking, "digest", lambda _: "of other images")
        site.deliver("raw", timedelta(hours=21))
    assert not site.summary.copied
    assert len(site.deliver("raw").delivered) == 1
    assert site.summary.copied


def test_scanners_go_first_and_only_while_they_store(site: Site) -> None:
    now, rests = iter([0.0, 0.0, 0.0, 1.0, 1.0, 10.0, 10.0]), list[float]()
    pace = Pace(delivery.settings(configuration.load(site.file))[1], lambda: next(now), rests.append)
    pace.wait()
    site.scan("031", images=20)
    pace.wait()
    pace.wait()
    nobody, busy, quiet = rests
    assert (nobody, quiet) == (0, 0)
    assert rest(1, 20) <= busy < rest(1, 40)  # an image makes one change, a series and a study some more


def test_a_pacs_that_has_lost_all_is_filled_from_the_second_one(site: Site) -> None:
    for subject in ("041", "042"):
        site.scan(subject, images=6)
    site.deliver("second")
    before, config = checksums(site.second), configuration.load(site.file)
    assert len(before) == 12
    for patient in site.pacs.ask("/patients").json():
        site.pacs.ask(f"/patients/{patient}", method="DELETE")
    login = (USER, str(site.folder / "password"))
    with pytest.raises(ConfigError, match=r"'raw' is not a destination of the type orthanc. .*: second"):
        fetch(config, "raw", login, lambda names, _: names)

    def killed(names: Sequence[str], _: str) -> Iterator[str]:
        yield names[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(config, "second", login, killed)
    assert len(checksums(site.pacs)) == 6
    done = command("fetch", "second", "-c", str(site.file), "--user", USER, "--password-file", login[1], "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"came": 6, "there": 6, "wrong": []}
    assert checksums(site.pacs) == before
    site.settle()
    assert {name for name, _, _ in site.deliver().delivered} == {"raw", "second"}  # and each copy is proved again


def test_what_is_damaged_or_another_is_not_fetched(site: Site) -> None:
    site.scan("043", images=3)
    site.deliver("second")
    damaged, another, whole = sorted(checksums(site.second))
    kept = [
        path for path in site.second.data.glob("??/??/*") if sha256(path.read_bytes()) == checksum(site.second, damaged)
    ]
    content = kept[0].read_bytes()
    kept[0].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for name in (damaged, whole):
        site.pacs.ask(f"/instances/{name}", method="DELETE")
    image = dcmread(BytesIO(site.pacs.ask(f"/instances/{another}/file").content))
    site.pacs.ask(f"/instances/{another}", method="DELETE")
    image.ImageComments = "another"
    image.save_as(changed := BytesIO())
    site.pacs.put(changed.getvalue())
    there = checksum(site.pacs, another)
    done = fetch(configuration.load(site.file), "second", (USER, str(site.folder / "password")), lambda names, _: names)
    assert (done.came, done.there) == (1, 0)
    said = "\n".join(sorted(done.wrong, key=len))
    assert len(done.wrong) == 2
    assert "isn't what was received there, so it was not taken" in said
    assert "has another file than" in said
    assert checksum(site.pacs, another) == there
    assert {*checksums(site.pacs)} == {another, whole}


def test_what_the_disk_of_the_pacs_changes_is_not_counted_as_fetched(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.scan("046", images=3)
    site.deliver("second")
    [patient] = site.pacs.ask("/patients").json()
    site.pacs.ask(f"/patients/{patient}", method="DELETE")
    damaged: list[str] = []

    def ask(pacs: Pacs, path: str, content: bytes) -> object:
        answer = orthanc.ask(pacs, path, content)
        if not damaged:
            [file] = [path for path in site.pacs.data.glob("??/??/*") if path.read_bytes() == content]
            file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
            damaged.append(str(dcmread(BytesIO(content)).SOPInstanceUID))
        return answer

    monkeypatch.setattr("dicom_worklist.delivery.fetch.ask", ask)
    done = fetch(configuration.load(site.file), "second", (USER, str(site.folder / "password")), lambda names, _: names)
    assert (done.came, done.there) == (2, 0)
    [wrong] = done.wrong
    assert wrong.startswith(f"image {damaged[0]}: ")
    assert "check its disk" in wrong


def test_a_study_that_was_repaired_does_not_come_back_under_its_old_name(site: Site) -> None:
    site.scan("044")
    site.deliver("second")
    [study] = site.pacs.ask("/studies").json()
    changed = {"Replace": {"PatientID": "045", "PatientName": "045"}, "Force": True, "KeepSource": False,
               "Keep": ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"], "Synchronous": True}  # fmt: skip
    site.pacs.ask(f"/studies/{study}/modify", changed).raise_for_status()
    before, login = checksums(site.pacs), (USER, str(site.folder / "password"))
    done = fetch(configuration.load(site.file), "second", login, lambda names, _: names)
    assert (done.came, done.there, checksums(site.pacs)) == (0, 0, before)
    [wrong] = done.wrong
    assert (
        "is there as that of 045 (045) and 3010000.01_sub-044 (3010000.01_sub-044_ses-01), as after a repair" in wrong
    )


def repaired(site: Site, study: str, subject: str) -> None:
    """Give a study another PatientID, and keep all UIDs, as a repair does."""
    changed = {"Replace": {"PatientID": f"3010000.01_sub-{subject}", "PatientName": f"3010000.01_sub-{subject}_ses-01"},
               "Keep": ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"],
               "Force": True, "KeepSource": False, "Synchronous": True}  # fmt: skip
    site.pacs.ask(f"/studies/{study}/modify", changed).raise_for_status()
    site.settle()


def told(site: Site) -> dict[str, list[tuple[str, str, int]]]:
    """Return whose copies each destination has under a name of before: whose it was, whose it is, and how many."""
    names = {name: state.superseded for name, state in site.summary.destinations.items() if state.superseded}
    return {name: [(one.was[14:18], one.now[14:18], one.series) for one in found] for name, found in names.items()}


def test_copies_under_the_name_before_a_repair_are_told_until_they_are_gone(site: Site) -> None:
    site.scan("044", 1)
    site.scan("044", 2, SeriesInstanceUID="1.2.44.2")
    site.scan("046")
    site.deliver()
    before = {one["PatientID"]: study for study in site.pacs.ask("/studies").json()
              for one in [site.pacs.ask(f"/studies/{study}").json()["PatientMainDicomTags"]]}  # fmt: skip
    assert told(site) == {}
    repaired(site, before["3010000.01_sub-044"], "045")
    site.deliver()
    assert told(site) == {"raw": [("-044", "-045", 2)], "second": [("-044", "-045", 2)]}
    assert str(site.raw) in site.summary.destinations["raw"].superseded[0].place
    assert len(site.second.ask("/studies").json()) == 3

    shutil.rmtree(site.raw / "3010000.01/raw/sub-044")
    site.deliver()
    assert told(site) == {"second": [("-044", "-045", 2)]}
    site.second.ask(f"/studies/{before['3010000.01_sub-044']}", method="DELETE")
    site.deliver()
    assert told(site) == {}


def test_a_repair_while_the_series_is_delivered(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.scan("052")
    [study] = site.pacs.ask("/studies").json()
    deliver = Folder.deliver

    def meanwhile(*given: Any) -> str:
        where = deliver(*given)
        monkeypatch.undo()
        repaired(site, study, "053")
        site.deliver("second")
        return where

    monkeypatch.setattr(Folder, "deliver", meanwhile)
    site.deliver("raw")
    site.deliver()
    assert told(site) == {"raw": [("-052", "-053", 1)]}
    assert held(site.raw / "3010000.01/raw/sub-053/ses-mri01/001-series_1")


def test_a_repair_that_is_taken_back(site: Site) -> None:
    site.scan("047")
    site.deliver()
    [study] = site.pacs.ask("/studies").json()
    repaired(site, study, "048")
    site.deliver()
    [study] = site.pacs.ask("/studies").json()
    repaired(site, study, "047")
    site.deliver()
    assert told(site) == {"raw": [("-048", "-047", 1)], "second": [("-048", "-047", 1)]}


def test_a_path_without_a_name_is_clear_when_the_new_copy_is_there(site: Site) -> None:
    site.destinations = [
        {**site.destinations[0], "path": f"{site.raw}/{{{{ study_instance_uid }}}}/{{{{ series_number }}}}"}
    ]
    site.scan("050")
    site.deliver()
    [study] = site.pacs.ask("/studies").json()
    repaired(site, study, "051")
    site.deliver()
    assert told(site) == {"raw": [("-050", "-051", 1)]}
    [failure] = site.summary.destinations["raw"].failures
    assert "isn't what was received" in failure.why
    (site.raw / "1.2.50").rename(site.folder / "away")
    site.deliver()
    assert told(site) == {}
    assert held(site.raw / "1.2.50/1")


def test_another_session_of_the_same_subject(site: Site) -> None:
    """Orthanc's ids are the same: only PatientName changed."""
    files = site.scan("049")
    site.deliver()
    [study] = site.pacs.ask("/studies").json()
    site.pacs.ask(f"/studies/{study}", method="DELETE")
    site.store(files, "049", PatientName="3010000.01_sub-049_ses-02")
    site.settle()
    site.deliver()
    names = ("3010000.01_sub-049_ses-01 (3010000.01_sub-049)", "3010000.01_sub-049_ses-02 (3010000.01_sub-049)")
    for state in site.summary.destinations.values():
        assert [(one.was, one.now) for one in state.superseded] == [names]
    site.second.ask(f"/studies/{study}", method="DELETE")
    (site.raw / "3010000.01/raw/sub-049/ses-mri01").rename(site.folder / "away")
    site.deliver(after=timedelta(hours=1))
    assert told(site) == {}
    assert held(site.raw / "3010000.01/raw/sub-049/ses-mri02/001-T1w")


def checksums(pacs: OwnPacs) -> dict[str, str]:
    return {name: checksum(pacs, name) for name in pacs.ask("/instances").json()}


def checksum(pacs: OwnPacs, instance: str) -> str:
    return sha256(pacs.ask(f"/instances/{instance}/file").content)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
