"""Notifying people that the page is old: on the PACS's host, where the worklist is on another that may be down.

It runs with Debian's own Python, from cron each minute: python3 -m dicom_worklist.notify.page_age SETTINGS
"""

import fcntl
import hashlib
import json
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from dicom_worklist.notify import mail, webhook
from dicom_worklist.notify.connection import NotSent, plain

#: Seconds for which the page has to be new again before that is reported.
STAYS = 600
#: After so many seconds of failures a message is tried only every tenth minute.
OFTEN = 600


def main(path: str, now: float) -> list[str]:
    """Notify those who get this kind of problem, at `now` (seconds since 1970), and return what became of each message.

    SETTINGS is JSON: the section `notify`, and `site`, `path` (of the page), `after` (minutes) and `memory`.
    """
    settings = json.loads(Path(path).read_text(encoding="utf-8"))
    memory = Path(settings["memory"])
    with (memory.parent / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return ["another run is at work"]
        known = _load(memory)
        made = _made(Path(settings["path"]), known.get("made", now))
        old = now - made > settings["after"] * 60
        known |= {"made": made, "old": made if old else known.get("old")}
        if old or "new" not in known:
            known["new"] = now
        if not _saved(memory, known) and int(now / 60) % 10:  # neither silent, nor a message each minute
            return [f"{memory} can't be written, so messages are sent only every ten minutes"]
        said = []
        for one in settings["recipients"]:
            if one.get("kinds") and "outdated" not in one["kinds"]:
                continue
            box = known.setdefault("recipients", {}).setdefault(one["name"], {})
            over = not old and box.get("notified") and now - known["new"] >= STAYS
            if not (over or (old and not box.get("notified"))) or _later(box, now):
                continue
            try:
                text = _text(settings, known["old"], now, over=over)
                server = _send(settings, one, text, _identity(settings, one, known["old"], over=over), now)
            except NotSent as error:
                known["recipients"][one["name"]] = box | {"failing": box.get("failing", now)}
                said.append(f"{one['name']} was not notified: {error}")
            else:
                known["recipients"][one["name"]] = {"notified": not over}
                said.append(f"{one['name']} was notified: {server} took it")
            _saved(memory, known)  # at once: if this run is killed, the next one sends it to the others
        return said


def _made(page: Path, before: float) -> float:
    """Return when the page was written; without one, what a run `before` found, or since when somebody looks for it."""
    try:
        return page.stat().st_mtime
    except OSError:
        return before


def _later(box: dict[str, Any], now: float) -> bool:
    return "failing" in box and now - box["failing"] > OFTEN and bool(int(now / 60) % 10)


def _text(settings: dict[str, Any], made: float, now: float, *, over: bool) -> tuple[str, str]:
    site, since = plain(settings["site"]), f"{datetime.fromtimestamp(made, UTC):%Y-%m-%d %H:%M} UTC"
    page = f"\n\nThe page: {settings['page']}" if settings.get("page") else ""
    if over:
        return f"Worklist {site}: 1 over: the page is new again", (
            f"The page of the worklist, which had not been updated since {since}, is new again.{page}\n"
        )
    return f"Worklist {site}: the page has not been updated for {int((now - made) / 60)} minutes", (
        f"The page of the worklist has not been updated since {since}. The worklist's host may be off, its sync "
        "dead, or the way from there to the PACS cut, and the consoles may show an old list. See whether that host is "
        f"up, and there `dicom-worklist status`: docs/notify.md.{page}\n"
    )


def _identity(settings: dict[str, Any], to: dict[str, Any], made: float, *, over: bool) -> str:
    """Return the same for a message that is sent again, whose text has other minutes."""
    what = [settings["site"], to["name"], made, over]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


def _send(settings: dict[str, Any], to: dict[str, Any], text: tuple[str, str], identity: str, now: float) -> str:
    """Send it; a server that trickles its answer has no more time than one that is silent."""
    moment, timeout = datetime.fromtimestamp(now, UTC), settings.get("timeout", 20)
    signal.signal(signal.SIGALRM, _too_late)
    signal.setitimer(signal.ITIMER_REAL, timeout)
    try:
        return _sent(settings, to, text, identity, moment)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _too_late(*_: object) -> None:
    raise TimeoutError("it took too long")


def _sent(settings: dict[str, Any], to: dict[str, Any], text: tuple[str, str], identity: str, moment: datetime) -> str:
    timeout = settings.get("timeout", 20)
    if "mail" in to:
        server = _complete(settings["server"], "security", "port", "user", "password_file", "ca_file")
        server.security = server.security or "starttls"
        ready = mail.compose((server.sender, to["mail"]), text, identity, moment)
        return mail.send(cast("Any", server), to["mail"], ready, timeout)
    hook = _complete(to["webhook"], "token_file", "secret_file", "ca_file", "proxy")
    whole = {"text": "\n\n".join(text), "id": identity, "site": settings["site"], "time": moment.isoformat()}
    return webhook.send(cast("Any", hook), json.dumps(whole).encode(), timeout)


def _complete(section: dict[str, Any], *optional: str) -> SimpleNamespace:
    return SimpleNamespace(**dict.fromkeys(optional) | section)


def _load(memory: Path) -> dict[str, Any]:
    try:
        known = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _saved(memory: Path, known: dict[str, Any]) -> bool:
    temporary = memory.with_name(f".{memory.name}.tmp")
    try:
        temporary.write_text(json.dumps(known), encoding="utf-8")
        temporary.replace(memory)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in main(sys.argv[1], datetime.now(UTC).timestamp()))
