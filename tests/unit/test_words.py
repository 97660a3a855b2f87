"""The linter of words: what it finds where, what it leaves alone, and that its list is one."""

import re
import subprocess
from pathlib import Path

import pytest

from tools import words

ROOT = Path(__file__).parents[2]
LIST = """
[[words]]
name = "mend"
refuse = 'mend(?:s|ed)?'
instead = "fix"

[[words]]
name = "is no"
refuse = '(?!there)[a-z]+ is no(?! longer)'
instead = "is not a …"

[[words]]
name = "doors"
refuse = 'doors?'
instead = "firewall"

[[exceptions]]
path = "tools/words.toml"
reason = "lists the words"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a list of words."""
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/words.toml").write_text(LIST)
    return tmp_path


def found(project: Path, name: str, text: str) -> list[tuple[int, str]]:
    """Write a file, and return line and word of each hit in it."""
    path = project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    listed = words.load(project / "tools/words.toml")
    return [(hit.line, hit.word.name) for hit in words.find(name, text, listed)]


@pytest.mark.parametrize("name", ["a.md", "a.yml", "a.j2", "a.sh", "Dockerfile", "a.c"])
def test_each_kind_of_text_is_looked_at(name: str, project: Path) -> None:
    assert found(project, name, "right\nit is Mended\n") == [(2, "mend")]


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        pytest.param('"""Mend it."""\n', [(1, "mend")], id="docstring"),
        pytest.param("x = 1  # mends\n", [(1, "mend")], id="comment"),
        pytest.param("print('''one\nmended''')\n", [(2, "mend")], id="a text of several lines"),
        pytest.param('print(f"mended {1}")\n', [(1, "mend")], id="f-string"),
        pytest.param("mend = doors(frozen=True)\n", [], id="names"),
        pytest.param('print(f"{mend} {mend!r:{mend}} right")\n', [], id="names in an f-string"),
        pytest.param("print(f\"{'mend'}\")\n", [], id="a text in an f-string's expression"),
        pytest.param('print(f"{{mend}} {1}")\n', [(1, "mend")], id="braces"),
        pytest.param('raise ValueError("this "\n    "is "\n    f"no day")\n', [(1, "is no")], id="texts in a row"),
        pytest.param("# this is\n# no day\n", [(1, "is no")], id="comments in a row"),
    ],
)
def test_of_python_only_what_people_read(text: str, hits: list[tuple[int, str]], project: Path) -> None:
    assert found(project, "a.py", text) == hits


@pytest.mark.parametrize(
    "text",
    ["amend", "mender", "commendable", "wlmscpfs_mend_after", "there is no day", "it is no longer", "is not a day"],
)
def test_right_words_are_left_alone(text: str, project: Path) -> None:
    assert found(project, "a.md", text) == []


@pytest.mark.parametrize("text", ["this is no day", "this is\nno day", "this is no\nday", "this  is   no  day"])
def test_a_line_may_end_between_two_words(text: str, project: Path) -> None:
    assert found(project, "a.md", text) == [(1, "is no")]


def test_it_prints_place_word_and_remedy_and_fails(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert words.main([], project) == 0
    assert capsys.readouterr().out == ""
    found(project, "docs/a.md", "one\ntwo mended\n")
    assert words.main([], project) == 1
    assert capsys.readouterr().out == "docs/a.md:2: 'mended': write fix\n"
    assert words.main(["docs"], project) == 1
    assert words.main(["tools"], project) == 0


def test_it_counts_files_and_words(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found(project, "a.md", "mend mend doors")
    found(project, "b.md", "mend")
    assert words.main(["--count"], project) == 1
    assert capsys.readouterr().out.split() == ["3", "a.md", "1", "b.md", "3", "mend", "1", "doors"]


def test_a_file_s_name_is_text_too(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found(project, "tasks/verify_doors.yml", "right\n")
    assert words.main([], project) == 1
    assert capsys.readouterr().out == "tasks/verify_doors.yml:0: 'doors': write firewall\n"


def test_what_git_ignores_and_texts_of_others_are_left_alone(project: Path) -> None:
    (project / ".gitignore").write_text("/ignored\n")
    for name in ("ignored/a.md", "LICENSE", "requirements/test.txt", "a.png"):
        found(project, name, "mend")
    assert words.main([], project) == 0


@pytest.mark.parametrize(
    ("exception", "status"),
    [
        ('path = "a.md"', 0),
        ('path = "a.md"\nword = "mend"', 0),
        ('path = "a.md"\nword = "mend"\ntext = "to mend it"', 0),
        ('path = "a.md"\nword = "doors"', 1),
        ('path = "a.md"\ntext = "elsewhere"', 1),
        ('path = "b.md"', 1),
    ],
)
def test_an_exception_is_for_what_it_names(exception: str, status: int, project: Path) -> None:
    found(project, "a.md", "to mend it\n")
    with (project / "tools/words.toml").open("a") as file:
        file.write(f'[[exceptions]]\n{exception}\nreason = "a quotation"\n')
    assert words.main([], project) == status


def test_an_exception_that_nothing_needs_fails(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (project / "tools/words.toml").open("a") as file:
        file.write('[[exceptions]]\npath = "a.md"\nreason = "was needed"\n')
    assert words.main([], project) == 1
    assert "a.md" in capsys.readouterr().out
    assert words.main(["tools"], project) == 0  # not all files were looked at


@pytest.mark.parametrize("exception", ['path = "a.md"', 'path = "a.md"\nword = "other"\nreason = "some"'])
def test_an_exception_needs_a_reason_and_a_word_of_the_list(exception: str, project: Path) -> None:
    with (project / "tools/words.toml").open("a") as file:
        file.write(f"[[exceptions]]\n{exception}\n")
    with pytest.raises(ValueError, match="needs a reason"):
        words.main([], project)


#: For each word of the project's own list, what it finds.
FOUND = """
this is no day | all are no days | that is none | none is there | all are others'. | it is waited for | it is to be done
whatever it is | whoever reads | wherever it is | who is refused | who comes | what is no image | it is no more
has it any more | it is this that matters | mended | heals | was told | tells | he said | hears | heed | anew | besides
for ever | all the same | in so many words | in need | in clear | by itself | as it comes | the very one | went from
came of it | knows nothing of | does without | stands there | hinders | made up | mostly | hence
the doors | sealed | throwaway | alarms | is frozen | leftovers
"""
RIGHT = """
There is no day. It is no longer there. There are no days. There is none. Tell who booked it. Tell them apart.
Healthy. A sentence is not to long. He is taller than others. Nothing is to be found. More than that.
It is no later than 9. Commended. Amended.
"""


def test_each_word_of_the_list_finds_what_it_is_for() -> None:
    listed = words.load(ROOT / "tools/words.toml")
    examples = [example.strip() for line in FOUND.strip().splitlines() for example in line.split("|")]
    hits = {example: {hit.word.name for hit in words.find("a.md", example, listed)} for example in examples}
    assert [example for example, names in hits.items() if not names] == []
    assert {word.name for word in listed.words} == set().union(*hits.values())


def test_the_list_leaves_right_words_alone() -> None:
    listed = words.load(ROOT / "tools/words.toml")
    assert [str(hit) for hit in words.find("a.md", RIGHT, listed)] == []


def test_no_replacement_is_a_refused_word() -> None:
    listed = words.load(ROOT / "tools/words.toml")
    for word in listed.words:
        for instead in re.split(r"[;,]", word.instead):
            hits = [hit.word.name for hit in words.find("a.md", instead, listed)]
            assert hits == [], word.name
