"""What scripts written for ONNX Runtime set before they open a session: taken, and followed where it means something.

The names are onnxruntime's own, so that ``import oaq as ort`` finds them.
"""

from __future__ import annotations

from enum import IntEnum

PROVIDER = "CPUExecutionProvider"


class GraphOptimizationLevel(IntEnum):
    """Taken and not followed: integers are computed as proved, float regions as ONNX Runtime does by default."""

    ORT_DISABLE_ALL = 0
    ORT_ENABLE_BASIC = 1
    ORT_ENABLE_EXTENDED = 2
    ORT_ENABLE_LAYOUT = 3
    ORT_ENABLE_ALL = 99


class ExecutionMode(IntEnum):
    """Taken and not followed: regions run in turn."""

    ORT_SEQUENTIAL = 0
    ORT_PARALLEL = 1


class SessionOptions:
    """Options of a session, as onnxruntime names them.

    Attributes:
        intra_op_num_threads: threads of each region; 0 is as many as the process may use CPUs.
    """

    def __init__(self) -> None:
        self.intra_op_num_threads = 0
        self.inter_op_num_threads = 0
        self.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_ALL
        self.execution_mode = ExecutionMode.ORT_SEQUENTIAL
        self.log_severity_level = 2
        self.log_verbosity_level = 0
        self.logid = ""
        self.enable_profiling = False
        self.profile_file_prefix = ""
        self.optimized_model_filepath = ""
        self.enable_mem_pattern = True
        self.enable_mem_reuse = True
        self.enable_cpu_mem_arena = True
        self.use_deterministic_compute = False
        self._entries: dict[str, str] = {}

    def add_session_config_entry(self, key: str, value: str) -> None:
        """Remember an entry; none is followed."""
        self._entries[key] = value

    def get_session_config_entry(self, key: str) -> str:
        """The entry of that key; "" if there is none."""
        return self._entries.get(key, "")


def get_available_providers() -> list[str]:
    """Where sessions run: on this CPU."""
    return [PROVIDER]


def get_device() -> str:
    """What sessions run on."""
    return "CPU"
