"""What ``verify`` found: a value, its table, its JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from oaq.checker import Verdict
from oaq.errors import Mismatch
from oaq.escape import escape_lines

LOUD = "NOT RUN"


def derived_again(verdict: Verdict) -> str:
    """What the independent checker derived, in words; layers that wrap by design are counted by themselves."""
    text = f"{verdict.sums} sums and {verdict.segments} segments derived again"
    if not verdict.modular:
        return text
    layers = f"{verdict.modular} layer{'s' if verdict.modular != 1 else ''}"
    return f"{text}; {layers} exact modulo 2^b, wrapping by design"


@dataclass(frozen=True)
class Difference:
    """The first node at which an executor leaves the reference.

    Attributes:
        node: its name.
        index: of the first integer that differs: (sample, ...) in NHWC.
        expected: what the reference has there.
        got: what the executor has.
        count: how many integers of this node's result differ.
        total: how many there are.
    """

    node: str
    index: tuple[int, ...]
    expected: int
    got: int
    count: int
    total: int

    def __str__(self) -> str:
        return (
            f"first at {self.node} {list(self.index)}: {self.got} instead of {self.expected} "
            f"({self.count} of {self.total} integers differ)"
        )


@dataclass(frozen=True)
class Executor:
    """One way to compute the program, compared with the reference.

    Attributes:
        name: "session avx2 threads=2", "row gemm_u8s8_avx2_acc16 threads=1", "onnxruntime", ...
        ran: False: nothing is known about it; ``reason`` says why.
        reason: why it did not run; empty if it did.
        compared: integers compared.
        mismatches: integers that differ.
        first: where it first differs, if it does and that could be found.
        notes: what is known, measured and bounded besides (float-defined operators of another runtime).
        failed: it is here and should have run, but could not.
        unneeded: it computes an operator, or operands of few bits, that the program does not have; ``ran`` is False.
    """

    name: str
    ran: bool
    reason: str = ""
    compared: int = 0
    mismatches: int = 0
    first: Difference | None = None
    notes: tuple[str, ...] = ()
    failed: bool = False
    unneeded: bool = False


@dataclass(frozen=True)
class Report:
    """Every executor of one program on the same inputs.

    Attributes:
        program: its name.
        fingerprint: of the program (``program.plain.fingerprint``).
        signature: of the reference's outputs on the fixed pseudo-random input.
        samples: samples by origin: "given", "corners", "fixed random", "witnesses".
        proved: nodes with sums that are proved, and how many there are.
        certificate: what the independent checker said, or why there was nothing to check.
        executors: all of them, those that did not run included.
        unsafe: reasons why the program must not be run; empty is safe.
        modular: nodes whose sums count modulo 2**b: exact in that, and not among those that are proved not to overflow.
    """

    program: str
    fingerprint: str
    signature: str
    samples: dict[str, int]
    proved: tuple[int, int]
    certificate: str
    executors: tuple[Executor, ...]
    unsafe: tuple[str, ...] = ()
    modular: int = 0

    @property
    def mismatches(self) -> int:
        """Integers that differ from the reference, over all executors that ran."""
        return sum(executor.mismatches for executor in self.executors)

    @property
    def is_safe(self) -> bool:
        """Proved, and every executor that ran agrees with the reference in every integer."""
        return not self.unsafe and not self.mismatches

    @property
    def not_run(self) -> tuple[Executor, ...]:
        """Executors that could compute the program and of which nothing is known."""
        return tuple(executor for executor in self.executors if not executor.ran and not executor.unneeded)

    @property
    def is_complete(self) -> bool:
        """Whether every executor that should have run did: what was not run never counts as safe."""
        return not any(executor.failed for executor in self.executors)

    def raise_if_unsafe(self) -> None:
        """Raise unless ``is_safe`` and ``is_complete``.

        Raises:
            Mismatch: the message names the reasons and the first differing node of each executor, or the executors that
                should have run and could not.
        """
        if self.is_safe and self.is_complete:
            return
        if self.is_safe:
            failures = [f"{executor.name}: {executor.reason}" for executor in self.executors if executor.failed]
            raise Mismatch(f"{self.program}: nothing is known about executors that failed:\n" + "\n".join(failures))
        wrong = [
            f"{executor.name}: {executor.mismatches} integers differ; {executor.first or ''}"
            for executor in self.executors
            if executor.mismatches
        ]
        raise Mismatch(f"{self.program} is not safe:\n" + "\n".join([*self.unsafe, *wrong]))

    def _verdict(self) -> str:
        if not self.is_safe:
            return "UNSAFE"
        return "safe" if self.is_complete else "INCOMPLETE"

    def table(self) -> str:
        """For people: one line per executor, those that did not run in capitals."""
        width = max((len(executor.name) for executor in self.executors if not executor.unneeded), default=0)
        proved, nodes = self.proved
        lines = [
            f"{self.program}: {self._verdict()}, {proved} of {nodes} layers proved, "
            + (f"{self.modular} of {nodes} exact modulo 2^b, wrapping by design, " if self.modular else "")
            + f"{self.mismatches} mismatching integers",
            f"inputs: {', '.join(f'{count} {origin}' for origin, count in self.samples.items() if count) or 'none'}",
            f"certificate: {self.certificate}",
            f"signature: {self.signature}",
            *self.unsafe,
        ]
        for executor in self.executors:
            if executor.unneeded:
                continue
            if not executor.ran:
                lines.append(f"{executor.name:<{width}}  {LOUD}: {executor.reason}")
                continue
            verdict = "equal" if not executor.mismatches else f"{executor.mismatches} DIFFER; {executor.first or ''}"
            lines.append(f"{executor.name:<{width}}  {executor.compared:>12,} integers  {verdict}")
            lines += [f"{'':<{width}}  note: {note}" for note in executor.notes]
        unneeded = [executor.name.removeprefix("row ") for executor in self.executors if executor.unneeded]
        if unneeded:
            words = "for operators, or operands of so few bits, that the program does not have"
            lines.append(f"not needed, {words}: {', '.join(unneeded)}")
        return escape_lines(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain data, with the derived verdicts."""
        plain = asdict(self)
        if not self.modular:
            del plain["modular"]
        return {**plain, "mismatches": self.mismatches, "safe": self.is_safe, "complete": self.is_complete}
