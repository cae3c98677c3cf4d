"""``report.sarif``: what code hosts read, by the rules of the schema of SARIF 2.1.0."""

from __future__ import annotations

import json
from pathlib import Path, PureWindowsPath
from typing import Any

import onnx
import pytest

from oaq.capture.model_file import import_model
from oaq.cli import main
from oaq.doctor import Diagnosis, diagnose
from oaq.report.sarif import sarif, uri_of
from tests.cli.test_doctor import one_conv

LEVELS = {"none", "note", "warning", "error"}
RULES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "log": ({"$schema": str, "version": "version", "runs": ["run"]}, {"version", "runs"}),
    "run": (
        {
            "tool": "tool",
            "automationDetails": "details",
            "invocations": ["invocation"],
            "artifacts": ["artifact"],
            "results": ["result"],
            "properties": dict,
        },
        {"tool"},
    ),
    "tool": ({"driver": "driver"}, {"driver"}),
    "driver": ({"name": str, "version": str, "rules": ["rule"]}, {"name"}),
    "rule": (
        {
            "id": str,
            "name": str,
            "shortDescription": "text",
            "fullDescription": "text",
            "help": "text",
            "defaultConfiguration": "configuration",
            "properties": dict,
        },
        {"id"},
    ),
    "configuration": ({"level": "level"}, set()),
    "details": ({"id": str}, set()),
    "invocation": (
        {"executionSuccessful": bool, "exitCode": int, "toolExecutionNotifications": ["notification"]},
        {"executionSuccessful"},
    ),
    "notification": ({"level": "level", "message": "text"}, {"message"}),
    "artifact": ({"location": "file"}, set()),
    "file": ({"uri": "uri", "index": int}, set()),
    "result": (
        {
            "ruleId": str,
            "ruleIndex": int,
            "level": "level",
            "message": "text",
            "locations": ["location"],
            "partialFingerprints": dict,
            "properties": dict,
        },
        {"message"},
    ),
    "location": ({"physicalLocation": "physical", "logicalLocations": ["logical"]}, set()),
    "physical": ({"artifactLocation": "file", "region": "region"}, {"artifactLocation"}),
    "region": ({"startLine": int}, {"startLine"}),
    "logical": ({"name": str, "fullyQualifiedName": str, "kind": str}, set()),
    "text": ({"text": str}, {"text"}),
}
"""Of the objects that we write: the schema's types of their fields, and those it requires. It allows no others."""


def check(value: object, rule: Any, where: str = "log") -> None:
    if isinstance(rule, list):
        assert isinstance(value, list), where
        for index, entry in enumerate(value):
            check(entry, rule[0], f"{where}[{index}]")
    elif isinstance(rule, type):
        assert type(value) is rule, where
    elif rule == "version":
        assert value == "2.1.0", where
    elif rule == "level":
        assert value in LEVELS, where
    elif rule == "uri":
        assert isinstance(value, str) and not set(value) & set(' \\"<>^`{|}') and value.isascii(), where
    else:
        fields, required = RULES[rule]
        assert isinstance(value, dict) and required <= set(value) <= set(fields), where
        for name, entry in value.items():
            check(entry, fields[name], f"{where}.{name}")


def log_of(diagnosis: Diagnosis, file: str | Path = "models/net.onnx") -> dict[str, Any]:
    log = json.loads(json.dumps(sarif(diagnosis, Path(file), "0.1.0")))
    check(log, "log")
    run = log["runs"][0]
    ids = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(set(ids)) == len(ids)
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]
        assert result["locations"][0]["physicalLocation"]["artifactLocation"] == run["artifacts"][0]["location"] | {
            "index": 0
        }
        assert all(isinstance(value, str) for value in result["partialFingerprints"].values())
    prints = [tuple(result["partialFingerprints"].values()) for result in run["results"]]
    assert len(set(prints)) == len(prints)
    return run


def diagnosed(path: Path, weight: int, *registers: str, name: str = "conv") -> Diagnosis:
    file = one_conv(weight)
    for node in file.graph.node:
        node.name = name if node.op_type == "Conv" else node.name
    onnx.save(file, path)
    return diagnose(import_model(path).program, registers)


def test_a_layer_that_can_overflow_is_a_result_with_rule_file_and_node(tmp_path: Path) -> None:
    run = log_of(diagnosed(tmp_path / "net.onnx", 127, "avx2-acc32"))
    (result,) = run["results"]
    assert (result["ruleId"], result["level"]) == ("overflow/avx2-acc32", "error")
    assert "conv: 4 of 4 outputs are unsafe on avx2-acc32; output 0 needs 17 bits" in result["message"]["text"]
    assert "oaq repair models/net.onnx --registers avx2-acc32" in result["message"]["text"]
    (location,) = result["locations"]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == "models/net.onnx"
    assert location["logicalLocations"][0]["name"] == "conv"
    assert result["properties"]["bitsNeeded"] == 17
    assert run["invocations"][0]["exitCode"] == 1 and run["properties"]["safe"] is False


def test_only_registers_that_decide_have_rules_and_results(tmp_path: Path) -> None:
    diagnosis = diagnosed(tmp_path / "net.onnx", 127)
    run = log_of(diagnosis)
    rules = {rule["id"].removeprefix("overflow/") for rule in run["tool"]["driver"]["rules"]}
    assert rules == set(diagnosis.deciding)
    assert {result["properties"]["register"] for result in run["results"]} == {"avx2-acc32", "avx512bw"}


def test_a_safe_network_has_rules_but_no_result(tmp_path: Path) -> None:
    run = log_of(diagnosed(tmp_path / "net.onnx", 1, "avx2-acc32", "20 bits"))
    assert run["results"] == [] and run["invocations"][0]["exitCode"] == 0
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["overflow/avx2-acc32", "overflow/20-bit"]


def test_an_instruction_that_is_undefined_is_a_result(tmp_path: Path) -> None:
    (result,) = log_of(diagnosed(tmp_path / "net.onnx", 1, "wasm-relaxed-i7"))["results"]
    assert "operands reach 255" in result["message"]["text"]


def test_hostile_names_make_no_links_placeholders_or_control_characters(tmp_path: Path) -> None:
    diagnosis = diagnosed(tmp_path / "net.onnx", 127, "avx2-acc32", name="[safe](http://x) {0}\x1b[2J\n\u202e")
    (result,) = log_of(diagnosis, "a b\x1b#{1}.onnx")["results"]
    text = result["message"]["text"]
    assert text.isprintable() and "](" not in text
    assert text.replace("{{", "").replace("}}", "").count("{") == 0 and "{{0}}" in text
    assert result["locations"][0]["logicalLocations"][0]["name"].isprintable()


def test_paths_of_every_system_are_uris() -> None:
    assert uri_of(PureWindowsPath("C:\\models\\a b.onnx")) == "file:///C:/models/a%20b.onnx"
    assert uri_of(PureWindowsPath("models\\a.onnx")) == "models/a.onnx"
    assert uri_of(Path("ä.onnx")) == "%C3%A4.onnx"


@pytest.mark.parametrize("weight", [1, 127])
def test_doctor_writes_it_beside_its_words(capsys: pytest.CaptureFixture[str], tmp_path: Path, weight: int) -> None:
    onnx.save(one_conv(weight), path := tmp_path / "net.onnx")
    code = main(["doctor", str(path), "--registers", "avx2-acc32", "--sarif", str(tmp_path / "out.sarif")])
    out, err = capsys.readouterr()
    assert (code, err) == (int(weight == 127), "") and str(tmp_path / "out.sarif") in out
    log = json.loads((tmp_path / "out.sarif").read_text())
    check(log, "log")
    assert len(log["runs"][0]["results"]) == code


def test_what_stays_in_float_is_a_notification(tmp_path: Path) -> None:
    onnx.save(one_conv(1), path := tmp_path / "net.onnx")
    program = import_model(path).program
    run = log_of(diagnose(program, ["vnni"], islands=["2 float operators inside"], notes=["a: is float"]))
    remarks = [remark["message"]["text"] for remark in run["invocations"][0]["toolExecutionNotifications"]]
    assert remarks == ["stays in float: 2 float operators inside", "a: is float"]
