"""The header of a single sign-on: it is believed from its own address, and from no other."""

import time
from base64 import b64encode
from collections.abc import Iterator

import pytest

from support.front_door import DOOR, GATEWAY, OTHER, SIGN_ON, Door, door
from support.waiting import wait_until

PEOPLE = [{"name": "sofia", "role": "viewer"}, {"name": "paul", "role": "page"}, {"name": "include", "role": "viewer"},
          {"name": "olga", "role": "operator"}]  # fmt: skip
#: The network contains the gateway, from which every user of the host comes.
ADDRESSES = [SIGN_ON, "198.18.203.0/29"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("door")
    with door(
        folder,
        {"worklist-reader": "right"},
        __front_door_login_seconds=1,
        front_door_people=PEOPLE,
        front_door_single_sign_on_addresses=ADDRESSES,
    ) as running:
        yield running


def test_its_own_address_says_who_it_is(alone: Door) -> None:
    assert alone.ask(SIGN_ON, X_Remote_User="sofia") == 200
    assert alone.ask(SIGN_ON, "/changes", X_Remote_User="sofia") == 403  # a viewer
    assert alone.ask(SIGN_ON, X_Remote_User="paul") == 403  # the page alone
    assert alone.ask(SIGN_ON, X_Remote_User="include") == 200  # a word of nginx's own


@pytest.mark.parametrize("name", ["", "nobody", "admin x", 'sofia" administrator', "../sofia"])
def test_a_name_that_is_no_person_s_gets_nothing(alone: Door, name: str) -> None:
    assert alone.ask(SIGN_ON, X_Remote_User=name) in {401, 403}


def test_from_any_other_address_the_header_says_nothing(alone: Door) -> None:
    for headers in ({"X_Remote_User": "sofia"}, {"X_Remote_User": "admin"},
                    {"X_Remote_User": "sofia", "X_Forwarded_For": SIGN_ON},
                    {"X_Remote_User": "sofia", "X_Front_Door_Address": SIGN_ON}):  # fmt: skip
        assert alone.ask(OTHER, **headers) == 401, headers


@pytest.mark.parametrize("more", ["", f"X-Forwarded-For: {SIGN_ON}\r\n"])
def test_a_user_of_the_host_is_not_believed_whatever_network_is_listed(alone: Door, more: str) -> None:
    request = f"GET /system HTTP/1.1\r\nHost: {GATEWAY}\r\nX-Remote-User: sofia\r\n{more}\r\n"
    assert alone.send(request.encode()).startswith(b"HTTP/1.1 401 ")


def test_a_forwarded_address_of_a_user_of_the_host_is_not_believed(alone: Door) -> None:
    said = f"X-Forwarded-For: 192.0.2.77\r\nAuthorization: Basic {b64encode(b'worklist-reader:right').decode()}\r\n"
    assert alone.send(f"GET /system HTTP/1.1\r\nHost: x\r\n{said}\r\n".encode()).startswith(b"HTTP/1.1 403 ")

    def written() -> None:
        assert (alone.audit[-1]["from"], alone.audit[-1]["who"]) == (GATEWAY, "worklist-reader")

    wait_until(written)


def test_the_sync_goes_on_while_somebody_guesses_its_name_from_its_own_address(alone: Door) -> None:
    def ask(password: str) -> int:
        return alone.ask(OTHER, "/tools/find", "-X", "POST", "-u", f"worklist-reader:{password}")

    assert ask("right") == 200
    time.sleep(1.5)  # it has to be looked up again
    assert 429 in alone.guess(OTHER, "worklist-reader")
    assert [ask("right") for _ in range(5)] == [200] * 5


def test_a_name_that_ends_as_the_sync_s_is_slowed_too(alone: Door) -> None:
    ask = f'curl -s -o /dev/null -u "x$i|worklist-reader:x" http://{DOOR}:8080/system'
    alone.run(OTHER, "sh", "-c", f"for i in $(seq 200); do {ask}; done")
    assert 429 in [alone.ask(OTHER, "/system", "-u", f"{number}|worklist-reader:x") for number in range(5)]


def test_it_may_speak_https_in_place_of_the_front_door(alone: Door) -> None:
    def change(origin: str, address: str = SIGN_ON) -> int:
        said = {
            "X_Remote_User": "olga",
            "Origin": origin,
            "X_Forwarded_Proto": "https",
            "Sec_Fetch_Site": "same-origin",
        }
        return alone.ask(address, "/studies/1-2/reconstruct", "-X", "POST", **said)

    assert change(f"https://{DOOR}:8080") == 200
    assert change(f"http://{DOOR}:8080") == 403
    assert change("https://elsewhere.example") == 403
    assert change(f"https://{DOOR}:8080", OTHER) == 401


def test_the_audit_log_has_the_address_of_whom_it_speaks_for(alone: Door) -> None:
    said = {"X_Remote_User": "sofia", "X_Forwarded_For": "198.51.100.1, 192.0.2.44"}
    assert alone.ask(SIGN_ON, "/instances/1/file", **said) == 200

    def written() -> None:
        assert (alone.audit[-1]["from"], alone.audit[-1]["who"]) == ("192.0.2.44", "sofia")

    wait_until(written)
