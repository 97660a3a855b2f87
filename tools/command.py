"""The command `dicom-worklist` for docs/command.md, as its own parser describes it."""

import argparse
import textwrap

from dicom_worklist import cli
from dicom_worklist.errors import ExitStatus
from tools.variables import code


def parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    return cli._parser()


def commands() -> str:
    """Return each of its commands with its arguments."""
    return "\n".join(_section(command) for command in subcommands().values())


def statuses() -> str:
    """Return its exit statuses as a table."""
    rows = ["| exit status | it means |", "| --- | --- |"]
    rows += [f"| {status:d} | {status.meaning} |" for status in ExitStatus]
    return "\n".join(rows) + "\n"


def subcommands() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each of its commands."""
    [commands] = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(commands.choices)


def _section(command: argparse.ArgumentParser) -> str:
    actions = [action for action in command._actions if not isinstance(action, argparse._HelpAction)]
    # not argparse's own help: each version of Python breaks its lines elsewhere
    usage = " ".join([command.prog, *(_usage(action).replace(" ", "\xa0") for action in actions)])
    lines = textwrap.wrap(usage, 116, subsequent_indent=" " * (len(command.prog) + 1), break_on_hyphens=False)
    rows = [f"| {code(_name(action))} | {_help(command, action)} |" for action in actions]
    description = command.description or ""
    return "\n".join(
        [
            f"### {command.prog.split()[-1]}",
            "",
            description[:1].upper() + description[1:],
            "",
            *(f"    {line}" for line in lines),
            "",
            "| argument | what it is |",
            "| --- | --- |",
            *rows,
            "",
        ]
    ).replace("\xa0", " ")


def _values(action: argparse.Action) -> str:
    if action.choices:
        return "|".join(map(str, action.choices))
    return str(action.metavar or ("" if action.nargs == 0 else action.dest.upper()))


def _usage(action: argparse.Action) -> str:
    if not action.option_strings:
        return _values(action)
    usage = " ".join([action.option_strings[0], _values(action)]).strip()
    return usage if action.required else f"[{usage}]"


def _name(action: argparse.Action) -> str:
    if not action.option_strings:
        return _values(action)
    return f"{', '.join(action.option_strings)} {_values(action)}".strip()


def _help(command: argparse.ArgumentParser, action: argparse.Action) -> str:
    return ((action.help or "") % {"default": action.default, "prog": command.prog}).replace("|", r"\|")
