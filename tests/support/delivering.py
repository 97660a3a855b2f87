"""A PACS, the places to which its images are delivered, and the clock of each run."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from pydicom import dcmread

from dicom_worklist import config as configuration
from dicom_worklist.delivery import Summary, load
from dicom_worklist.delivery import run as delivery
from dicom_worklist.delivery.run import Delivered
from support import scanner
from support.command import environment
from support.images import synthetic_image
from support.own_pacs import PASSWORD, USER, OwnPacs
from support.waiting import wait_until


@dataclass
class Site:
    """A PACS, where its images go, and the clock of the next run."""

    folder: Path
    pacs: OwnPacs
    second: OwnPacs
    destinations: list[dict[str, Any]]
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def raw(self) -> Path:
        return self.folder / "raw"

    @property
    def file(self) -> Path:
        """The configuration file."""
        password = str(self.folder / "password")
        written = self.folder / "config.yml"
        pacs = {"url": self.pacs.login.url, "user": "reader", "password_file": password}
        own = {"user": USER, "password_file": password, "outbox": str(self.folder / "outbox.sqlite"),
               "summary": str(self.folder / "delivery.json"), "destinations": self.destinations}  # fmt: skip
        written.write_text(yaml.safe_dump({
            "site": {"name": "Site", "timezone": "Europe/Amsterdam"}, "source": {"type": "csv", "path": "/none"},
            "scanners": [{"ae_title": "PRISMA", "lab": "PRISMA"}], "worklist": {"root": str(self.folder)},
            "pacs": pacs, "delivery": own,
        }))  # fmt: skip
        return written

    def store(self, files: list[Path], subject: str, **tags: object) -> set[bytes]:
        """Store images of a session; return the data sets that were acknowledged."""
        for path in files:
            dataset = dcmread(path)
            dataset.PatientID, dataset.PatientName = f"3010000.01_sub-{subject}", f"3010000.01_sub-{subject}_ses-01"
            dataset.StudyInstanceUID = f"1.2.{int(subject)}"
            dataset.SeriesNumber, dataset.SeriesDescription = 1, "T1w"
            for keyword, value in tags.items():
                setattr(dataset, keyword, value)
            dataset.save_as(path)
        answers = scanner.store(self.pacs.dicom_port, files)
        assert set(answers.values()) == {0}
        return {scanner.data_set(path.read_bytes()) for path in answers}

    def scan(self, subject: str, series: int = 1, images: int = 3, **tags: str) -> list[Path]:
        """Store a series of a session, and wait until the PACS calls it stable."""
        folder = self.folder / "scanner" / f"{subject}-{series}-{len(list(self.folder.glob('scanner/*')))}"
        folder.mkdir(parents=True)
        files = [synthetic_image(folder / f"{number}.dcm", number) for number in range(images)]
        named: dict[str, object] = {"SeriesNumber": series, "SeriesDescription": f"series {series}"}
        self.store(files, subject, **{**named, **tags})
        self.settle()
        return files

    def settle(self) -> None:
        """Wait until each series is stable."""

        def stable() -> None:
            found = self.pacs.ask("/tools/find", {"Level": "Series", "Query": {}, "ResponseContent": ["IsStable"]})
            assert all(one["IsStable"] for one in found.json())

        wait_until(stable, 20)

    def deliver(self, to: str | None = None, after: timedelta = timedelta(minutes=1)) -> Delivered:
        """Run once, so long after the run before."""
        self.now += after
        return delivery.run(configuration.load(self.file), lambda: self.now, to)

    def deliver_as(self, user: int) -> list[str]:
        """Run once as another user; return the lines that are printed."""
        for path in (self.folder, self.folder.parent, self.folder.parent.parent):
            path.chmod(path.stat().st_mode | 0o055)
        for path in self.folder.glob("*"):
            if path.is_file():
                os.chown(path, user, -1)
        os.chown(self.folder, user, -1)
        line = [sys.executable, "-m", "dicom_worklist", "deliver", "-c", str(self.file)]
        done = subprocess.run(
            line, env=environment(), user=user, text=True, capture_output=True, timeout=60, check=False
        )
        os.chown(self.folder, 0, -1)
        assert done.returncode in {0, 8}, done.stderr
        return done.stdout.splitlines()

    @property
    def summary(self) -> Summary:
        found = load(str(self.folder / "delivery.json"))
        assert found
        return found


def site(folder: Path, pacs: OwnPacs, second: OwnPacs) -> Site:
    """Return a site whose PACSs are empty, with a folder `raw` and the second PACS as its destinations."""
    (folder / "password").write_text(PASSWORD)
    (folder / "raw").mkdir()
    for one in (pacs, second):
        for patient in one.ask("/patients").json():
            one.ask(f"/patients/{patient}", method="DELETE")
    raw = {
        "type": "folder", "name": "raw", "disk": "project",
        "path": f"{folder}/raw/{{{{ project_id }}}}/raw/sub-{{{{ subject }}}}/ses-mri{{{{ session }}}}/"
                "{{ '%03d' % series_number }}-{{ series_description }}",
    }  # fmt: skip
    copy = {"type": "orthanc", "name": "second", "disk": "cellar", "url": second.login.url, "user": USER,
            "password_file": str(folder / "password")}  # fmt: skip
    return Site(folder, pacs, second, [raw, copy])


def held(folder: Path) -> list[bytes]:
    """Return the images in a folder."""
    return sorted(path.read_bytes() for path in folder.glob("*.dcm"))
