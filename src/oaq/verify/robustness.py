"""Ask the independent checker about a certificate of robustness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from oaq.checker.robust import check_robustness
from oaq.checker.robust_equivalence import KIND as EQUIVALENCE
from oaq.checker.robust_equivalence import check_equivalence
from oaq.checker.robust_ranges import KIND, check_conditional_ranges
from oaq.checker.verdict import Verdict
from oaq.errors import ConfigError
from oaq.program.int_program import IntProgram
from oaq.program.plain import to_plain


def verify_certificate(
    program: IntProgram,
    header: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    other: IntProgram | None = None,
) -> Verdict:
    """Derive a certificate again from the program: set, label, ranges, cases, every leaf; no solver.

    A certificate of conditional ranges is derived likewise, and so is one of equivalence.

    Args:
        program: which it is about; the first of two for equivalence.
        header: of the certificate.
        arrays: likewise.
        other: the second program, for a certificate of equivalence only.

    Raises:
        ConfigError: it is of equivalence, and there is no other program.
        FormatError: the data is not a certificate.
    """
    if header.get("kind") == EQUIVALENCE:
        if other is None:
            raise ConfigError(
                "a certificate of equivalence is about two programs, in order: check it with oaq robust FIRST "
                "--equivalent SECOND --check CERT"
            )
        return verify_equivalence(program, other, header, arrays)
    check = check_conditional_ranges if header.get("kind") == KIND else check_robustness
    return check(*to_plain(program), header, arrays)


def verify_equivalence(
    first: IntProgram, second: IntProgram, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> Verdict:
    """Derive a certificate of equivalence again from both programs.

    Args:
        first: the program that was named first when it was made.
        second: the other.
        header: of the certificate.
        arrays: likewise.

    Raises:
        FormatError: the data is not such a certificate.
    """
    return check_equivalence(to_plain(first), to_plain(second), header, arrays)
