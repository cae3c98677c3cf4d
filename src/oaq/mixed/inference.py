"""``InferenceSession``: any ONNX, TFLite or .oaq file, by the calls of ONNX Runtime's class of that name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from oaq.capture.model_file import import_model
from oaq.errors import FormatError, ProgramError, UnsupportedOp
from oaq.kernels.cpus import thread_count
from oaq.mixed.execute import MixedSession, Options, RegionTime, Sessions
from oaq.mixed.load import OnnxFile, float_file, mixed_program, program_of_integers, read_onnx
from oaq.mixed.options import PROVIDER
from oaq.mixed.ports import type_name
from oaq.mixed.program import FloatBody, MixedProgram, Port, Values
from oaq.mixed.runtime import runtime_version
from oaq.program.files import read
from oaq.program.inputs import refuse_mask

SIZES_AT_ONCE: Final = 16
"""Plans for different sizes of one file that are held; the one used longest ago is dropped for another."""


@dataclass(frozen=True)
class NodeArg:
    """An input or output as ONNX Runtime describes it.

    Attributes:
        name: in the file.
        type: ``tensor(float)``, ``tensor(uint8)``, ...
        shape: sizes; a text or None where the file leaves one open.
    """

    name: str
    type: str
    shape: list[int | str | None]


class InferenceSession:
    """Runs a file: its integers by sessions of oaq, proved; the rest in float, by ONNX Runtime if it is installed.

    Sizes that the file leaves open are those of the arrays: there is a plan for each that comes, made when it first
    does. What runs where, and why, says ``explain()``.

    Attributes:
        threads: of each region.
    """

    def __init__(
        self,
        path_or_bytes: str | Path | bytes,
        sess_options: Any = None,  # noqa: ANN401 (onnxruntime's class or ours)
        providers: Sequence[Any] | None = None,
        provider_options: Sequence[Any] | None = None,
        *,
        threads: int | None = None,
        isa: str | None = None,
        memory_limit: int | None = None,
    ) -> None:
        """Read the file, prove and plan its integers.

        Args:
            path_or_bytes: an ``.onnx``, ``.tflite`` or ``.oaq`` file, or the bytes of an ONNX model.
            sess_options: of onnxruntime, or ``oaq.SessionOptions``; the number of threads is taken from it.
            providers: taken and not followed: sessions run on this CPU.
            provider_options: likewise.
            threads: of each region; None is what ``sess_options`` says, or as many as this process may use
                CPUs.
            isa: best instruction set to plan for; None is ``OAQ_ISA``, then the best here.
            memory_limit: see ``oaq.Session``.

        Raises:
            FormatError: the file is missing, damaged, or called otherwise.
            AccumulatorOverflow: sums of its integers are not proved to fit their registers.
            UnsupportedOp: a part that stays in float cannot be run here; the message names the node.
        """
        requested = int(getattr(sess_options, "intra_op_num_threads", 0) or 0)
        self.threads = thread_count(threads if threads is not None else requested or None)
        self._options = Options(self.threads, isa, memory_limit)
        self._sessions: Sessions = {}
        self._by_sizes: dict[tuple[Any, ...], MixedSession] = {}
        self._file: OnnxFile | None = None
        self._last: MixedSession | None = None
        suffix = "" if isinstance(path_or_bytes, bytes) else Path(path_or_bytes).suffix.lower()
        if isinstance(path_or_bytes, bytes) or suffix == ".onnx":
            self._file = read_onnx(path_or_bytes)
            self._inputs = self._file.inputs
            if self._file.dynamic is not None:
                self._last = self._by_sizes[()] = MixedSession(mixed_program(self._file), self._options)
            elif all(_is_settled(port) for port in self._inputs):
                self._open({port.name: _least(port) for port in self._inputs})
        else:
            program = program_of_file(Path(path_or_bytes))
            self._inputs = program.inputs
            self._last = self._by_sizes[()] = MixedSession(program, self._options, self._sessions)

    @property
    def program(self) -> MixedProgram:
        """The regions that the last run had; those of the least sizes before there was one.

        Raises:
            ProgramError: the file leaves sizes other than the batch open, and nothing has been run.
        """
        if self._last is None:
            raise ProgramError("the file leaves sizes open: run it once, then its regions are known")
        return self._last.program

    @property
    def inputs(self) -> tuple[Port, ...]:
        """The inputs of the file, in its order."""
        return self._inputs

    @property
    def opened(self) -> MixedSession | None:
        """The session of the sizes that ran last; None before one is opened."""
        return self._last

    def get_inputs(self) -> list[NodeArg]:
        """The inputs of the file, in its order."""
        return [_described(port) for port in self._inputs]

    def get_outputs(self) -> list[NodeArg]:
        """The outputs of the file, in its order."""
        return [_described(port) for port in self._outputs()]

    def get_providers(self) -> list[str]:
        """Where this session runs."""
        return [PROVIDER]

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any], run_options: object = None
    ) -> list[Values]:
        """Outputs of the file for ``input_feed``.

        Args:
            output_names: which, in this order; None or an empty list is all of them in the file's.
            input_feed: arrays by the names of the inputs, in the file's shapes and types.
            run_options: taken and not followed.

        Raises:
            ProgramError: names, types or shapes are not the file's; the message says what they are.
        """
        outputs = [port.name for port in self._outputs()]
        unknown = [name for name in output_names or () if name not in outputs]
        if unknown:
            raise ProgramError(f"no output is called {unknown[0]!r}; there are {outputs}")
        feed = self._checked(input_feed)
        session = self._open({name: array.shape for name, array in feed.items()})
        return session.run(feed, list(output_names) if output_names else outputs)

    def profile(self) -> tuple[RegionTime, ...]:
        """How long each region took in the last run."""
        return () if self._last is None else self._last.profile()

    def explain(self) -> str:
        """What is proved, what is not, where each region begins, by whom it is run and how long that took last."""
        from oaq.mixed.explain import explain

        return explain(self.program, self._last)

    def _outputs(self) -> tuple[Port, ...]:
        if self._last is None:
            assert self._file is not None
            from oaq.mixed.ports import output_ports

            return output_ports(self._file.model, self._inputs, None)
        return self._last.program.outputs

    def _checked(self, input_feed: Mapping[str, Any]) -> dict[str, Values]:
        names = [port.name for port in self._inputs]
        unknown = [name for name in input_feed if name not in names]
        missing = [name for name in names if name not in input_feed]
        if unknown:
            raise ProgramError(f"no input is called {unknown[0]!r}; there are {names}")
        if missing:
            raise ProgramError(f"the input {missing[0]!r} is missing; there are {names}")
        return {port.name: _array(port, input_feed[port.name]) for port in self._inputs}

    def _open(self, shapes: Mapping[str, tuple[int, ...]]) -> MixedSession:
        """The session for arrays of these shapes."""
        key = self._key(shapes)
        if key not in self._by_sizes:
            assert self._file is not None
            while len(self._by_sizes) >= SIZES_AT_ONCE:
                del self._by_sizes[next(iter(self._by_sizes))]
            program = mixed_program(self._file, {name: shape for name, shape in shapes.items() if shape})
            self._by_sizes[key] = self._session(self._file, program)
        self._last = self._by_sizes[key] = self._by_sizes.pop(key)  # used last
        return self._last

    def _session(self, file: OnnxFile, program: MixedProgram) -> MixedSession:
        """The regions opened; the whole file in ONNX Runtime if it does not take one of them by itself.

        Raises:
            UnsupportedOp: it does not take the file either, or is not installed.
        """
        try:
            return MixedSession(program, self._options, self._sessions)
        except UnsupportedOp as error:
            if runtime_version() is None or not program.integers:
                raise
            return MixedSession(float_file(file, None, str(error)), self._options)

    def _key(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Any, ...]:
        if () in self._by_sizes:  # one cut serves every size
            return ()
        key = tuple(sorted(shapes.items()))
        samples = [(name, shape[1:]) for name, shape in key]
        open_batch = all(port.shape and not isinstance(port.shape[0], int) for port in self._inputs)
        for sizes, session in self._by_sizes.items() if key not in self._by_sizes else ():
            alike = open_batch and [(name, shape[1:]) for name, shape in sizes] == samples
            if is_whole_float(session.program) or (alike and is_integer_throughout(session.program)):
                return sizes
        return key


def is_whole_float(program: MixedProgram) -> bool:
    """The file as it stands is run by ONNX Runtime, which takes any sizes that the file does."""
    bodies = [region.body for region in program.regions]
    return (
        len(bodies) == 1
        and isinstance(bodies[0], FloatBody)
        and bodies[0].content is not None
        and runtime_version() is not None
    )


def is_integer_throughout(program: MixedProgram) -> bool:
    """One region of integers and nothing else: samples do not meet, so a batch may be of any size."""
    return len(program.regions) == 1 and not program.floats and not program.constants


def program_of_file(path: Path) -> MixedProgram:
    """An ``.oaq`` or ``.tflite`` file.

    Raises:
        FormatError: it is missing, damaged, or called otherwise.
        UnsupportedOp: a part of it stays in float.
    """
    if path.suffix.lower() == ".oaq":
        return program_of_integers(read(path).program)
    if path.suffix.lower() != ".tflite":
        raise FormatError(f"{path}: a network is a file called .onnx, .tflite or .oaq")
    from oaq.mixed.tflite import mixed_tflite

    imported = import_model(path)
    return mixed_tflite(path) if imported.islands else program_of_integers(imported.program)


def _described(port: Port) -> NodeArg:
    return NodeArg(port.name, type_name(port.dtype), list(port.shape or ()))


def _is_settled(port: Port) -> bool:
    """All of its sizes but the first are numbers."""
    return port.shape is not None and all(isinstance(size, int) for size in port.shape[1:])


def _least(port: Port) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else 1 for size in port.shape or ())


def _array(port: Port, value: object) -> Values:
    refuse_mask(port.name, value)
    array = np.asarray(value) if isinstance(value, list | tuple | np.generic) else value
    if not isinstance(array, np.ndarray):
        raise ProgramError(f"input {port.name!r}: takes an array, got {type(value).__name__}")
    text = port.dtype == "string" and array.dtype.kind in "OUS"
    if port.dtype and not text and array.dtype != port.dtype:
        raise ProgramError(
            f"input {port.name!r}: takes {type_name(port.dtype)}, got {type_name(array.dtype.name)}; convert it with "
            f".astype(np.{port.dtype}) if its numbers mean the same"
        )
    sizes = port.shape
    fits = sizes is None or (
        len(sizes) == array.ndim
        and all(not isinstance(size, int) or size == extent for size, extent in zip(sizes, array.shape, strict=True))
    )
    if not fits:
        raise ProgramError(f"input {port.name!r}: has the shape {list(sizes or ())} in the file, got {array.shape}")
    return array
