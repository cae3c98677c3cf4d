"""Write the files of a program in C."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from oaq.errors import FormatError
from oaq.export.c_source.files import Network, constants, header, network_of, selftest, source
from oaq.export.c_source.text import identifier
from oaq.program.atomic import make_folder, write_atomically
from oaq.program.int_program import IntProgram


@dataclass(frozen=True)
class CSource:
    """What was written.

    Attributes:
        files: header, source, constants, self-test.
        arena: bytes that a caller provides beside inputs and outputs.
        constants: bytes of weights, biases, multipliers and tables.
        signature: of the outputs, as ``oaq verify`` states it.
    """

    files: tuple[Path, ...]
    arena: int
    constants: int
    signature: str


def save(program: IntProgram, folder: Path, name: str | None, signature: str, version: str) -> CSource:
    """Write header, source, constants and self-test into ``folder``, which is made if it is missing.

    Args:
        program: what the source computes.
        folder: where.
        name: prefix of files and public names; None is the program's name.
        signature: of its outputs.
        version: of oaq.

    Raises:
        AccumulatorOverflow: a sum is not proved to fit 32 bits.
        FormatError: ``folder`` cannot be made or written, or ``name`` is not an identifier.
        UnsupportedOp: C export knows no function for an operator; the message names the node.
    """
    net = identifier(program.name) if name is None else name
    if net != identifier(net):
        raise FormatError(f"{net!r} is not a name in C: take letters, digits and single '_', such as {identifier(net)}")
    network: Network = network_of(program, net, signature)
    texts = {
        f"{net}.h": header(network, version),
        f"{net}.c": source(network),
        f"{net}_constants.h": constants(network),
        f"{net}_selftest.c": selftest(network),
    }
    make_folder(folder)
    for file, text in texts.items():
        write_atomically(folder / file, [text.encode()])
    return CSource(tuple(folder / file for file in texts), network.storage.size, network.constants.size, signature)
