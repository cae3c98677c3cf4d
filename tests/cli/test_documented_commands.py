"""Every command line that the documents and the help texts show is one that the parser takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from oaq.cli.command import EPILOG, VERBS, parser

ROOT = Path(__file__).parents[2]
VERB = "|".join(verb.__name__.rpartition(".")[2] for verb in VERBS)
SHOWN = re.compile(rf"^(?:\s*|\| `)(oaq (?:{VERB})\b[^`\n]*)", re.M)


def shown(text: str) -> list[str]:
    """Commands at the start of a line or of a table row; what follows a gap, # or > is not theirs."""
    joined = text.replace("\\\n", " ")
    return [re.split(r"\s{2,}|\s#|\s>", found)[0].strip() for found in SHOWN.findall(joined)]


def sources() -> list[tuple[str, str]]:
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    texts = [(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in documents]
    texts += [(verb.__name__, verb.EXAMPLES) for verb in VERBS]
    texts.append(("oaq --help", f"{parser().description}\n{EPILOG}"))
    return [(where, line) for where, text in texts for line in shown(text)]


COMMANDS = sources()


def test_commands_are_found_in_every_kind_of_place() -> None:
    places = {where for where, _ in COMMANDS}
    assert {"README.md", "docs/how-to/verify-a-file.md", "oaq.cli.verify", "oaq --help"} <= places


@pytest.mark.parametrize(("where", "line"), COMMANDS, ids=[f"{where}: {line}" for where, line in COMMANDS])
def test_is_a_command(where: str, line: str) -> None:
    """``where`` only names the case."""
    del where
    assert parser().parse_args(shlex.split(line.replace("$budget", "1.2"))[1:]).verb
