"""A study with another identity than its booking's is given it, by the real command in a real Orthanc.

After any failure, and killed at any moment, each image is there whole.
"""

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, date, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID, JPEGLSLossless, RLELossless

from dicom_worklist import config
from dicom_worklist.errors import PacsError
from dicom_worklist.orthanc import ask as asked
from dicom_worklist.status import findings as state
from dicom_worklist.status import repair
from dicom_worklist.status.records import BookingRecord
from support import live, twins
from support.command import command, environment
from support.configuration import Configure
from support.images import synthetic_image
from support.waiting import wait_until

SUBJECT = "3010000.01_sub-007"
BOOKED = BookingRecord(
    booking_id="41", day=date(2026, 11, 24), ae_title="PRISMA", start=datetime.fromisoformat("2026-11-24T09:00"),
    patient_id=SUBJECT, patient_name=f"{SUBJECT}_ses-02", study_instance_uid="2.25.41", accession_number="41",
    step_id="ses-mri02", project="Language and the brain",
)  # fmt: skip
IDENTITY = {
    "PatientID": SUBJECT, "PatientName": f"{SUBJECT}_ses-02", "AccessionNumber": "41",
    "StudyDescription": "Language and the brain", "RequestedProcedureDescription": "Language and the brain",
}  # fmt: skip
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
#: What was scanned under: another subject's entry.
OTHER = {
    "PatientID": "3010000.02_sub-9", "PatientName": "3010000.02_sub-9_ses-01", "AccessionNumber": "40",
    "StudyDescription": "Memory", "RequestedProcedureDescription": "Memory",
}  # fmt: skip


@dataclass
class Hospital:
    """A PACS, and a site whose sync has seen the booking 41."""

    pacs: twins.Pacs
    config: Path
    password: Path

    def ask(self, path: str, method: str = "GET", **options: Any) -> Any:
        answer = requests.request(method, self.pacs.url + path, auth=self.pacs.login, timeout=60, **options)
        answer.raise_for_status()
        return answer.json() if "json" in answer.headers.get("Content-Type", "") else answer.content

    def store(self, *images: Dataset) -> str:
        """Store images of one study; return Orthanc's id of it."""
        studies = {str(self.ask("/instances", "POST", data=written(image))["ParentStudy"]) for image in images}
        assert len(studies) == 1
        return studies.pop()

    def settle(self) -> None:
        """Wait until no image has come for Orthanc's StableAge."""

        def stable() -> None:
            assert all(study["IsStable"] for study in self.ask("/studies?expand"))

        wait_until(stable)

    def images(self, study: str = "") -> dict[str, Dataset]:
        """Orthanc's id → image, of a study or of all."""
        ids = [one["ID"] for one in self.ask(f"/studies/{study}/instances")] if study else self.ask("/instances")
        return {one: dcmread(BytesIO(self.ask(f"/instances/{one}/file"))) for one in ids}

    def files(self, study: str) -> dict[str, bytes]:
        return {one["ID"]: self.ask(f"/instances/{one['ID']}/file") for one in self.ask(f"/studies/{study}/instances")}

    def line(self, study: str, *options: str, booking: str = "41") -> list[str]:
        login = ["--password-file", str(self.password)]
        return ["repair", "-c", str(self.config), study, booking, *login, *options]

    def command(self, study: str, *options: str, booking: str = "41") -> subprocess.CompletedProcess[str]:
        done = command(*self.line(study, *options, booking=booking))
        assert self.pacs.login[1] not in done.stdout + done.stderr
        return done

    def run(self, now: datetime = NOW) -> repair.Run:
        """What the command works with, for those that look over its shoulder."""
        pacs = repair.login(config.load(self.config), "admin", str(self.password))
        return repair.Run(pacs, now, lambda items, _: items, lambda _: None)


@pytest.fixture(scope="module")
def pacs(deployment: live.Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[twins.Pacs]:
    assert deployment.first.status == 0, deployment.first.output
    with twins.pacs(tmp_path_factory.mktemp("pacs") / "data", {"StableAge": 1}) as pacs:
        yield pacs


@pytest.fixture
def hospital(pacs: twins.Pacs, configure: Configure, tmp_path: Path) -> Hospital:
    return hospital_of(pacs, configure, tmp_path)


def hospital_of(pacs: twins.Pacs, configure: Configure, folder: Path) -> Hospital:
    password = folder / "admin.password"
    password.write_text(f"{pacs.login[1]}\n")
    rejected = BookingRecord(booking_id="13", day=BOOKED.day, reason="subject_session: 7 has no session")
    state.save(str(folder / "state.json"), state.Findings(bookings=(BOOKED, rejected)))
    section = {"url": pacs.url, "user": "nobody", "password_file": "/nowhere"}
    hospital = Hospital(pacs, configure({"pacs": section, "status.state": str(folder / "state.json")}), password)
    for patient in hospital.ask("/patients"):
        hospital.ask(f"/patients/{patient}", "DELETE")
    return hospital


def scanned(
    folder: Path, images: int = 2, changes: Mapping[str, object] | None = None, study: str = "1.2.3"
) -> list[Dataset]:
    """Return images as a console makes them: two series, private elements, sequences, a name that isn't ASCII."""
    made: list[Dataset] = []
    for number in range(images):
        image = dcmread(synthetic_image(folder / f"{study}-{number}.dcm", number))
        image.StudyInstanceUID, image.SeriesInstanceUID = study, f"{study}.{number % 2 + 1}"
        uid = UID(f"{study}.{number % 2 + 1}.{number}")
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = uid
        image.SpecificCharacterSet, image.InstitutionName = "ISO_IR 100", "Universität"
        image.StudyDate, image.StudyTime, image.PatientBirthDate = "20261124", "091000", "19900101"
        block = image.private_block(0x29, "SIEMENS CSA HEADER", create=True)
        block.add_new(0x10, "OB", random.Random(number).randbytes(2000))
        block.add_new(0x11, "LO", "private")
        image.RequestAttributesSequence = Sequence([item(40, "ses-mri01", "Memory")])
        image["RequestAttributesSequence"].is_undefined_length = number % 2 == 1
        image.ReferencedImageSequence = Sequence([Dataset(), Dataset()])
        for one in image.ReferencedImageSequence:
            one.ReferencedSOPInstanceUID = "1.2.3.4"
        for keyword, value in {**OTHER, **(changes or {})}.items():
            setattr(image, keyword, value)
        made.append(image)
    return made


def item(accession_number: int, step_id: str, description: str) -> Dataset:
    item = Dataset()
    item.AccessionNumber, item.ScheduledProcedureStepID = str(accession_number), step_id
    item.RequestedProcedureDescription, item.RequestedProcedureID = description, step_id
    return item


def written(image: Dataset) -> bytes:
    buffer = BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def reread(image: Dataset) -> Dataset:
    return dcmread(BytesIO(written(image)))


def expected(image: Dataset, **identity: str) -> Dataset:
    """Return what must have become of an image, but for its trace."""
    image = deepcopy(image)
    for keyword, value in (identity or IDENTITY).items():
        setattr(image, keyword, value)
    for request in image.RequestAttributesSequence:
        request.AccessionNumber, request.ScheduledProcedureStepID = "41", "ses-mri02"
        request.RequestedProcedureDescription = "Language and the brain"
    return reread(image)


def traces(image: Dataset) -> list[Dataset]:
    """Take the traces of corrections out of an image."""
    found = list(image.get("OriginalAttributesSequence") or ())
    image.pop("OriginalAttributesSequence", None)
    return found


def by_uid(images: dict[str, Dataset]) -> dict[str, Dataset]:
    return {str(image.SOPInstanceUID): image for image in images.values()}


def check(hospital: Hospital, originals: list[Dataset]) -> str:
    """Look whether Orthanc has these images of 1.2.3, once, as they must be now; return its id of the study."""
    (study,) = [one for one in hospital.ask("/studies?expand") if one["MainDicomTags"]["StudyInstanceUID"] == "1.2.3"]
    tags = study["MainDicomTags"] | study["PatientMainDicomTags"]
    assert IDENTITY.items() <= tags.items()
    found = by_uid(hospital.images(study["ID"]))
    assert found.keys() == {str(image.SOPInstanceUID) for image in originals}
    for image in originals:
        now = found[str(image.SOPInstanceUID)]
        assert now.file_meta.TransferSyntaxUID == image.file_meta.TransferSyntaxUID
        *before, trace = traces(now)
        assert before == list(image.get("OriginalAttributesSequence") or ())
        old = deepcopy(image)
        old.pop("OriginalAttributesSequence", None)
        assert now == expected(old)
        assert now.PixelData == image.PixelData
        (was,) = trace.ModifiedAttributesSequence
        for keyword, booked in IDENTITY.items():
            assert was.get(keyword) == (image[keyword].value if image[keyword].value != booked else None)
        assert was.RequestAttributesSequence == image.RequestAttributesSequence
        assert (trace.ReasonForTheAttributeModification, trace.SourceOfPreviousValues) == ("CORRECT", "")
        assert trace.ModifyingSystem.startswith("dicom-worklist ")
    return str(study["ID"])


def test_a_study_of_another_identity_gets_the_booked_one(hospital: Hospital, tmp_path: Path) -> None:
    other = hospital.store(
        *scanned(tmp_path, 2, {"PatientID": SUBJECT, "PatientName": f"{SUBJECT}_ses-01", "PatientSex": "F"}, "1.2.4")
    )
    originals = scanned(tmp_path, 5)
    originals[1].compress(RLELossless, generate_instance_uid=False)
    originals[2].file_meta.TransferSyntaxUID = JPEGLSLossless
    originals[2].PixelData = encapsulate([b"\xff\xd8" + bytes(range(256)) + b"\xff\xd9"])
    old = Dataset()
    old.ReasonForTheAttributeModification, old.AttributeModificationDateTime = "COERCE", "20261124100000"
    originals[3].OriginalAttributesSequence = Sequence([old])
    study = hospital.store(*originals)
    hospital.ask(f"/studies/{study}/labels/seen", "PUT")
    hospital.settle()
    before, untouched = hospital.files(study), hospital.files(other)

    preview = hospital.command(study)
    assert (preview.returncode, preview.stderr) == (0, "")
    for old_value, new in zip(OTHER.values(), IDENTITY.values(), strict=True):
        assert any(old_value in line and new in line for line in preview.stdout.splitlines())
    assert "2 series, 5 images" in preview.stdout
    assert "Nothing was changed" in preview.stdout
    assert (hospital.files(study), len(hospital.ask("/instances"))) == (before, 7)

    done = hospital.command("1.2.3", "--apply", "--json")
    assert done.returncode == 0, done.stderr
    repaired = check(hospital, originals)
    assert study in done.stderr
    assert repaired in done.stderr
    answer = json.loads(done.stdout)
    assert (answer["study"], answer["repaired"], answer["images"]) == (study, repaired, 5)
    assert {"attribute": "PatientID", "old": OTHER["PatientID"], "new": SUBJECT} in answer["changes"]
    assert hospital.ask(f"/studies/{repaired}/labels") == ["seen"]
    assert hospital.files(other) == untouched

    hospital.settle()
    for name in (repaired, "1.2.3", study):
        again = hospital.command(name, "--apply")
        assert (again.returncode, again.stderr) == (0, "")
        assert "Nothing to do" in again.stdout
    assert check(hospital, originals) == repaired


@pytest.mark.parametrize(
    "identity",
    [
        {**IDENTITY, "PatientName": f"{SUBJECT}_ses-01"},
        {**IDENTITY, "StudyDescription": "", "AccessionNumber": "", "PatientName": ""},
    ],
)
def test_where_the_patientid_is_right_the_rest_is_corrected_all_the_same(
    identity: dict[str, str], hospital: Hospital, tmp_path: Path
) -> None:
    other = hospital.store(*scanned(tmp_path, 2, identity, "1.2.4"))
    originals = scanned(tmp_path, 3, identity)
    study = hospital.store(*originals)
    hospital.settle()
    untouched = hospital.files(other)
    done = hospital.command(study, "--apply")
    assert done.returncode == 0, done.stderr
    assert check(hospital, originals) == study
    assert hospital.files(other) == untouched
    assert len(hospital.ask("/studies")) == 2


def test_a_study_whose_images_differ_is_not_taken_for_a_right_one(hospital: Hospital, tmp_path: Path) -> None:
    right, wrong = scanned(tmp_path, 2, IDENTITY)
    wrong.PatientName = "somebody"
    study = hospital.store(right, wrong)
    hospital.settle()
    preview = hospital.command(study)
    assert f"{SUBJECT}_ses-02 and others" in preview.stdout
    assert hospital.command(study, "--apply").returncode == 0
    assert {str(image.PatientName) for image in hospital.images().values()} == {f"{SUBJECT}_ses-02"}


def test_images_that_have_the_booked_identity_already_are_joined(hospital: Hospital, tmp_path: Path) -> None:
    """As where the registration was corrected at the console in the middle of the scan."""
    first, last = scanned(tmp_path, 2)
    study = hospital.store(first)
    other = hospital.store(right := expected(last))
    hospital.settle()
    before = hospital.files(other)
    assert hospital.command("1.2.3", "--apply").returncode == 0
    assert hospital.ask("/studies") == [other]
    found = hospital.files(other)
    assert len(found) == 2
    assert before.items() <= found.items()
    assert study != other
    assert by_uid(hospital.images(other))[str(right.SOPInstanceUID)] == right


# --- what goes wrong ---

_KILLED = """
import os, signal, sys
from dicom_worklist import cli
from dicom_worklist.status import repair
ask, last = repair.ask, int(sys.argv.pop(1))
def counted(*arguments):
    global last
    last -= 1
    if last < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return ask(*arguments)
repair.ask = counted
sys.exit(cli.main())
"""


@pytest.mark.parametrize("changes", [{"PatientID": SUBJECT}, {}], ids=["in place", "elsewhere"])
def test_killed_before_any_of_its_requests_it_leaves_all_images_and_the_next_one_completes(
    changes: dict[str, object], hospital: Hospital, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """`--long` tries each request, which takes four minutes."""
    step = 1 if request.config.getoption("--long") else 7
    originals = scanned(tmp_path, 2, changes)
    wanted = {str(image.SOPInstanceUID): image for image in originals}
    killed = last = 0
    while True:
        for patient in hospital.ask("/patients"):
            hospital.ask(f"/patients/{patient}", "DELETE")
        study = hospital.store(*originals)
        hospital.settle()
        line = [sys.executable, "-c", _KILLED, str(last), *hospital.line(study, "--apply")]
        done = subprocess.run(line, env=environment(), text=True, capture_output=True, timeout=60, check=False)
        if done.returncode != -signal.SIGKILL:
            break
        killed, last = killed + 1, last + step
        held = hospital.images().values()
        assert {str(image.SOPInstanceUID) for image in held} == wanted.keys()
        assert all(image.PixelData == wanted[str(image.SOPInstanceUID)].PixelData for image in held)
        hospital.settle()
        again = hospital.command(study, "--apply")
        assert again.returncode == 0, (last, again.stderr)
        check(hospital, originals)
        assert len(hospital.ask("/studies")) == 1
    assert done.returncode == 0, done.stderr
    check(hospital, originals)
    assert killed > 15 / step


def pixel(image: Dataset) -> None:
    image.PixelData = b"\1" + image.PixelData[1:]


def private(image: Dataset) -> None:
    image[0x0029, 0x1010].value = b"\1" + image[0x0029, 0x1010].value[1:]


def absent(image: Dataset) -> None:
    del image.StudyTime


def added(image: Dataset) -> None:
    image.PatientComments = "somebody else's"


def nested(image: Dataset) -> None:
    image.ReferencedImageSequence[1].ReferencedSOPInstanceUID = "1.2.3.5"


def step(image: Dataset) -> None:
    image.RequestAttributesSequence[0].RequestedProcedureID = "another"


def name(image: Dataset) -> None:
    image.PatientName = "somebody"


def syntax(image: Dataset) -> None:
    image.compress(RLELossless, generate_instance_uid=False)


def test_wrong_images_that_were_in_the_booked_study_before_are_named(hospital: Hospital, tmp_path: Path) -> None:
    first, last = scanned(tmp_path)
    hospital.store(first)
    last.PatientID = SUBJECT
    other = hospital.store(last)
    hospital.settle()
    done = hospital.command("1.2.3", "--apply")
    assert done.returncode == 7
    assert f"study {other} had other images before, whose PatientName, " in done.stderr
    hospital.settle()
    assert hospital.command(other, "--apply").returncode == 0
    assert check_names(hospital) == {IDENTITY["PatientName"]}


def check_names(hospital: Hospital) -> set[str]:
    images = hospital.images().values()
    assert len(images) == 2
    return {str(image.PatientName) for image in images}


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (pixel, "(7FE0,0010) PixelData differs"),
        (private, "(0029,1010) differs"),
        (absent, "(0008,0030) StudyTime differs"),
        (added, "(0010,4000) PatientComments differs"),
        (nested, "(0008,1140) ReferencedImageSequence differs"),
        (step, "(0040,0275) RequestAttributesSequence differs"),
        (name, f"PatientName is 'somebody' instead of '{SUBJECT}_ses-02'"),
        (syntax, "transfer syntax is RLE Lossless"),
    ],
)
def test_if_a_copy_is_not_as_it_must_be_the_original_stays(
    tamper: Callable[[Dataset], None], said: str, hospital: Hospital, tmp_path: Path
) -> None:
    originals = scanned(tmp_path)
    study = hospital.store(*originals)
    copy = expected(originals[1])
    tamper(copy)
    target = hospital.store(copy)
    hospital.settle()
    before = hospital.files(study)
    done = hospital.command(study, "--apply")
    assert done.returncode == 7
    assert said in done.stderr
    assert f"the copy, study {target}, is not as study {study}" in done.stderr
    assert "Nothing was removed" in done.stderr
    (wrong,) = [one for one, image in hospital.images(target).items() if image.SOPInstanceUID == copy.SOPInstanceUID]
    assert done.stderr.count("image ") == done.stderr.count(f"image {wrong}")
    assert hospital.files(study) == before
    if tamper is name:  # Orthanc then shows the name of the image that is gone
        hospital.ask(f"/instances/{wrong}", "DELETE")
        hospital.settle()
        assert hospital.command(study, "--apply").returncode == 0
        check(hospital, originals)


def test_if_an_image_of_the_copy_is_gone_the_original_stays(
    hospital: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = hospital.store(*scanned(tmp_path, 3))
    hospital.settle()
    before, copies = hospital.files(study), list[str]()

    def ask(pacs: Any, path: str, *rest: Any) -> Any:
        answer = asked(pacs, path, *rest)
        if path == "/instances":
            copies.append(answer["ID"])
        elif copies and path == f"/instances/{copies[0]}/file":
            hospital.ask(f"/instances/{copies[0]}", "DELETE")
        return answer

    monkeypatch.setattr(repair, "ask", ask)
    with pytest.raises(PacsError, match=f"image {copies[0] if copies else '.*'} is not there.*Nothing was removed"):
        repair.repair(hospital.run(), study, BOOKED)
    assert hospital.files(study) == before


def test_an_image_that_comes_meanwhile_is_not_removed(
    hospital: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *originals, late = scanned(tmp_path, 3)
    study = hospital.store(*originals)
    hospital.settle()

    def ask(pacs: Any, path: str, *rest: Any) -> Any:
        if path == "/tools/bulk-delete":
            hospital.store(late)
        return asked(pacs, path, *rest)

    with monkeypatch.context() as context:
        context.setattr(repair, "ask", ask)
        with pytest.raises(PacsError, match=f"1 images came to study {study} meanwhile: run this again"):
            repair.repair(hospital.run(), study, BOOKED)
    assert by_uid(hospital.images(study)) == {late.SOPInstanceUID: reread(late)}
    hospital.settle()
    assert hospital.command(study, "--apply").returncode == 0
    check(hospital, [*originals, late])


def test_a_study_that_still_gets_images_is_refused(
    deployment: live.Deployment, configure: Configure, tmp_path: Path
) -> None:
    with twins.pacs(tmp_path / "data", {"StableAge": 3600}) as pacs:
        hospital = hospital_of(pacs, configure, tmp_path)
        study = hospital.store(*scanned(tmp_path))
        before = hospital.files(study)
        assert "Images may still be coming" in hospital.command(study).stdout
        done = hospital.command(study, "--apply")
        assert done.returncode == 7
        assert f"study {study} is still receiving images: wait" in done.stderr
        assert hospital.ask("/studies") == [study]
        assert hospital.files(study) == before


def test_a_site_that_overwrites_images_loses_no_image(
    deployment: live.Deployment, configure: Configure, tmp_path: Path
) -> None:
    with twins.pacs(tmp_path / "data", {"StableAge": 1, "OverwriteInstances": True}) as pacs:
        hospital = hospital_of(pacs, configure, tmp_path)
        originals = scanned(tmp_path)
        study = hospital.store(*originals)
        pixel(other := expected(originals[0]))
        target = hospital.store(other)
        hospital.settle()
        assert hospital.command(study, "--apply").returncode == 7
        assert by_uid(hospital.images(target))[str(other.SOPInstanceUID)] == other
        hospital.ask(f"/studies/{target}", "DELETE")
        for identity in (OTHER, {**IDENTITY, "PatientName": "somebody"}):
            for patient in hospital.ask("/patients"):
                hospital.ask(f"/patients/{patient}", "DELETE")
            study = hospital.store(*(originals := scanned(tmp_path, 2, identity)))
            hospital.settle()
            assert hospital.command(study, "--apply").returncode == 0
            check(hospital, originals)


def test_on_a_full_disk_the_original_stays(deployment: live.Deployment, configure: Configure, tmp_path: Path) -> None:
    with (
        twins.small_disk(tmp_path / "disk", 6) as disk,
        twins.pacs(disk, {"StableAge": 1}) as pacs,
    ):
        hospital = hospital_of(pacs, configure, tmp_path)
        originals = scanned(tmp_path, 5)
        for image in originals:
            image.Rows, image.PixelData = 3200, random.Random(image.InstanceNumber).randbytes(3200 * 128)
        study = hospital.store(*originals)
        hospital.settle()
        before = hospital.files(study)
        (disk / "ballast").write_bytes(bytes(1 << 20))
        fill(disk, leave=1 << 20)
        done = hospital.command(study, "--apply")
        assert done.returncode == 7
        assert "Orthanc at" in done.stderr
        assert hospital.files(study) == before
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        hospital.settle()
        done = hospital.command(study, "--apply")
        assert done.returncode == 0, done.stderr
        check(hospital, originals)


def fill(disk: Path, leave: int) -> None:
    """Leave so many bytes of a disk."""
    status = subprocess.run(["df", "--output=avail", "-B1", disk], text=True, capture_output=True, check=True)
    free = int(status.stdout.splitlines()[-1])
    if free > leave:
        (disk / "filler").write_bytes(bytes(free - leave))


def test_two_repairs_at_once_are_one(hospital: Hospital, tmp_path: Path) -> None:
    study = hospital.store(*scanned(tmp_path))
    hospital.settle()
    with repair._alone(hospital.run().pacs):
        done = hospital.command(study, "--apply")
    assert (done.returncode, len(hospital.ask("/studies"))) == (7, 1)
    assert "another repair is running" in done.stderr


def test_what_can_not_be_repaired_is_named(hospital: Hospital, tmp_path: Path) -> None:
    study = hospital.store(*scanned(tmp_path))
    hospital.store(*scanned(tmp_path, 2, {"PatientID": "typed"}))
    nothing = "0f7af83a-48de6269-9a936754-4d4878f5-b02ec5fb"
    for name, booking, status, said in (
        (nothing, "41", 2, f"Orthanc has no study {nothing}"),
        ("1.2.9", "41", 2, "Orthanc has no study 1.2.9"),
        ("1.2.3", "41", 2, "Orthanc has several studies 1.2.3; name one: "),
        ("../instances", "41", 2, "is neither Orthanc's id of a study"),
        (f"{study}/", "41", 2, "is neither Orthanc's id of a study"),
        ("1.2.3*", "41", 2, "is neither Orthanc's id of a study"),
        (study, "42", 2, "booking '42' is not known"),
        (study, "13", 2, "booking '13' has no entry, so no identity to give: subject_session: 7 has no session"),
    ):
        done = hospital.command(name, "--apply", booking=booking)
        assert (done.returncode, done.stdout) == (status, "")
        assert said in done.stderr
    hospital.password.write_text("wrong\n")
    done = hospital.command(study, "--apply")
    assert done.returncode == 7
    assert f"answers 401 Unauthorized; compare 'admin' and the password in {hospital.password}" in done.stderr
    assert "wrong" not in done.stderr
    hospital.password.unlink()
    assert hospital.command(study, "--apply").returncode == 7
    assert len(hospital.images()) == 4
