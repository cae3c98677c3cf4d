"""A peer in a process of its own, so that it can have its own environment (ONEDNN_MAX_CPU_ISA=AVX2).

The child loads the model, answers one line of JSON per request on its standard output, and times its own calls, so
that pipes are not in the figures. ``python -m benchmarks.process_peer MODEL INPUT.npy RUNTIME PRECISION THREADS``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import RUNTIMES
from oaq.report.comparison import Contender
from oaq.report.latency import turn
from oaq.report.peers import Peer

HELD: Final = {"AVX2": "avx2", "AVX512_CORE": "avx512bw"}
"""What oneDNN, hence OpenVINO, is held to, and the instruction set that is for us."""
LEAST_HELD_SQNR_DB: Final = -20.0
"""A file whose sums saturate is timed all the same."""


class ProcessPeer:
    """A running child; use it as a context manager."""

    def __init__(
        self,
        model: Path,
        x: NDArray[np.generic],
        runtime: str,
        precision: str,
        threads: int,
        environment: Mapping[str, str],
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        input_file = Path(self._folder.name) / "x.npy"
        np.save(input_file, x)
        command = [
            sys.executable,
            "-m",
            "benchmarks.process_peer",
            str(model),
            str(input_file),
            runtime,
            precision,
            str(threads),
        ]
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
            cwd=Path(__file__).parent.parent,
        )
        self.name = str(self._ask({"do": "name"}))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.stdin.close()  # type: ignore[union-attr]
        self._child.wait(timeout=30)
        self._child.stdout.close()  # type: ignore[union-attr]
        self._folder.cleanup()

    def take(self, count: int) -> list[float]:
        """A turn."""
        answer = self._ask({"do": "turn", "count": count})
        return [float(value) for value in answer]  # type: ignore[attr-defined]

    def outputs(self) -> NDArray[np.float32]:
        """The outputs for the input given."""
        return np.array(self._ask({"do": "outputs"}), np.float32)

    def answers(self, samples: NDArray[np.generic]) -> list[NDArray[np.float32]]:
        """(n, ...) of every output, in order, for (n, ...) samples given one at a time."""
        source, target = Path(self._folder.name) / "samples.npy", Path(self._folder.name) / "answers.npz"
        np.save(source, samples)
        self._ask({"do": "answers", "samples": str(source), "out": str(target)})
        with np.load(target) as arrays:
            return [arrays[name] for name in arrays]

    def _ask(self, request: dict[str, object]) -> object:
        pipe, answers = self._child.stdin, self._child.stdout
        if pipe is None or answers is None:
            raise RuntimeError("the peer's pipes are closed")
        pipe.write(json.dumps(request) + "\n")
        pipe.flush()
        line = answers.readline()
        if not line:
            raise RuntimeError(f"the peer ended with exit code {self._child.wait()}; its words are above")
        return json.loads(line)["answer"]


def child_contender(
    child: ProcessPeer,
    reference: NDArray[np.float32],
    held: str = "",
    *,
    precision: str = "int8",
    against: str = "float",
) -> Contender:
    """A peer in a process of its own. Held to less than the CPU has, its sums may overflow: precision is only noted.

    Args:
        child: running.
        reference: the float network's output.
        held: what its environment holds it to, one of ``HELD``, or "".
        precision: "int8" or "fp32".
        against: what ``reference`` is.
    """
    return Contender(
        name=f"{child.name}, held to {held}" if held else child.name,
        ours=False,
        precision=precision,
        isa=HELD.get(held, "best of the CPU"),
        take=child.take,
        outputs=lambda: child.outputs().reshape(reference.shape),
        reference=reference,
        least_sqnr_db=LEAST_HELD_SQNR_DB if held else 0.0,
        against=against,
    )


def serve(peer: Peer, x: NDArray[Any]) -> None:
    """Answer requests until the parent closes the pipe. Only JSON goes to the real standard output."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a runtime that prints does not garble the protocol
    take = turn(lambda: peer.run(x))
    for line in sys.stdin:
        request = json.loads(line)
        match request["do"]:
            case "name":
                answer: object = peer.name
            case "turn":
                answer = take(request["count"])
            case "answers":
                answer = write_answers(peer, Path(request["samples"]), Path(request["out"]))
            case _:
                answer = peer.run(x).tolist()
        out.write(json.dumps({"answer": answer}) + "\n")
        out.flush()


def write_answers(peer: Peer, samples: Path, out: Path) -> int:
    """Run every sample of a .npy file alone and write all outputs, in order, to an .npz file; returns how many."""
    run = peer.run_all or (lambda x: [peer.run(x)])
    x = np.load(samples, mmap_mode="r")
    results = [[np.array(y) for y in run(np.ascontiguousarray(x[at : at + 1]))] for at in range(len(x))]
    np.savez(out, *(np.concatenate(parts) for parts in zip(*results, strict=True)))
    return len(results)


if __name__ == "__main__":
    model, input_path, runtime, precision, threads = sys.argv[1:]
    serve(RUNTIMES[runtime](Path(model), precision, int(threads)), np.load(input_path))
