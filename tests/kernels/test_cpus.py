"""How many CPUs a process may use: affinity, quotas of control groups in both versions, and a caller's own number."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from oaq.errors import ProgramError
from oaq.kernels.cpus import AllowedCpus, allowed_cpus, default_threads, thread_count


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


class Groups:
    """A process in ``/proc``, and the control groups it is in, all below one folder."""

    def __init__(self, folder: Path) -> None:
        self.process, self.mounted = folder / "proc", folder / "groups"
        self._groups, self._mounts = "", ""

    def second(self, group: str, limits: dict[str, str], root: str = "/") -> Groups:
        """Version 2: ``cpu.max`` of some folders below the mount."""
        self._groups += f"0::{group}\n"
        self._mount("cgroup2 cgroup2 rw,nsdelegate", root)
        for folder, text in limits.items():
            write(self.mounted / folder / "cpu.max", f"{text}\n")
        return self

    def first(self, group: str, limits: dict[str, tuple[int, int]], root: str = "/") -> Groups:
        """Version 1: quota and period of some folders below the mount."""
        self._groups += f"4:memory:{group}/elsewhere\n3:cpu,cpuacct:{group}\n"
        self._mount("cgroup cgroup rw,cpu,cpuacct", root)
        for folder, (quota, period) in limits.items():
            write(self.mounted / folder / "cpu.cfs_quota_us", f"{quota}\n")
            write(self.mounted / folder / "cpu.cfs_period_us", f"{period}\n")
        return self

    def quota(self) -> float | None:
        write(self.process / "cgroup", self._groups)
        write(self.process / "mountinfo", "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n" + self._mounts)
        return allowed_cpus(self.process).quota

    def _mount(self, system: str, root: str) -> None:
        place = str(self.mounted).replace(" ", r"\040")
        self._mounts += f"30 22 0:26 {root} {place} rw,nosuid shared:9 - {system}\n"


@pytest.fixture
def groups(tmp_path: Path) -> Groups:
    return Groups(tmp_path / "a folder")


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert allowed_cpus(tmp_path).quota is None


def test_the_least_quota_of_a_group_and_its_ancestors_counts(groups: Groups) -> None:
    limits = {"": "max 100000", "a": "250000 100000", "a/b": "max 100000", "other": "10000 100000"}
    assert groups.second("/a/b", limits).quota() == 2.5


def test_a_container_sees_its_own_group_as_the_root(groups: Groups) -> None:
    assert groups.second("/", {"": "150000 100000"}).quota() == 1.5


def test_a_group_mounted_below_its_path_is_read_at_the_mount(groups: Groups) -> None:
    """Docker with version 1: the path is the host's, and what is mounted is the container's group."""
    assert groups.first("/docker/abc", {"": (50_000, 100_000)}, root="/docker/abc").quota() == 0.5


def test_a_path_outside_what_is_mounted_is_read_at_the_mount(groups: Groups) -> None:
    assert groups.second("/../../elsewhere", {"": "300000 100000"}).quota() == 3.0


def test_version_1_has_no_limit_where_the_quota_is_minus_one(groups: Groups) -> None:
    assert groups.first("/a", {"": (-1, 100_000), "a": (-1, 100_000)}).quota() is None


def test_both_versions_may_be_mounted_and_the_other_controllers_do_not_count(groups: Groups) -> None:
    groups.first("/a", {"a": (400_000, 100_000), "a/elsewhere": (10_000, 100_000)})
    assert groups.second("/a", {"a": "max 100000"}).quota() == 4.0


@pytest.mark.parametrize("text", ["", "max", "100000", "0 100000", "100000 0", "-5 100000", "many few", "1 2 3"])
def test_what_is_no_limit_is_none(groups: Groups, text: str) -> None:
    assert groups.second("/", {"": text}).quota() is None


@pytest.mark.parametrize("digits", [20, 400, 5000])
def test_numbers_of_more_than_64_bits_are_no_limit(groups: Groups, digits: int) -> None:
    long = "9" * digits
    for text in (f"{long} 1", f"1 {long}", f"{long} {long}"):
        assert groups.second("/", {"": text}).quota() is None
    assert groups.second("/", {"": "150000 100000"}).quota() == 1.5


def test_a_group_whose_name_no_file_can_have_sets_no_limit(groups: Groups) -> None:
    assert groups.second("/a\0b", {"": "max 100000"}).quota() is None


@pytest.mark.parametrize(
    ("affinity", "quota", "threads"),
    [(1, None, 1), (8, None, 8), (8, 2.5, 2), (2, 16.0, 2), (4, 0.3, 1), (4, 1.99, 1), (1000, None, 256)],
)
def test_threads_find_a_cpu_each_and_a_quota_is_rounded_down(affinity: int, quota: float | None, threads: int) -> None:
    assert AllowedCpus(affinity, quota).threads == threads


def test_words_name_both_limits() -> None:
    assert AllowedCpus(4, 1.5).words == "4 CPUs by affinity, a quota of 1.5"
    assert AllowedCpus(1).words == "1 CPU by affinity, no quota"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="CPUs cannot be chosen here")
def test_a_process_held_to_one_cpu_runs_one_thread() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert allowed_cpus().affinity == default_threads() == thread_count(None) == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize("threads", [1, 256, np.int64(3)])
def test_a_callers_number_is_kept(threads: int) -> None:
    assert thread_count(threads) == threads
    assert type(thread_count(threads)) is int


@pytest.mark.parametrize("threads", [0, -1, 257, 1.5, True, "2"])
def test_other_numbers_are_refused(threads: object) -> None:
    with pytest.raises(ProgramError, match="threads is 1 to 256, not"):
        thread_count(threads)
