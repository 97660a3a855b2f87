"""Whether all images of a session have come: hints, each with its evidence. Pure logic.

Three things say what there should be: the images of a series themselves (numbers and slices without a gap), the
header of the series, and what the same protocol gave in the project's earlier sessions. A series is judged when it is
stable. A protocol is missing when no image has come for a while, or when others are there that always came after it.
None of it is certain: a scan may have been stopped, or changed, on purpose.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from dicom_worklist.status.oddities import Kind, Oddity, Weight
from dicom_worklist.status.records import Series, Session

#: So many of the latest sessions have to agree on how many images are usual, so many on which protocols are.
ENOUGH, ENOUGH_FOR_A_PROTOCOL = 3, 5
#: So many sessions are looked at. Since the first that agrees, so many of them have to, or it varies by nature.
LATEST, MOST_AGREE = 20, 0.93
#: What has fewer images than this share may have been stopped by somebody, who knows it, and will scan it again.
STOPPED = 0.8
#: What has fewer than this share of what a later series of the same name has was scanned again.
AGAIN = 0.95
#: When so many protocols are here that always came after another one, that one is missing.
AFTER = 2
#: So many missing protocols have a hint each; more have one together.
FEW = 3
#: For so long no image has come when a session counts as over: before the end of its booking, and after it.
QUIET_BEFORE, QUIET_AFTER = timedelta(minutes=15), timedelta(minutes=5)
#: Objects that are made at any time, and say nothing of the images.
REPORTS = {"SR", "PR", "KO", "DOC", "SEG", "RTSTRUCT", "REG", "AU"}


@dataclass(frozen=True)
class Case:
    """A session to judge: its series, its earlier sessions (the latest first), the rules that are off.

    `over` says that no image has come for a while.
    """

    session: Session
    series: Sequence[Series]
    earlier: Sequence[Session]
    over: bool
    off: Collection[str] = ()

    @cached_property
    def counts(self) -> Sequence[Mapping[str, list[int]]]:
        """How many images the series of each name had in each earlier session."""
        found: list[dict[str, list[int]]] = []
        for session in self.earlier:
            found.append({})
            for name, count, _ in session.series:
                found[-1].setdefault(name, []).append(count)
        return found


def hints(case: Case) -> list[Oddity]:
    """Return what may be missing, one hint for a series."""
    judged = [one for one in case.series if one.stable and one.look]
    growing = {one.name for one in case.series if not one.stable or not one.look}
    few = {} if "fewer" in case.off else dict(_fewer(judged, case))
    said = []
    for one in judged:
        if any(
            _place(other) > _place(one) and _count(one) < AGAIN * _count(other)
            for other in judged
            if other.name == one.name
        ):
            evidence = []
        else:
            evidence = [*_numbers(one, case), *_slices(one, case)]
            # while it is scanned again, nobody needs to know
            evidence += [] if one.name in growing else _header(one, case)
        if one in few and one.name not in growing:
            evidence.append(few[one])
        if evidence:
            said.append(_incomplete(one, evidence, case))
    if "missing" not in case.off:
        said += _missing(judged, growing, case)
    return said


def compared(series: Iterable[Series]) -> Iterator[Series]:
    """Return the series that are compared with those of other sessions: those with a name, and no reports."""
    for one in series:
        if one.name and one.modality not in REPORTS and not one.name.lower().startswith("phoenix"):
            yield one


def remembered(session: Session, series: Iterable[Series]) -> Session:
    """Return the session as later ones are compared with it."""
    ordered = sorted(compared(series), key=_place)
    return Session(
        booking_id=session.booking_id,
        project=session.project,
        label=session.label,
        ae_title=session.ae_title,
        start=session.start,
        series=tuple((one.name, _count(one), _sign(one)) for one in ordered if one.look),
    )


# --- a series alone ---


def _numbers(one: Series, case: Case) -> Iterator[str]:
    """InstanceNumbers that are missing among those that are there."""
    if "gaps" in case.off or not one.look or not one.look.lost or _as_ever(one, case):
        return
    ranges = [f"{first:,}" if first == last else f"{first:,}-{last:,}" for first, last in one.look.lost]
    shown = ", ".join(ranges[:5]) + (f" and {len(ranges) - 5:,} more" if len(ranges) > 5 else "")
    yield f"InstanceNumber {shown} {'is' if len(one.look.lost) == 1 and '-' not in shown else 'are'} missing"


def _slices(one: Series, case: Case) -> Iterator[str]:
    """Places that have fewer images than the others."""
    if "slices" in case.off or not one.look or not one.look.short or _as_ever(one, case):
        return
    look = one.look
    has = "has" if look.short == 1 else "have"
    yield f"{look.short:,} of {look.places:,} slices {has} fewer images than the others ({look.volumes:,})"


def _header(one: Series, case: Case) -> Iterator[str]:
    """Fewer images than the header of the series says."""
    if "header" in case.off or not one.look or one.look.derived or _as_ever(one, case):
        return
    said = announced(one)
    if said and one.images < said and (one.images >= STOPPED * said or case.over):
        yield f"its header says {said:,}"


def announced(one: Series) -> int | None:
    """Return how many images the header of a series says that it has; None if that is not known.

    ImagesInAcquisition (0020,1002) is that of the whole series (GE) or that of a volume (Philips), of which there are
    NumberOfTemporalPositions (0020,0105). Orthanc takes it for the second.
    """
    images, volumes = one.in_acquisition, one.temporal_positions
    if one.look and one.look.frames != one.images:
        return None  # an enhanced object has all of its frames, or doesn't come at all
    if images > 1:
        if one.images <= images:
            return images
        whole = one.images % images == 0
        return images * volumes if volumes > 1 and one.images < images * volumes and whole else None
    if volumes > 1 and one.look and one.look.places > 1:
        return one.look.places * volumes if one.look.volumes <= volumes else None
    return one.expected if one.expected > 1 and one.images <= one.expected else None


def _as_ever(one: Series, case: Case) -> bool:
    """Return whether an earlier session had such a series with exactly the same gaps: it is made like that."""
    row = (one.name, _count(one), _sign(one))
    return any(row in session.series for session in case.earlier)


def _sign(one: Series) -> str:
    """Return what is peculiar about a series, so that it is recognised."""
    if not one.look:
        return ""
    lost = ",".join(f"{first}-{last}" for first, last in one.look.lost[:20])
    short = f"{one.look.short}/{one.look.places}" if one.look.short else ""
    said = announced(one)
    return "|".join((lost, short, str(said) if said and said > one.images else "")).strip("|")


# --- beside earlier sessions ---


def _fewer(series: Sequence[Series], case: Case) -> Iterator[tuple[Series, str]]:
    """Return the series that have fewer images than the same protocol usually gave."""
    for name, ours in _named(series).items():
        if sorted(map(_count, ours)) == sorted(_latest(name, case)):
            continue  # most are
        usual = _usual_counts([session.get(name, []) for session in case.counts])
        spare = sorted(ours, key=_count)
        open_counts = []
        for count in usual:  # the smallest first: each takes the smallest series that is enough
            fitting = next((one for one in spare if _count(one) >= count), None)
            if fitting:
                spare.remove(fitting)
            else:
                open_counts.append(count)
        for one, count in zip(reversed(spare), reversed(open_counts), strict=False):
            if _count(one) >= STOPPED * count or case.over:
                yield one, _before(name, count, case)


def _latest(name: str, case: Case) -> Sequence[int]:
    return case.counts[0].get(name, ()) if case.counts else ()


def _usual_counts(lists: Sequence[list[int]]) -> list[int]:
    """Return how many images each series of a protocol usually has: what the latest sessions agree on."""
    if len(lists) < ENOUGH:
        return []
    counts = [Counter(one) for one in lists]
    agreed = counts[0]
    for other in counts[1:ENOUGH]:
        agreed = agreed & other
    agree = [not agreed - other for other in counts]
    others = {tuple(sorted(other)) for other, one in zip(lists, agree, strict=True) if not one}
    # changed once on purpose, or else it has to be the same for longer
    enough = ENOUGH if len(others) <= 1 else ENOUGH_FOR_A_PROTOCOL
    return sorted(agreed.elements()) if all(agree[:enough]) and _steady(agree) else []


def _missing(series: Sequence[Series], growing: Collection[str], case: Case) -> Iterator[Oddity]:
    """Return the protocols that earlier sessions had, or had more often, once it is their time."""
    ours = {name: len(some) for name, some in _named(series).items()}
    gone = []
    for name in sorted(case.counts[0]) if len(case.counts) >= ENOUGH_FOR_A_PROTOCOL else ():
        if ours.get(name, 0) >= len(_latest(name, case)):
            continue  # most are
        times = [len(session.get(name, ())) for session in case.counts]
        usual = min(times[:ENOUGH_FOR_A_PROTOCOL])
        if ours.get(name, 0) >= usual or not _steady([count >= usual for count in times]):
            continue
        if (case.over and not growing) or (name not in growing and _passed(name, usual, ours, case.earlier)):
            gone.append((name, usual, sum(count >= usual for count in times)))
    # a protocol that got another name is not missing
    if gone and len(gone) > len(ours.keys() - {name for session in case.counts for name in session}):
        if len(gone) > FEW:
            yield _none_scanned([name for name, _, _ in gone], min(had for _, _, had in gone), case)
        else:
            yield from (_not_scanned(name, ours.get(name, 0), usual, had, case) for name, usual, had in gone)


def _passed(name: str, usual: int, ours: Collection[str], earlier: Sequence[Session]) -> bool:
    """Return whether several protocols are here that always came after this one: then it won't come any later."""
    after = set(ours)
    for session in earlier[:ENOUGH_FOR_A_PROTOCOL]:
        names = [called for called, _, _ in session.series]
        for _ in range(usual):
            if name not in names:
                return False
            begin, names = names[: names.index(name)], names[names.index(name) + 1 :]
            after -= {*begin, name}
    return len(after) >= AFTER


def _steady(agree: Sequence[bool]) -> bool:
    """Return whether sessions, the latest first, agree often enough for the latest ones to say what is usual."""
    since = len(agree) - next((at for at, one in enumerate(reversed(agree)) if one), len(agree))
    return since > 0 and sum(agree[:since]) >= MOST_AGREE * since


def _named(series: Iterable[Series]) -> Mapping[str, list[Series]]:
    named: dict[str, list[Series]] = {}
    for one in compared(series):
        named.setdefault(one.name, []).append(one)
    return named


def _count(one: Series) -> int:
    return one.look.frames if one.look else one.images


def _place(one: Series) -> tuple[int, str]:
    """Return what series are ordered by."""
    return one.number or 0, one.orthanc_id


# --- sentences ---

#: Where a protocol comes that is missed while the session goes on.
BEFORE = "before series that are here already"


def _sessions(had: int, case: Case) -> str:
    """Return which earlier sessions these are."""
    of = f"of project {_short(case.session.project)}" if case.session.project else "before it"
    return (
        f"{had} of {len(case.earlier)} earlier sessions {of}"
        if had < len(case.earlier)
        else f"all {had} earlier sessions {of}"
    )


def _before(name: str, count: int, case: Case) -> str:
    had = sum(any(called == name and many >= count for called, many, _ in one.series) for one in case.earlier)
    return f"{_sessions(had, case)} had {count:,}"


def _incomplete(one: Series, evidence: Sequence[str], case: Case) -> Oddity:
    count, unit = _count(one), "images" if not one.look or one.look.frames == one.images else "frames"
    text = f"{_called(one)} has {count:,} {unit if count != 1 else unit[:-1]}; {'; '.join(evidence)}."
    remedy = (
        f"{_look(case)} how many {unit} the series has there. If it has more, send it again. If the scan was stopped "
        "or changed on purpose, there is nothing to do."
    )
    return Oddity(Kind.SERIES, text, remedy, Weight.HINT)


def _none_scanned(names: Sequence[str], had: int, case: Case) -> Oddity:
    some = f"{', '.join(map(_quoted, names[:FEW]))} and {len(names) - FEW} more"
    text = f"{len(names)} protocols are {'missing' if case.over else 'not here yet'}: {some}; "
    text += f"{_sessions(had, case)} had them.{'' if case.over else f' They usually come {BEFORE}.'}"
    return Oddity(Kind.PROTOCOL, text, _find(case, several=True), Weight.HINT)


def _not_scanned(name: str, ours: int, usual: int, had: int, case: Case) -> Oddity:
    if ours:
        there = f"Only {ours} of {usual} series {_quoted(name)} {'is' if ours == 1 else 'are'} here"
    else:
        there = f"No series {_quoted(name)} is here{'' if case.over else ' yet'}"
    text = f"{there}; {_sessions(had, case)} had {usual if usual > 1 else 'it'}."
    several = usual - ours > 1
    if not case.over:
        one = "It" if usual == 1 else "The second one" if usual == 2 else "The last one"
        text += f" {'They usually come' if several else f'{one} usually comes'} {BEFORE}."
    return Oddity(Kind.PROTOCOL, text, _find(case, several=several), Weight.HINT)


def _find(case: Case, *, several: bool) -> str:
    was, it = ("they were", "them") if several else ("it was", "it")
    return (
        f"{_look(case)} whether {was} scanned. If {was}, send {it} from there. If {was} left out on purpose, there is "
        "nothing to do."
    )


def _look(case: Case) -> str:
    where = f"ook on the console of {case.session.ae_title}"
    return f"L{where}" if case.over else f"If the subject is still there, l{where}"


def _called(one: Series) -> str:
    number = f"Series {one.number}" if one.number is not None else "A series"
    return f"{number} {_quoted(one.name)}" if one.name else number


def _quoted(name: str) -> str:
    return f'"{_short(name)}"'


def _short(name: str) -> str:
    return name if len(name) <= 64 else f"{name[:63]}…"  # as long as LO may be: PS3.5 6.2
