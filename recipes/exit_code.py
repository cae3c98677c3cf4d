"""What a recipe's process ends with: every refusal is one line on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable

import oaq


def exit_code(name: str, run: Callable[[], int]) -> int:
    """What ``run`` returns; 1 where a proof or a comparison fails, 2 where the user erred, 130 where interrupted.

    Args:
        name: of the recipe, in front of the line.
        run: does all of it.
    """
    try:
        return run()
    except oaq.OaqError as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 1 if isinstance(error, oaq.AccumulatorOverflow | oaq.Mismatch) else 2
    except OSError as error:
        sys.stderr.write(f"{name}: {error.filename or 'output'}: {error.strerror}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"{name}: interrupted\n")
        return 130
