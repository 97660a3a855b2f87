"""Finds words that tools/words.toml refuses, in pages, comments, docstrings and messages.

`python -m tools.words` prints each with its place and what to write instead; `--count` how many each file has;
paths limit it to these files and folders. The exit status is 1 if there is one.
"""

import argparse
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = "tools/words.toml"
#: What may stand between two words: blanks, a line's end, what begins a comment's line, what joins two strings.
GAP = r"""(?:[\s#]|\s*["']\s*f?["'])+"""
#: Texts of others, and what a program writes.
SKIPPED = re.compile(r"LICENSE|requirements/.*\.txt|.*\.(?:png|css|csv|xz)")
#: Stands for what isn't text for people.
CODE = "\0"
#: A string that is a name for the program, such as a parameter's.
NAME = re.compile(r"[\"'][a-z_]+[\"']")
FSTRING = re.compile(r"[rR]?[fF][rR]?[\"']")


@dataclass(frozen=True)
class Word:
    """A refused word: `refuse` is what finds it, `instead` what to write."""

    name: str
    refuse: re.Pattern[str]
    instead: str


@dataclass(frozen=True)
class Hit:
    """A refused word in a file."""

    path: str
    line: int
    found: str
    word: Word

    def __str__(self) -> str:
        """Return it as a line for people."""
        return f"{self.path}:{self.line}: {self.found!r}: write {self.word.instead}"


@dataclass
class WordList:
    """The refused words, and where one is right: (path, word or "", text or "")."""

    words: list[Word]
    exceptions: list[tuple[str, str, str]]
    used: set[tuple[str, str, str]] = field(default_factory=set)

    def allows(self, word: Word, path: str, line: str) -> bool:
        """Return whether an exception allows a word in this line."""
        for exception in self.exceptions:
            where, name, text = exception
            if path == where and name in {"", word.name} and text in line:
                self.used.add(exception)
                return True
        return False


def load(path: Path) -> WordList:
    """Read the list.

    Raises:
        ValueError: an exception names an unknown word, or has no reason.
    """
    data = tomllib.loads(path.read_text())
    words = [
        Word(one["name"], re.compile(rf"\b(?:{one['refuse'].replace(' ', GAP)})(?!\w)", re.IGNORECASE), one["instead"])
        for one in data["words"]
    ]
    names = {word.name for word in words}
    exceptions = []
    for one in data["exceptions"]:
        if not one.get("reason") or one.get("word", "") not in {"", *names}:
            raise ValueError(f"{path.name}: the exception {one} needs a reason, and a word of the list")
        exceptions.append((one["path"], one.get("word", ""), one.get("text", "")))
    return WordList(words, exceptions)


def prose(path: str, text: str) -> str:
    """Return the text with what isn't for people replaced by CODE, so that each place stays where it is."""
    if not path.endswith(".py"):
        return text
    lines = text.splitlines(keepends=True)
    kept = [[character if character.isspace() else CODE for character in line] for line in lines]
    depth = 0  # in an f-string, which Python before 3.12 gives as one token
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        depth += {"FSTRING_START": 1, "FSTRING_END": -1}.get(kind, 0)
        if kind in {"COMMENT", "FSTRING_MIDDLE"} or (kind == "STRING" and not depth):
            if NAME.fullmatch(token.string):
                continue
            shown = _without_values(token.string) if FSTRING.match(token.string) else token.string
            first = token.start[1]
            for row, part in enumerate(shown.splitlines(keepends=True), token.start[0] - 1):
                kept[row][first : first + len(part)] = part
                first = 0
    return "".join("".join(line) for line in kept)


def _without_values(fstring: str) -> str:
    """Return an f-string with its expressions replaced by CODE; they may be nested."""
    fstring = fstring.replace("{{", CODE * 2)
    while (replaced := re.sub("{[^{}]*}", lambda match: CODE * len(match[0]), fstring)) != fstring:
        fstring = replaced
    return fstring


def find(path: str, text: str, words: WordList, *, of_name: bool = False) -> Iterator[Hit]:
    """Return the refused words of a file in their order, or with `of_name` those of its name."""
    texts, lines = text if of_name else prose(path, text), text.splitlines()
    found = [(match.start(), match[0], word) for word in words.words for match in word.refuse.finditer(texts)]
    for start, what, word in sorted(found, key=lambda one: one[0]):
        line = text.count("\n", 0, start)
        if not words.allows(word, path, lines[line]):
            yield Hit(path, 0 if of_name else line + 1, " ".join(what.split()), word)


def files(root: Path, paths: Iterable[str]) -> list[str]:
    """Return the files that git has, or would take, below these paths."""
    line = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *paths]
    done = subprocess.run(line, cwd=root, capture_output=True, text=True, check=True)  # noqa: S603
    names = done.stdout.split("\0")
    return sorted(name for name in set(names) if name and not SKIPPED.fullmatch(name) and (root / name).is_file())


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Print what is refused, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.words", description="Finds words that we don't use.")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files and folders; without, everything")
    parser.add_argument("--count", action="store_true", help="print how many there are in each file, and of each word")
    options = parser.parse_args(arguments)
    words = load(root / LIST)
    names = files(root, options.paths)
    hits = [hit for name in names for hit in find(name, (root / name).read_text(encoding="utf-8"), words)]
    for name in names:
        hits += find(name, re.sub(r"[/._-]", " ", name), words, of_name=True)
    if options.count:
        for counted in (Counter(hit.path for hit in hits), Counter(hit.word.name for hit in hits)):
            print(*(f"{number:5} {what}" for what, number in counted.most_common()), "", sep="\n")
    else:
        print(*hits, sep="\n", end="\n" if hits else "")
    unused = [] if options.paths else [one for one in words.exceptions if one not in words.used]
    for path, name, text in unused:
        print(f"{LIST}: the exception for {path} {name} {text} is not needed: remove it")
    return 1 if hits or unused else 0


if __name__ == "__main__":
    sys.exit(main())
