"""How numbers and names are written, in the page and in the terminal alike."""

from __future__ import annotations

from math import log2

from oaq.numerics.accumulator import Accumulator
from oaq.numerics.formats import S32
from oaq.numerics.ranges import IntRange
from oaq.report.data import LayerFacts, ScheduleFacts, effective_bits

THIN = "\u202f"


def integer(value: int) -> str:
    """Digits in groups of three, a narrow space between groups.

    >>> integer(-1234567).split(THIN)
    ['-1', '234', '567']
    """
    return f"{value:,}".replace(",", THIN)


def short(value: float) -> str:
    """Three significant digits and a unit.

    >>> short(385_000_000), short(999)
    ('385 M', '999')
    """
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value:.3g}"


def interval(r: IntRange) -> str:
    """``[lo, hi]``."""
    return f"[{integer(r.lo)}, {integer(r.hi)}]"


def bits(r: IntRange) -> str:
    """Effective bits, one decimal."""
    return f"{effective_bits(r):.1f}"


def shape(sizes: tuple[int, ...]) -> str:
    """``56 x 56 x 24`` with multiplication signs."""
    return "\u00d7".join(str(size) for size in sizes)


def milliseconds(value: float) -> str:
    """Three significant digits.

    >>> milliseconds(12.3456), milliseconds(123.4), milliseconds(0.01234)
    ('12.3', '123', '0.0123')
    """
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def share(bound: IntRange, register: IntRange) -> float:
    """How much of a register a bound uses: 1.0 is exactly full, above 1 does not fit.

    >>> share(IntRange(-10, 32767), IntRange(-32768, 32767))
    1.0
    """
    return max((bound.hi + 1) / (register.hi + 1), bound.lo / register.lo, 0.0)


def by_design(bits: int) -> str:
    """The third promise, beside "proved" and "observed".

    >>> by_design(8)
    'exact modulo 2^8, wraps by design'
    """
    return f"exact modulo 2^{bits}, wraps by design"


def layers_by_design(count: int) -> str:
    """What is said of so many layers whose sums wrap by design.

    >>> layers_by_design(1)
    '1 layer wraps by design, exact modulo 2^b'
    """
    return f"{count} layer{'s wrap' if count != 1 else ' wraps'} by design, exact modulo 2^b"


def register(accumulator: Accumulator) -> str:
    """One line about a register model."""
    if accumulator.is_exact:
        return f"{accumulator.bits}-bit sum, exact inside the instruction"
    lanes = f"{accumulator.lanes} lanes of " if accumulator.lanes > 1 else ""
    text = f"{lanes}{accumulator.bits} bits; a lane {accumulator.overflow}"
    if accumulator.group > 1:
        text += f", a group of {accumulator.group} products {accumulator.group_overflow}"
    return text


def run_length(schedule: ScheduleFacts | None) -> str:
    """Average run, "-" if nothing is spilled."""
    if schedule is None:
        return "\u2013"
    return f"{schedule.average_run:.1f}" if schedule.average_run < 100 else f"{schedule.average_run:.0f}"


def narrow_share(layer: LayerFacts) -> float:
    """Share of the register that the proved bound uses: the narrow lane's, or the s32 total's for an exact row."""
    if layer.bounds.lane is not None:
        return share(layer.bounds.lane, layer.accumulator.range)
    return share(layer.bounds.total, S32)


def percent(value: float) -> str:
    """A share in percent, as many digits as its size deserves; a share below one is never written as 100.

    >>> percent(0.99999), percent(1.0), percent(0.0123), percent(2.5), percent(1e-6), percent(0.0)
    ('99.9 %', '100 %', '1.2 %', '250 %', '<0.1 %', '0 %')
    """
    percentage = value * 100
    if percentage < 0.05:
        return "<0.1 %" if percentage > 0 else "0 %"
    if 99.9 < percentage < 100:
        return "99.9 %"
    return f"{percentage:.0f} %" if percentage >= 99.95 else f"{percentage:.1f} %"


def log_place(value: float, lowest: float, highest: float) -> float:
    """Where ``value`` lies between two positive ends on a log2 scale, held inside 0..1."""
    at = (log2(max(value, lowest)) - log2(lowest)) / (log2(highest) - log2(lowest))
    return min(max(at, 0.0), 1.0)
