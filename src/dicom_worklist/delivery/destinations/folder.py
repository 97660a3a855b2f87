"""A folder for each series, on a disk or a share: written beside its place, compared, and then renamed.

`SHA256SUMS` in it is what `sha256sum --check` reads. Late images are added; nothing that is there is overwritten.
"""

import errno
import glob
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from dicom_worklist import expressions
from dicom_worklist.delivery.destinations import Down, Read, Undelivered
from dicom_worklist.delivery.series import Image, Series
from dicom_worklist.settings import FolderDestination

SUMS = "SHA256SUMS"
#: What says that the disk or the share doesn't work, for any series.
DOWN = {
    errno.EDQUOT, errno.EHOSTDOWN, errno.EIO, errno.ENOSPC, errno.ENOTCONN, errno.EROFS, errno.ESTALE, errno.ETIMEDOUT,
}  # fmt: skip
#: What a value may have in a path; anything else becomes _.
_OTHER = re.compile(r"[^A-Za-z0-9._+-]")


class Folder:
    """A destination of the type `folder`."""

    compares = True

    def __init__(self, settings: FolderDestination) -> None:
        """Use these settings."""
        self._settings = settings
        self._root = Path(settings.path.partition("{{")[0].rpartition("/")[0] or "/")
        self._mode = int(settings.mode, 8)
        #: who may read a file may enter its folder
        self._folder_mode = self._mode | 0o700 | (self._mode & 0o444) >> 2

    def deliver(self, series: Series, images: Sequence[Image], read: Read) -> str:
        """Write the images that are not there."""
        with self._faults():
            target = self.place(series.values)
            there = self._there(target, images)
            self._make(target.parent)
            name = f".{target.name}.{series.id[:8]}."
            for old in target.parent.glob(f"{glob.escape(name)}*.part"):  # of a run that was killed
                if not old.is_symlink() and old.stat().st_uid == os.geteuid():
                    shutil.rmtree(old)
            beside = Path(tempfile.mkdtemp(".part", name, target.parent))
            try:
                sums = there | {_name(one): self._write(beside, one, read) for one in images if _name(one) not in there}
                self._settle(beside, target, sums, is_new=not target.exists())
            finally:
                with suppress(OSError):
                    shutil.rmtree(beside)
            self._compare(target, images)
        return str(target)

    def verify(self, series: Series, images: Sequence[Image], place: str) -> None:  # noqa: ARG002 - the place says it
        """Read each file back, and compare it."""
        with self._faults():
            self._compare(Path(place), images)

    def holds(self, series: Series, place: str | None) -> bool:  # noqa: ARG002 - the place says it
        """Look whether the folder is there."""
        with self._faults():
            return place is not None and Path(place).is_dir()

    def place(self, values: Mapping[str, str | int]) -> Path:
        """Return the path of a series.

        Raises:
            Undelivered: a value that the path needs is missing.
        """
        needed = expressions.names(self._settings.path)
        missing = sorted(name for name in needed if values.get(name, "") == "")
        if missing:
            raise Undelivered(
                f"the images don't say {', '.join(missing)}, which the path needs; their PatientID is "
                f"{values['patient_id']!r}, their PatientName {values['patient_name']!r}. If they are a booking's, "
                "give them its identity with `dicom-worklist repair`"
            )
        safe = {name: _OTHER.sub("_", value) if isinstance(value, str) else value for name, value in values.items()}
        rendered = expressions.template(self._settings.path).render(safe)
        if {"", ".", ".."} & {*rendered.rstrip("/").split("/")[1:]}:
            raise Undelivered(f"the path {rendered} has a part without a name: change a value of the images")
        return Path(rendered)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Say of a failure what it is of."""
        mount = self._settings.mount
        if mount and not os.path.ismount(mount):
            raise Down(f"{mount} isn't mounted: mount it")
        if not self._root.is_dir():
            raise Down(f"the folder {self._root} is missing: make it, or mount it")
        try:
            yield
        except OSError as error:
            said = f"{error.filename or self._root}: {error.strerror or error}"
            if error.errno in DOWN:
                raise Down(f"{said}. Look after the disk or the share; nothing is lost meanwhile") from error
            raise Undelivered(f"{said}. Correct it, and it is tried again on its own") from error

    def _there(self, target: Path, images: Sequence[Image]) -> dict[str, str]:
        """Return the checksums of the images that are there, by the names of their files.

        Raises:
            Undelivered: the folder is of something else.
        """
        if not os.path.lexists(target):
            return {}
        self._no_link(target)
        ours = {_name(image): image for image in images}
        names = {path.name for path in target.iterdir()} - {SUMS}
        present = names & ours.keys()
        if names and not present:
            raise Undelivered(
                f"{target} is there, and has nothing of this series: two series may have the same path. Nothing is "
                "overwritten. Move the folder away, or give the path series_instance_uid"
            )
        found = {}
        for name in present:
            md5, sha256 = _checksums(target / name)
            if md5 != ours[name].md5:
                raise Undelivered(
                    f"{target / name} isn't what was received: somebody changed it, or its disk did. Nothing is "
                    "overwritten. Move the file away, and it is delivered again on its own"
                )
            found[name] = sha256
        return found

    def _make(self, folder: Path) -> None:
        """Make the folders between the root and a series."""
        for path in [*reversed(folder.parents), folder]:
            if path == self._root or not path.is_relative_to(self._root):
                continue
            if os.path.lexists(path):
                self._no_link(path)
            else:
                path.mkdir()
                self._own(path, self._folder_mode)
                _sync(path.parent)

    @staticmethod
    def _no_link(path: Path) -> None:
        """Refuse what leads elsewhere: somebody else may write to the folder."""
        if path.is_symlink() or not path.is_dir():
            raise Undelivered(f"{path} is a link or a file, and must be a folder of its own: move it away")

    def _write(self, folder: Path, image: Image, read: Read) -> str:
        """Write an image's file, read it back from the disk, and return its SHA-256."""
        path, content = folder / _name(image), read(image)
        with path.open("xb") as file:
            self._own(path, self._mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # what is read back comes from the disk
        md5, sha256 = _checksums(path)
        if md5 != image.md5:
            raise Down(f"{folder} gives back other bytes than were written: its disk or share is broken")
        return sha256

    def _settle(self, beside: Path, target: Path, sums: Mapping[str, str], *, is_new: bool) -> None:
        """Put what is beside in place, with the list of all checksums."""
        lines = "".join(f"{sum_}  {name}\n" for name, sum_ in sorted(sums.items()))
        with (beside / SUMS).open("x") as file:
            self._own(beside / SUMS, self._mode)
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            self._own(beside, self._folder_mode)
            _sync(beside)
            beside.rename(target)  # fails if another one is there that has something in it
            _sync(target.parent)
            return
        for path in sorted(beside.iterdir(), key=lambda path: path.name == SUMS):  # the list last
            if path.name != SUMS and (target / path.name).exists():
                raise Undelivered(f"{target / path.name} came there meanwhile: nothing is overwritten. Move it away")
            path.rename(target / path.name)
        _sync(target)

    def _compare(self, target: Path, images: Sequence[Image]) -> None:
        """Compare each file with what the PACS received.

        Raises:
            Undelivered: one isn't the same, or isn't there.
        """
        for image in images:
            path = target / _name(image)
            try:
                md5, _ = _checksums(path)
            except FileNotFoundError as error:
                raise Undelivered(f"{path} is gone: it is delivered again on its own") from error
            if md5 != image.md5:
                raise Undelivered(
                    f"{path} isn't what was received: somebody changed it, or its disk did. Nothing is overwritten. "
                    "Move the file away, and it is delivered again on its own"
                )

    def _own(self, path: Path, mode: int) -> None:
        if self._settings.group:
            try:
                shutil.chown(path, group=self._settings.group)
            except LookupError as error:
                raise Down(f"no group {self._settings.group} on this host: make it, or name another") from error
        path.chmod(mode)


def _name(image: Image) -> str:
    return f"{image.uid}.dcm"


def _checksums(path: Path) -> tuple[str, str]:
    """Return the MD5 and the SHA-256 of a file."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123 - a handle
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file: move it away", str(path))
        while part := file.read(1 << 20):
            md5.update(part)
            sha256.update(part)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # the next comparison reads the disk
    return md5.hexdigest(), sha256.hexdigest()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
