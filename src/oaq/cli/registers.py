"""The flag that names register models; ``--isa``, which says an instruction set elsewhere, is its old name."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from oaq.terminal import say


class _OldName(argparse.Action):
    """Store as ``--registers`` does, and say so once on standard error."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[str] | None,
        option_string: str | None = None,
    ) -> None:
        if not getattr(namespace, "_old_name_said", False):
            say.warn(f"{option_string} is called --registers now: it names a register, not an instruction set")
            namespace._old_name_said = True
        earlier = getattr(namespace, "registers", None)
        namespace.registers = [*(earlier or []), values] if isinstance(self.const, list) else values


def add_registers(
    parser: argparse.ArgumentParser, text: str, *, several: bool = False, default: str | None = None
) -> None:
    """``--registers``, and ``--isa`` out of sight.

    Args:
        parser: of a verb.
        text: the help.
        several: the flag may be repeated; the value is then a list.
        default: of a flag that is given once.
    """
    if several:
        parser.add_argument("--registers", action="append", default=[], metavar="NAME", help=text)
    else:
        parser.add_argument("--registers", default=default, metavar="NAME", help=text)
    parser.add_argument(
        "--isa",
        action=_OldName,
        const=[] if several else None,
        dest="registers",
        default=argparse.SUPPRESS,
        help=argparse.SUPPRESS,
    )
