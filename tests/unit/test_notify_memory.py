"""When a message goes: once when a problem begins, once when it is over, and not each minute."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dicom_worklist.notify import memory
from dicom_worklist.notify.memory import Box, Known, Memory, News, Notice
from dicom_worklist.notify.recipients import gets
from dicom_worklist.settings import Recipient

MINUTE = timedelta(minutes=1)
START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def notice(key: str = "rejected 12", **changes: object) -> Notice:
    values = {"kind": "rejected", "text": f"{key} with a name", "short": key}
    return Notice(key=key, **values | changes)  # type: ignore[arg-type]


class Inbox:
    """A recipient, and what is there each minute; `fails` are the minutes in which no message can be sent."""

    def __init__(self, per_hour: int = 60, fails: Iterable[int] = ()) -> None:
        self.box, self.minute, self.per_hour, self.fails = Box(), 0, per_hour, set(fails)
        #: Minute, what began, what was over.
        self.messages: list[tuple[int, list[str], list[str]]] = []
        self.news: list[News] = []

    def see(self, *keys: str, minutes: int = 1, certain: bool = True, **changes: object) -> None:
        for _ in range(minutes):
            now = START + self.minute * MINUTE
            self.box = memory.seen(self.box, [notice(key, **changes) for key in keys], now, names=False)
            news = memory.news(self.box, now, self.per_hour, certain=certain)
            if news and self.minute in self.fails:
                self.box = memory.failed(self.box, "the server is down", now)
            elif news:
                self.messages.append((self.minute, sorted(news.begun), sorted(news.over)))
                self.news.append(news)
                self.box = memory.sent(self.box, news, now)
            self.minute += 1


def test_it_is_reported_once_when_it_begins_and_once_when_it_is_over() -> None:
    inbox = Inbox()
    inbox.see("a", minutes=60)
    inbox.see(minutes=60)
    assert inbox.messages == [(2, ["a"], []), (69, [], ["a"])]
    [over] = inbox.news[1].over.values()
    assert (over.first, over.last) == (START, START + 59 * MINUTE)


def test_what_was_there_for_a_moment_is_not_reported() -> None:
    inbox = Inbox()
    inbox.see("a", minutes=2)
    inbox.see(minutes=60)
    assert inbox.messages == []
    assert inbox.box.open == {}


@pytest.mark.parametrize(("there", "away"), [(1, 1), (1, 5), (3, 9), (30, 9)])
def test_what_comes_and_goes_is_reported_once(there: int, away: int) -> None:
    inbox = Inbox()
    for _ in range(20):
        inbox.see("a", minutes=there)
        inbox.see(minutes=away)
    inbox.see(minutes=20)
    assert [(begun, over) for _, begun, over in inbox.messages] == [(["a"], []), ([], ["a"])]


def test_what_comes_back_after_it_was_over_is_reported_again() -> None:
    inbox = Inbox()
    for _ in range(2):
        inbox.see("a", minutes=5)
        inbox.see(minutes=15)
    assert [(begun, over) for _, begun, over in inbox.messages] == [(["a"], []), ([], ["a"])] * 2


def test_what_is_known_to_have_begun_before_is_reported_at_once() -> None:
    inbox = Inbox()
    inbox.see("outdated", since=START - 6 * MINUTE)
    assert inbox.messages == [(0, ["outdated"], [])]


def test_what_begins_at_the_same_time_is_one_message() -> None:
    inbox = Inbox()
    inbox.see("a", "b", "c", minutes=5)
    assert inbox.messages == [(2, ["a", "b", "c"], [])]


def test_a_message_that_could_not_be_sent_is_sent_later() -> None:
    inbox = Inbox(fails=range(2, 8))
    inbox.see("a", minutes=20)
    assert inbox.messages == [(8, ["a"], [])]
    assert (inbox.box.failure, inbox.box.failing) == ("", None)


def test_while_a_server_is_down_for_long_it_is_tried_every_ten_minutes() -> None:
    inbox = Inbox(fails=range(2, 75))
    inbox.see("a", minutes=100)
    assert inbox.messages == [(80, ["a"], [])]


def test_what_was_over_before_it_could_be_reported_is_reported_with_its_end() -> None:
    inbox = Inbox(fails=range(2, 30))
    inbox.see("a", minutes=5)
    inbox.see(minutes=40)
    assert inbox.messages == [(30, [], ["a"])]
    assert next(iter(inbox.news[0].over.values())).notified is None


def test_an_end_that_could_not_be_sent_is_sent_later() -> None:
    inbox = Inbox(fails=range(10, 25))
    inbox.see("a", minutes=5)
    inbox.see(minutes=60)
    assert inbox.messages == [(2, ["a"], []), (30, [], ["a"])]


def test_what_came_back_before_its_end_could_be_sent_was_never_over() -> None:
    inbox = Inbox(fails=range(10, 25))
    inbox.see("a", minutes=5)
    inbox.see(minutes=15)
    inbox.see("a", minutes=60)
    assert inbox.messages == [(2, ["a"], [])]


def test_an_hour_has_so_many_messages_and_then_one_with_the_rest() -> None:
    inbox = Inbox(per_hour=3)
    names = [f"{number:02}" for number in range(20)]
    for at in range(20):
        inbox.see(*names[: at + 1], minutes=3)  # one more every three minutes
    inbox.see(*names, minutes=60)
    assert [minute for minute, _, _ in inbox.messages] == [2, 5, 8, 62]
    assert [begun for _, begun, _ in inbox.messages] == [["00"], ["01"], ["02"], names[3:]]
    afters = [one.after for one in inbox.news]
    # the message that fills the hour says when the next one comes
    assert afters == [None, None, START + 62 * MINUTE, START + 65 * MINUTE]


def test_that_the_list_is_out_of_date_does_not_wait() -> None:
    inbox = Inbox(per_hour=1)
    inbox.see("a", minutes=5)
    inbox.see("a", "b", minutes=5)
    inbox.see("outdated", kind="outdated", minutes=30)
    assert inbox.messages == [(2, ["a"], []), (12, ["b", "outdated"], [])]
    inbox.see(minutes=60)
    assert inbox.messages[2:] == [(72, [], ["a", "b", "outdated"])]


def test_without_a_list_nothing_is_over() -> None:
    inbox = Inbox()
    inbox.see("a", minutes=5)
    inbox.see("outdated", minutes=60, certain=False)
    assert inbox.messages == [(2, ["a"], []), (7, ["outdated"], [])]
    inbox.see(minutes=15)
    assert inbox.messages[2:] == [(65, [], ["a"]), (74, [], ["outdated"])]


def test_a_clock_that_was_set_back_ends_nothing_and_holds_nothing_up() -> None:
    inbox = Inbox(per_hour=1)
    inbox.see("a", minutes=5)
    inbox.minute = -600
    inbox.see("a", "b", minutes=5)
    assert inbox.messages == [(2, ["a"], []), (-598, ["b"], [])]
    inbox.per_hour = 60
    inbox.see(minutes=15)
    assert inbox.messages[2:] == [(-586, [], ["a", "b"])]


def test_the_text_stays_that_of_the_beginning() -> None:
    inbox = Inbox()
    inbox.see("a", minutes=5, short="for 2 minutes")
    inbox.see("a", minutes=5, short="for 9 minutes")
    assert inbox.box.open["a"].text == "for 2 minutes"


@pytest.mark.parametrize(("names", "text"), [(True, "rejected 12 with a name"), (False, "rejected 12")])
def test_names_are_for_those_who_get_them(names: bool, text: str) -> None:
    box = memory.seen(Box(), [notice()], START, names=names)
    assert box.open["rejected 12"].text == text


@pytest.mark.parametrize(
    ("recipient", "got"),
    [
        ({}, {"prisma", "skyra", "outdated"}),
        ({"scanners": ("PRISMA",)}, {"prisma", "outdated"}),
        ({"kinds": ("rejected",)}, {"prisma", "skyra"}),
        ({"kinds": ("disk",)}, {"disk"}),
        ({"kinds": ("rejected", "outdated"), "scanners": ("SKYRA",)}, {"skyra", "outdated"}),
    ],
)
def test_who_gets_what(recipient: dict[str, object], got: set[str]) -> None:
    to = Recipient(name="x", mail="a@example.org", **recipient)  # type: ignore[arg-type]
    all_ = [
        notice("prisma", scanner="PRISMA"),
        notice("skyra", scanner="SKYRA"),
        notice("outdated", kind="outdated"),
        notice("disk", kind="disk", critical=False),
        notice("odd", kind="odd", critical=False, scanner="PRISMA"),
    ]
    assert {one.key for one in all_ if gets(to, one)} == got


def test_the_file_is_the_users_own_and_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "notify.json"
    known = Known(kind="rejected", scanner="PRISMA", text="é", first=START, last=START)
    written = Memory(boxes={"operators": Box(open={"a": known}, sent=(START,))}, ended=START)
    memory.save(str(path), written)
    assert memory.load(str(path)) == written
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff", b'{"boxes": {"a": 1}}'])
def test_without_a_file_that_can_be_read_nothing_was_reported(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "notify.json").write_bytes(content)
    assert memory.load(str(tmp_path / "notify.json")) == Memory()
