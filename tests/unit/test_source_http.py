"""Bookings from a web server as JSON: what is asked, pages, what a row has, and answers that are not the bookings."""

import gzip
import json
import random
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from dicom_worklist import config
from dicom_worklist.bookings import sources
from dicom_worklist.bookings.booking import text
from dicom_worklist.bookings.sources import _web
from dicom_worklist.bookings.sources.http import columns
from dicom_worklist.errors import ConfigError, SourceError
from support.configuration import Configure
from support.sources import TODAY
from support.web import Asked, Reply, as_json, serving

#: How often each kind of broken answer is tried.
TIMES = 500


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_web, "PAUSE", 0.0)


@pytest.fixture
def source(configure: Configure) -> Callable[..., sources.Source]:
    """Returns the source of such settings, as the configuration file has them."""

    def made(url: str, **settings: Any) -> sources.Source:
        loaded: sources.Source = config.load(configure({"source": {"type": "http", "url": url, **settings}})).source
        return loaded

    return made


def error_of(source: sources.Source) -> str:
    with pytest.raises(SourceError) as caught:
        source.rows(**TODAY)
    assert str(caught.value).startswith("the calendar at http://127.0.0.1:")
    return str(caught.value)


def test_days_are_dates_in_url_headers_and_body(source: Any) -> None:
    with serving(Reply("[]")) as server:
        source(
            server.url + "/b/{{ first_day.strftime('%Y%m%d') }}?to={{ next_day }}",
            method="POST",
            headers={"X-Last": "{{ last_day }}"},
            body={"from": "{{ first_day }}", "more": [{"to": "{{ next_day }}"}, 7, None, True]},
        ).rows(date(2026, 12, 30), date(2026, 12, 31))
        [asked] = server.asked
    assert (asked.method, asked.target) == ("POST", "/b/20261230?to=2027-01-01")
    assert asked.headers["X-Last"] == "2026-12-31"
    assert asked.headers["Content-Type"] == "application/json"
    assert asked.headers["Accept"] == "application/json"
    assert json.loads(asked.body) == {"from": "2026-12-30", "more": [{"to": "2027-01-01"}, 7, None, True]}


def test_the_last_day_that_there_is_can_be_asked_for(source: Any) -> None:
    with serving(Reply("[]")) as server:
        source(server.url + "/{{ next_day }}").rows(date.max, date.max)
        assert server.asked[0].target == "/9999-12-31"


def test_a_form_and_a_text_are_sent_as_they_are_meant(source: Any, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t&k=n\n")
    secret = {"token": str(tmp_path / "token")}
    with serving(Reply("[]")) as server:
        form = {"token": "{{ token }}", "fields[0]": "id", "day": "{{ first_day }}", "n": 3, "many": ["a", "b"]}
        source(server.url, method="POST", body=form, body_type="form", secrets=secret).rows(**TODAY)
        own = {"content-type": "text/xml", "X-Token": "{{ token }}"}
        source(server.url, method="POST", body="<ü>{{ first_day }}</ü>", headers=own, secrets=secret).rows(**TODAY)
    assert server.asked[0].headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert parse_qs(server.asked[0].body.decode()) == {
        "token": ["t&k=n"],
        "fields[0]": ["id"],
        "day": ["2026-11-24"],
        "n": ["3"],
        "many": ["a", "b"],
    }
    assert server.asked[1].body.decode() == "<ü>2026-11-24</ü>"
    assert (server.asked[1].headers["Content-Type"], server.asked[1].headers["X-Token"]) == ("text/xml", "t&k=n")


def test_a_secret_is_in_no_message(source: Any, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hush-hush")
    settings: dict[str, Any] = {
        "secrets": {"token": str(tmp_path / "token")},
        "method": "POST",
        "body": {"token": "{{ token }}"},
        "error": "error",
    }
    for answer in (as_json({"error": "no hush-hush here"}, 403), as_json({"error": "no hush-hush here"})):
        with serving(answer) as server:
            said = error_of(source(server.url, **settings))
            assert "no … here" in said
            assert "hush" not in said
    settings["body"] = {"token": "{{ token.nothing() }}"}
    with pytest.raises(ConfigError, match=r"source: body.token: the template has a fault \(UndefinedError\)"):
        source("http://127.0.0.1:1/", **settings)
    settings["body"] = {"token": "{{ 1 // (token | length - 9) }}"}
    said = error_of(source("http://127.0.0.1:1/", **settings))
    assert "the template in source.body fails (ZeroDivisionError)" in said
    settings["secrets"] = {"token": "/nowhere/at/all"}
    with pytest.raises(SourceError, match=r"token for the calendar at .* can't be read from /nowhere/at/all"):
        source("http://127.0.0.1:1/", **settings).rows(**TODAY)


def test_what_lies_within_has_both_names(source: Any) -> None:
    record = {
        "id": 7,
        "user": {"name": {"first": "Ada"}, "id": 8},
        "user_id": 9,
        "resource.name": "SKYRA",
        "project.code.text": "3010000.10",
        "tags": ["a", {"b": 1}],
        "none": None,
        "odd name": "x",
    }
    with serving(as_json({"data": {"list": [record]}})) as server:
        [row] = source(server.url, records="data.list").rows(**TODAY)
    assert {name: row[name] for name in record} == record
    assert (row["user_name_first"], row["user_name"], row["user_id"]) == ("Ada", {"first": "Ada"}, 9)
    assert (row["resource_name"], row["resource"]) == ("SKYRA", {"name": "SKYRA"})
    assert (row["project_code_text"], row["project"]) == ("3010000.10", {"code": {"text": "3010000.10"}})


@pytest.mark.parametrize(
    ("record", "row"),
    [
        ({"a": "text", "a.b": 1}, {"a": "text", "a.b": 1, "a_b": 1}),
        ({"a.b": 1, "a": {"c": 2}}, {"a.b": 1, "a": {"c": 2, "b": 1}, "a_b": 1, "a_c": 2}),
        ({"a": {"b": 2}, "a.b": 1}, {"a": {"b": 2}, "a.b": 1, "a_b": 2}),
        ({"a.b": 1, "a.b.c": 2}, {"a.b": 1, "a.b.c": 2, "a": {"b": 1}, "a_b": 1, "a_b_c": 2}),
        ({"a": {"b.c": 1}}, {"a": {"b.c": 1}, "a_b_c": 1}),
        ({"a": {"b.c": {"d": 1}}}, {"a": {"b.c": {"d": 1}}, "a_b_c": {"d": 1}, "a_b_c_d": 1}),
        ({".": 1, "": 2, "a.": 3}, {".": 1, "": 2, "a.": 3, "_": 1, "a_": 3}),
        ({"a": {}}, {"a": {}}),
        ({".".join("a" * 5000): 1}, {".".join("a" * 5000): 1, "_".join("a" * 5000): 1}),
    ],
)
def test_names_that_get_in_each_others_way(record: dict[str, Any], row: dict[str, Any]) -> None:
    assert columns(record) == row


def deep(levels: int, inner: str = "1", name: str = "a") -> str:
    return f'{{"{name}": ' * levels + inner + "}" * levels


@pytest.mark.parametrize("record", [deep(12), deep(1, "[" * 11 + "1" + "]" * 11), deep(11, "[{}]")])
def test_an_answer_is_not_read_deeper_than_ten_levels(record: str, source: Any) -> None:
    with serving(Reply(f'[{{"id": 1}}, {record}]')) as server:
        said = error_of(source(server.url))
    assert "gives at 1 more than 10 levels, one within the other" in said
    assert "let source.records choose the columns, such as [].{id: id}" in said


def test_ten_levels_are_columns(source: Any) -> None:
    with serving(Reply(f"[{deep(11)}]")) as server:
        [row] = source(server.url).rows(**TODAY)
    assert row["_".join("a" * 11)] == 1


def test_numbers_keep_their_digits(source: Any) -> None:
    with serving(Reply('[{"project_id": 3010000.10, "n": 12345678901234567890}]')) as server:
        [row] = source(server.url).rows(**TODAY)
    assert str(row["project_id"]) == "3010000.10"
    assert isinstance(row["project_id"], float)
    assert f"{row['project_id']}" == text(row, "project_id") == "3010000.10"
    assert row["n"] == 12345678901234567890


@pytest.mark.parametrize(
    ("records", "found"),
    [
        ("[?v==`1.1`]", ["1.10"]),
        ("[?v>`1.5`]", ["2.0", "1e1"]),
        ("[?type(v)=='number']", ["1.10", "2.0", "1e1"]),
        ("sort_by(@, &v)", ["1.10", "2.0", "1e1"]),
        ("[max_by(@, &v)]", ["1e1"]),
    ],
)
def test_a_number_is_one_for_jmespath(records: str, found: list[str], source: Any) -> None:
    with serving(Reply('[{"v": 1.10}, {"v": 2.0}, {"v": 1e1}]')) as server:
        assert [str(row["v"]) for row in source(server.url, records=records).rows(**TODAY)] == found


def test_the_oldest_answer_says_when_the_rows_were_made(source: Any) -> None:
    def page(number: int, day: int, following: str | None) -> Reply:
        made = f"{['Mon', 'Tue'][day - 23]}, {day} Nov 2026 08:00:00 GMT"
        return as_json({"list": [{"id": number}], "next": following}, headers={"Last-Modified": made})

    with serving(page(1, 24, "/2"), page(2, 23, "/3"), page(3, 24, None)) as server:
        rows = source(server.url, records="list", next="next").rows(**TODAY)
    assert rows.made == datetime(2026, 11, 23, 8, tzinfo=UTC)
    with serving(Reply("[]")) as server:
        assert source(server.url).rows(**TODAY).made is None


@pytest.mark.parametrize("end", [None, "", False])
def test_pages_follow_addresses(end: Any, source: Any) -> None:
    def page(asked: Asked) -> Reply:
        number = int(asked.target.rpartition("=")[2])
        following = [f"?page={number + 1}", f"http://{asked.headers['Host']}/list?page={number + 1}", end][number - 1]
        return as_json({"list": [{"id": number}], "links": {"next": following}})

    with serving(page) as server:
        rows = source(server.url + "/list?page=1", records="list", next="links.next").rows(**TODAY)
        assert [row["id"] for row in rows] == [1, 2, 3]
        assert [asked.target for asked in server.asked] == ["/list?page=1", "/list?page=2", "/list?page=3"]


def test_pages_follow_a_cursor_that_is_null_at_first(source: Any) -> None:
    def page(asked: Asked) -> Reply:
        number = {None: 1, "two": 2, 3: 3}[json.loads(asked.body)["after"]]
        return as_json({"list": [{"id": number}], "next": [None, "two", 3, None][number]})

    with serving(page) as server:
        rows = source(server.url, method="POST", body={"after": "{{ cursor }}"}, records="list", next="next").rows(
            **TODAY
        )
        assert [row["id"] for row in rows] == [1, 2, 3]
    with serving(as_json({"list": [{"id": 1}], "next": "b&c"}), as_json({"list": []})) as server:
        url = server.url + "/?at={{ (cursor or '') | urlencode }}"
        source(url, records="list", next="next").rows(**TODAY)
        assert [asked.target for asked in server.asked] == ["/?at=", "/?at=b%26c"]


@pytest.mark.parametrize(
    ("pages", "settings", "said"),
    [
        (lambda n: {"list": [{"id": n}], "next": "/same"}, {}, "a page comes a second time. Check source.next"),
        (lambda n: {"list": [{"id": 1}], "next": f"/{n}"}, {}, "a page comes a second time"),
        (lambda n: {"list": [{"id": n}], "next": f"/{n}"}, {"max_pages": 3}, "more than 3 pages"),
        (lambda n: {"list": [{"id": n}], "next": True}, {}, "source.next gives true or false"),
        (lambda n: {"list": [{"id": n}], "next": {"href": "/2"}}, {}, "source.next gives an object"),
        (lambda n: {"list": [{"id": n}], "next": "http://192.0.2.1/"}, {}, "names another server, http://192.0.2.1"),
        (lambda n: {"list": [{"id": n}], "next": "//x:y@[/"}, {}, "names another server"),
        (lambda n: {"list": [{"id": n}], "next": "/2"} if n == 1 else {"no": "list"}, {}, "gives null and not a list"),
        (lambda n: {"list": [{"id": n}], "next": "/2"} if n == 1 else "x" * 9999, {"max_megabytes": 0.005}, "0.005 MB"),
    ],
)
def test_pages_without_end_or_sense_are_an_error(pages: Any, settings: Any, said: str, source: Any) -> None:
    numbers = iter(range(1, 1000))
    with serving(lambda asked: as_json(pages(next(numbers)))) as server:
        assert said in error_of(source(server.url, records="list", next="next", **settings))
        assert len(server.asked) <= 4


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            Reply("<html>Login", headers={"Content-Type": "text/html; charset=utf-8"}),
            "perhaps one that asks for a login",
        ),
        (Reply("\r\n<!DOCTYPE html>"), "answers with a web page and not with JSON"),
        (
            Reply('{"list": [{"id": 1}'),
            "its answer of 19 bytes is cut off, or not JSON (Expecting ',' delimiter at char",
        ),
        (Reply(""), "its answer of 0 bytes is cut off, or not JSON"),
        (Reply('{"list": [{"id": NaN}]}'), "not JSON (it has NaN)"),
        (Reply('{"list": [{"id": -Infinity}]}'), "not JSON (it has -Infinity)"),
        (Reply('{"list": [{"id": 1e9999999999999999999999}]}'), "not JSON"),
        (Reply('{"list": [{"id": ' + "1" * 5000 + "}]}"), "not JSON"),
        (Reply(b'{"list": [{"id": "\xff"}]}'), "not JSON"),
        (Reply("[" * 100_000), "not JSON"),
        (Reply('{"list": []}]'), "not JSON (Extra data"),
        (as_json({"list": None}), "source.records, list, gives null and not a list; the answer has names list."),
        (
            as_json({"List": [], "b": 1}),
            "gives null and not a list; the answer has names List, b. Check source.records",
        ),
        (
            as_json({"errors": [{"message": "no such field"}], "data": None}),
            'the answer has names errors, data; errors says [{"message": "no such field"}]. Check what source.url, ',
        ),
        (as_json({"list": None, "Error": "s" * 300}), f"; Error says {'s' * 200}…. Check what source.url, "),
        (as_json({"list": None, "error": None, "errors": []}), "has names list, error, errors. Check source.records"),
        (as_json({"list": {"a": 1}}), "gives an object and not a list"),
        (as_json("text"), "gives null and not a list; the answer has a text"),
        (as_json({"list": [{}, 7]}), "gives a list with a number at 1, not with objects only"),
        (as_json({"list": [{}, None]}), "gives a list with null at 1"),
        (as_json({"list": [], "error": "no\x1b"}), "the answer reports an error: no\\x1b. Check what source.url"),
        (as_json({"list": [], "error": [{"message": "ü"}]}), 'reports an error: [{"message": "ü"}]'),
        (as_json({"list": [], "error": False}), "reports an error: false"),
        (as_json({"list": [], "error": []}), "reports an error: []"),
    ],
)
def test_an_answer_that_is_not_the_bookings_is_an_error_with_the_remedy(answer: Reply, said: str, source: Any) -> None:
    with serving(answer) as server:
        assert said in error_of(source(server.url, records="list", error="error"))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"biskits": [{"id": 1}], "total": 1}, "names biskits, total, not a list. Set source.records: biskits"),
        ({"data": {"list": []}}, "is an object with the names data, not a list. Set source.records to where the list"),
    ],
)
def test_where_the_list_is_must_be_said_of_an_object(answer: Any, said: str, source: Any) -> None:
    with serving(as_json(answer)) as server:
        assert said in error_of(source(server.url))


def test_a_jmespath_that_fails_on_the_answer_is_named(source: Any) -> None:
    with serving(as_json({"list": 7})) as server:
        assert "source.records fails on the answer: In function" in error_of(source(server.url, records="keys(list)"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"records": "a["}, "source: records 'a[' is not JMESPath"),
        ({"next": "nothing(@)"}, "source: next 'nothing(@)' is not JMESPath: Unknown function: nothing()"),
        ({"error": ""}, "source: error '' is not JMESPath"),
        ({"url": "ftp://x/"}, "source: url must begin with http:// or https://"),
        ({"url": "http://user:secret@x/"}, "without a login: that is source.auth"),
        ({"url": "http://{{ first_day }}/"}, "source: url must begin with"),
        (
            {"url": "http://x/{{ first_dy }}"},
            "source: url uses first_dy; there is first_day, last_day, next_day, cursor",
        ),
        ({"url": "http://x/{{ first_day"}, "source: url: the template has a fault (unexpected end of template"),
        ({"url": "http://x/{{ first_day.nothing }}"}, "source: url: the template"),
        ({"url": "http://x/{{ 1 / 0 }}"}, "source: url: the template has a fault (ZeroDivisionError)"),
        ({"url": "http://x/{{ first_day.__class__.mro() }}"}, "source: url: the template"),
        ({"url": "http://x/{{ key }}", "secrets": {"key": "/k"}}, "url uses the secret key: use it in headers or body"),
        ({"secrets": {"first_day": "/k"}}, "source: secrets: 'first_day' can't be a name in a template"),
        ({"secrets": {"a-b": "/k"}}, "source: secrets: 'a-b' can't be a name in a template"),
        ({"headers": {"X": "{{ y }}"}}, "source: headers.X uses y"),
        ({"method": "POST", "body": {"a": [{"b": "{{ y }}"}]}}, "source: body.a[0].b uses y"),
        ({"method": "POST", "body": {"a": date(2026, 1, 2)}}, "source: body has a value that JSON doesn't know"),
        ({"body": "x"}, "source: body needs method: POST"),
        ({"method": "POST", "body": "x", "body_type": "form"}, "body_type: form needs a mapping in body"),
        ({"headers": {"X": "{{ cursor }}"}}, "cursor is used, so next must say where"),
        ({"method": "DELETE"}, "source.method 'DELETE': write GET or POST"),
        ({"timeout": 0}, "source.timeout"),
        ({"max_pages": 0}, "source.max_pages"),
        ({"max_megabytes": 0}, "source.max_megabytes"),
        ({"auth": {"type": "digest"}}, "source.auth"),
        ({"auth": {"type": "basic", "user": "u", "password": "hush"}}, "unknown field `password`"),
        (
            {"auth": {"type": "oauth2", "token_url": "x", "client_id": "c", "client_secret_file": "/f"}},
            "source.auth.token_",
        ),
        ({"verify": False}, "unknown field `verify`"),
    ],
)
def test_a_wrong_setting_is_refused_when_the_file_is_read(settings: dict[str, Any], said: str, source: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        source(**{"url": "http://x/", **settings})
    assert said in str(caught.value)
    assert "hush" not in str(caught.value)


def test_it_says_where_it_is_without_what_may_be_secret(source: Any) -> None:
    assert str(source("https://x/cal/{{ first_day }}/b?token=hush")) == "the calendar at https://x/cal"
    assert str(source("https://x:8443?token=hush")) == "the calendar at https://x:8443"


PAGES = [
    {
        "list": [{"id": number, "title": f'7-{number} "ü"', "in": {"a": [1.5, None]}} for number in range(at, at + 3)],
        "next": f"/{at}" if at < 7 else None,
    }
    for at in (1, 4, 7)
]


def cut_off(chance: random.Random, page: bytes) -> Reply:
    part = page[: chance.randrange(len(page))]
    length = chance.choice([{}, {"Content-Length": str(len(page))}, {"Content-Length": ""}])
    return Reply(part, headers=length)


def lie(chance: random.Random, page: bytes) -> Reply:
    at = chance.randrange(len(page))
    return chance.choice(
        [
            Reply(page, chance.choice([201, 204, 206, 301, 400, 401, 403, 404, 418, 500])),
            Reply(page[:at] + b"\0" + page[at:]),
            Reply(b"<html>" + page),
            Reply(page, headers={"Content-Type": "text/html"}),
            Reply(page.replace(b'"list"', b'"lists"')),
            Reply(page.replace(b"[", b"[1, ", 1)),
            Reply(page.replace(b"1.5", b"NaN", 1)),
            Reply(json.dumps(json.loads(page) | {"error": "no"})),
            Reply(gzip.compress(page)[:-1], headers={"Content-Encoding": "gzip"}),
        ]
    )


@pytest.mark.parametrize("broken", [cut_off, lie])
def test_no_broken_answer_is_read_in_part(broken: Callable[[random.Random, bytes], Reply], source: Any) -> None:
    pages = [json.dumps(page).encode() for page in PAGES]
    answers: list[Reply] = []
    with serving(lambda asked: answers.pop(0) if answers else b"") as server:
        calendar = source(server.url, records="list", next="next", error="error")
        answers[:] = map(Reply, pages)
        assert [row["id"] for row in calendar.rows(**TODAY)] == [*range(1, 10)]
        for seed in range(TIMES):
            chance = random.Random(seed)
            wrong = chance.randrange(len(pages))
            answers[:] = [broken(chance, page) if at == wrong else Reply(page) for at, page in enumerate(pages)]
            with pytest.raises(SourceError):
                print(seed, calendar.rows(**TODAY))


@pytest.mark.parametrize(
    "template",
    [
        "{{ 1 / 0 }}",
        "{{ first_day",
        "{{ first_day | x }}",
        "{{ next_day.x }}",
        "{% if %}",
        "{{ y }}",
        "{{ 1 | matching(2) }}",
    ],
)
def test_a_template_with_a_fault_is_never_shown(template: str, source: Any) -> None:
    address = {"url": f"http://x/?key=hush{template}"}
    for settings in (address, {"url": "http://x/", "headers": {"X": f"hush{template}"}}):
        with pytest.raises(ConfigError) as refused:
            source(**settings)
        assert "hush" not in str(refused.value)
