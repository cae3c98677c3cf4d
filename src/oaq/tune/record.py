"""What was measured, as a file: with it a second run makes the same choice, on whatever machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from oaq.errors import ConfigError, FormatError
from oaq.program.atomic import write_atomically
from oaq.program.int_program import IntProgram
from oaq.program.plain import fingerprint
from oaq.report.environment import environment
from oaq.tune.effects import PowerLaw
from oaq.tune.timing import Line, Timings

FORMAT: Final = "oaq tuning 1"
LARGEST_FILE: Final = 64 << 20
Laws = tuple[Mapping[str, PowerLaw], Mapping[str, PowerLaw]]


@dataclass(frozen=True, eq=False)
class Record:
    """Measurements of one program on one machine.

    Attributes:
        program: its fingerprint.
        timings: of every instruction set.
        laws: effects of layers and of groups of tensors.
        synthetic: effects were measured without data.
        stamp: (key, value) about the machine and the time.
    """

    program: str
    timings: tuple[Timings, ...]
    laws: Laws
    synthetic: bool
    stamp: Mapping[str, str]

    @classmethod
    def measured(cls, program: IntProgram, timings: Sequence[Timings], laws: Laws, *, synthetic: bool) -> Record:
        """Measurements made here and now."""
        machine = environment()
        stamp = {"cpu": machine.cpu, "compiler": machine.compiler, "commit": machine.commit, "date": machine.date}
        return cls(fingerprint(program), tuple(timings), laws, synthetic, stamp)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "format": FORMAT,
            "program": self.program,
            "synthetic": self.synthetic,
            "stamp": dict(self.stamp),
            "timings": [
                {
                    "isa": timings.isa,
                    "lines": {
                        node: {row: asdict(line) for row, line in rows.items()} for node, rows in timings.lines.items()
                    },
                    "moves": dict(timings.moves),
                    "overhead": timings.overhead,
                }
                for timings in self.timings
            ],
            "layers": {name: asdict(law) for name, law in self.laws[0].items()},
            "tensors": {name: asdict(law) for name, law in self.laws[1].items()},
        }

    @cached_property
    def digest(self) -> str:
        """sha256 of the numbers."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            FormatError: it cannot be written.
        """
        write_atomically(Path(path), [(json.dumps(self.to_json(), indent=1) + "\n").encode()])


def load_record(path: str | Path) -> Record:
    """Read a record.

    Raises:
        FormatError: missing, or not a record.
    """
    path = Path(path)
    content = _content(path)
    try:
        document = json.loads(content.decode())
        if len(content) > LARGEST_FILE or document["format"] != FORMAT:
            raise ValueError(f"its format is {document.get('format')!r}, not {FORMAT!r}")
        timings = tuple(
            Timings(
                str(part["isa"]),
                {
                    node: {row: Line(**_numbers(line)) for row, line in rows.items()}
                    for node, rows in part["lines"].items()
                },
                _numbers(part["moves"]),
                _numbers({"overhead": part["overhead"]})["overhead"],
            )
            for part in document["timings"]
        )
        laws = tuple(
            {name: PowerLaw(**_numbers(law)) for name, law in document[kind].items()} for kind in ("layers", "tensors")
        )
        stamp = {str(key): str(value) for key, value in document["stamp"].items()}
        return Record(str(document["program"]), timings, (laws[0], laws[1]), bool(document["synthetic"]), stamp)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError(f"{path}: is not a record of oaq tune: {error}. Measure again: leave --record out") from error


def _content(path: Path) -> bytes:
    """The first bytes of a file: at most one more than a record has.

    Raises:
        FormatError: it cannot be read, or its name is not one of a file.
    """
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise FormatError(
            f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}. Name a record of oaq tune"
        ) from error


def record_matches(record: Record, program: IntProgram, isas: Sequence[str]) -> None:
    """Refuse a record of something else.

    Raises:
        ConfigError: it was made with another program or for other instruction sets.
    """
    if record.program != fingerprint(program):
        raise ConfigError("the record is of another program: its fingerprint differs. Measure again: leave it out")
    measured = tuple(timings.isa for timings in record.timings)
    if measured != tuple(isas):
        raise ConfigError(f"the record is of {', '.join(measured)}, not of {', '.join(isas)}")


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    numbers = {str(key): float(value) for key, value in values.items()}
    if any(not 0 <= value < float("inf") for value in numbers.values()):
        raise ValueError(f"a number is negative or not finite: {numbers}")
    return numbers
