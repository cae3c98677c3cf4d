"""Cost tables as files: which one is used, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from oaq.errors import FormatError
from oaq.kernels import cost_files
from oaq.kernels.cost_files import (
    calibrated_file,
    costs_from,
    file_to_write,
    load_costs,
    save_costs,
    shipped_costs,
    to_json,
)
from oaq.kernels.cpu import USUAL_CACHE, cpu_name, second_cache
from oaq.kernels.plan import Plan, plan
from tests.kernels.tables import TABLE
from tests.kernels.test_plan import network


@pytest.fixture(autouse=True)
def nobody_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OAQ_COSTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def document(**changes: Any) -> dict[str, Any]:
    return to_json(shipped_costs()) | changes


def slow_16_bits() -> dict[str, Any]:
    """Costs of a CPU on which 16-bit sums do not pay."""
    made = document(cpu="another")
    made["seconds"]["gemm_u8s8_avx2_acc16"]["steps"] = 1.0
    return made


def written(tmp_path: Path, content: dict[str, Any]) -> Path:
    path = tmp_path / "costs.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def rows_of(found: Plan) -> list[str]:
    return [one.row.name for one in found.nodes]


def test_without_a_word_the_shipped_costs_are_used_even_where_the_cpu_was_calibrated() -> None:
    path = calibrated_file()
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(slow_16_bits()), encoding="utf-8")
    assert costs_from() is shipped_costs()
    assert rows_of(plan(network(1), "avx2", table=TABLE))[0] == "gemm_u8s8_avx2_acc16"
    assert rows_of(plan(network(1), "avx2", table=TABLE, costs="calibrated"))[0] != "gemm_u8s8_avx2_acc16"


def test_the_environment_asks_unless_the_caller_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = written(tmp_path, slow_16_bits())
    monkeypatch.setenv("OAQ_COSTS", str(path))
    assert costs_from().cpu == "another"
    found = plan(network(1), "avx2", table=TABLE)
    assert found.costs is not None
    assert found.costs.cpu == "another"
    assert costs_from("shipped") is shipped_costs()
    monkeypatch.setenv("OAQ_COSTS", "calibrated")
    with pytest.raises(FormatError, match=r"was never calibrated. Run: oaq calibrate"):
        costs_from()


def test_the_shipped_costs_choose_as_they_do_whatever_the_environment_asks_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    by_name = plan(network(1), "avx2", table=TABLE, costs="shipped")
    assert by_name.costs is shipped_costs()
    assert rows_of(by_name)[0] == "gemm_u8s8_avx2_acc16"
    monkeypatch.setenv("OAQ_COSTS", str(written(tmp_path, slow_16_bits())))
    assert plan(network(1), "avx2", table=TABLE, costs="shipped").to_json() == by_name.to_json()
    assert rows_of(plan(network(1), "avx2", table=TABLE))[0] != "gemm_u8s8_avx2_acc16"


def test_costs_go_into_a_file_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "costs.json"
    save_costs(shipped_costs(), path)
    assert load_costs(path) == shipped_costs()
    assert [one.name for one in path.parent.iterdir()] == ["costs.json"]


def test_a_plan_is_the_same_twice() -> None:
    one, other = (plan(network(40), "avx2", table=TABLE) for _ in range(2))
    assert one.to_json() == other.to_json()


def test_this_cpus_file_is_named_after_it_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cost_files, "cpu_name", lambda: "Example CPU @ 2.4 GHz (family 6)")
    assert calibrated_file() == tmp_path / "cache" / "oaq" / "costs-example-cpu-2-4-ghz-family-6.json"
    assert file_to_write() == calibrated_file()
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert calibrated_file().parent == Path.home() / ".cache" / "oaq"
    monkeypatch.setenv("OAQ_COSTS", "mine.json")
    assert file_to_write() == Path("mine.json")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "'format' is missing or no str"),
        (b'{"format": "oaq costs 9"}', "its format is 'oaq costs 9', this oaq reads 'oaq costs 1'"),
        (b" " * ((1 << 20) + 1), "is larger than any cost table"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "costs.json"
    path.write_bytes(content)
    with pytest.raises(FormatError) as refused:
        load_costs(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert words in str(refused.value)
    assert "oaq calibrate" in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seconds": None}, "'seconds' is missing or no dict"),
        ({"seconds": {"gemm": 1.0}}, "'gemm' is missing or no dict"),
        ({"seconds": {"gemm": {"steps": -1e-9}}}, "gemm, 'steps' is -1e-09, not a number >= 0"),
        ({"seconds": {"gemm": {"steps": True}}}, "gemm, 'steps' is True"),
        ({"seconds": {"gemm": {"steps": float("inf")}}}, "gemm, 'steps' is inf"),
        ({"seconds": {"gemm": {"steps": float("nan")}}}, "gemm, 'steps' is nan"),
        ({"seconds": {"gemm": {"luck": 1.0}}}, "gemm costs luck, which oaq does not count"),
        ({"cache_bytes": 0}, "'cache_bytes' is 0"),
        ({"cache_bytes": True}, "'cache_bytes' is missing or no int"),
        ({"cpu": 7}, "'cpu' is missing or no str"),
        ({"median_error": {"gemm": "small"}}, "median_error, 'gemm' is 'small'"),
    ],
)
def test_a_file_that_says_what_cannot_be_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(FormatError) as refused:
        load_costs(written(tmp_path, document(**changes)))
    assert words in str(refused.value)


def test_a_file_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"none.json: cannot be read: No such file or directory. Make it with"):
        costs_from(tmp_path / "none.json")


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FormatError, match=r"cannot be made: "):
        save_costs(shipped_costs(), tmp_path / "file" / "costs.json")


def test_the_second_cache_is_what_the_system_says(tmp_path: Path) -> None:
    for index, (level, size) in enumerate([("1", "32K"), ("2", "512K"), ("3", "32768K")]):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}" / "level").write_text(f"{level}\n")
        (tmp_path / f"index{index}" / "size").write_text(f"{size}\n")
    assert second_cache(tmp_path) == 512 << 10
    (tmp_path / "index1" / "size").write_text("2M\n")
    assert second_cache(tmp_path) == 2 << 20
    (tmp_path / "index1" / "size").write_text("some\n")
    assert second_cache(tmp_path) == second_cache(tmp_path / "none") == USUAL_CACHE
    assert cpu_name()
