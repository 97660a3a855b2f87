"""A researcher's heuristic for heudiconv: which file of BIDS a series becomes, by its name on the console."""

from typing import Any

Key = tuple[str, tuple[str], None]
NAMES = {"T1w": "anat/sub-{subject}_{session}_T1w", "rest": "func/sub-{subject}_{session}_task-rest_bold"}


def infotodict(seqinfo: list[Any]) -> dict[Key, list[str]]:
    """Return which series are which files."""
    found: dict[Key, list[str]] = {}
    for series in seqinfo:
        key = f"{{bids_subject_session_dir}}/{NAMES[series.series_description]}"
        found.setdefault((key, ("nii.gz",), None), []).append(series.series_id)
    return found
