"""A diagnosis as SARIF 2.1.0, the format in which code hosts show what analysers report.

One rule for each register that decides; one result for each layer that can leave it; what stays in float and the notes
are notifications. Source: OASIS, Static Analysis Results Interchange Format Version 2.1.0 (2020).
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePath
from typing import Any, Final
from urllib.parse import quote

from oaq.doctor import Diagnosis, LayerDiagnosis, RegisterModel
from oaq.doctor.diagnosis import advice, sentence
from oaq.escape import escape_name, escape_text
from oaq.report.doctor import folded

VERSION: Final = "2.1.0"
SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FINGERPRINT: Final = "oaqLayerOnRegister/v1"

Document = dict[str, Any]


def sarif(diagnosis: Diagnosis, file: Path, version: str) -> Document:
    """The log of one run over one file.

    Args:
        diagnosis: of its layers.
        file: the model, as the caller named it: a relative path stays relative, as code hosts want it.
        version: of oaq.
    """
    uri = uri_of(file)
    deciding = [register for register in diagnosis.registers if register.name in diagnosis.deciding]
    results = [
        _result(diagnosis, layer, register, file) | {"ruleIndex": index}
        for index, register in enumerate(deciding)
        for layer in diagnosis.unsafe(register.name)
    ]
    driver = {"name": "oaq", "version": version, "rules": [_rule(register) for register in deciding]}
    remarks = [f"stays in float: {island}" for island in diagnosis.islands] + folded(diagnosis.notes)
    invocation = {
        "executionSuccessful": True,
        "exitCode": 0 if diagnosis.is_safe else 1,
        "toolExecutionNotifications": [{"level": "note", "message": _message(remark)} for remark in remarks],
    }
    run = {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"oaq-doctor/{uri}/"},  # runs over several files do not replace one another
        "invocations": [invocation],
        "artifacts": [{"location": {"uri": uri}}],
        "results": results,
        "properties": {"safe": diagnosis.is_safe, "layers": len(diagnosis.layers), "inputs": diagnosis.covered},
    }
    return {"$schema": SCHEMA, "version": VERSION, "runs": [run]}


def uri_of(file: PurePath) -> str:
    r"""A path as a URI reference: relative paths stay relative; characters that a URI does not hold are escaped.

    >>> from pathlib import PurePosixPath, PureWindowsPath
    >>> uri_of(PurePosixPath("my models/a#1.onnx")), uri_of(PureWindowsPath("models\\a.onnx"))
    ('my%20models/a%231.onnx', 'models/a.onnx')
    >>> uri_of(PurePosixPath("/models/a.onnx"))
    'file:///models/a.onnx'
    """
    return file.as_uri() if file.is_absolute() else quote(file.as_posix().encode("utf-8", "surrogateescape"))


def _rule(register: RegisterModel) -> Document:
    return {
        "id": _rule_id(register),
        "name": "AccumulatorOverflow",
        "shortDescription": _message(f"A sum can leave the registers of {register.name}"),
        "fullDescription": _message(
            f"For some input a sum of this layer can leave its register on {register.name} ({register.found_in}), and "
            "its outputs are wrong without a warning. Bounds are exact integers over every input, computed from the "
            "weights and the ranges in the file; nothing is run."
        ),
        "help": _message(f"Assumed of {register.name}: {register.assumption}."),
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["correctness", "quantization"]},
    }


def _rule_id(register: RegisterModel) -> str:
    return f"overflow/{register.name.replace(' ', '-')}"


def _result(diagnosis: Diagnosis, layer: LayerDiagnosis, register: RegisterModel, file: Path) -> Document:
    verdict, uri, rule = layer.verdicts[register.name], uri_of(file), _rule_id(register)
    hint = f"asked about {diagnosis.covered}" if diagnosis.condition else advice(layer, register.name, str(file))
    identity = "\0".join((uri, rule, layer.node)).encode("utf-8", "surrogatepass")
    physical = {"artifactLocation": {"uri": uri, "index": 0}, "region": {"startLine": 1}}  # hosts refuse one without
    logical = {
        "name": escape_name(layer.node),
        "fullyQualifiedName": escape_name(f"{diagnosis.program}/{layer.node}"),
        "kind": "layer",
    }
    return {
        "ruleId": rule,
        "level": "error",
        "message": _message(f"{sentence(layer, register.name)}. {hint[:1].upper()}{hint[1:]}"),
        "locations": [{"physicalLocation": physical, "logicalLocations": [logical]}],
        "partialFingerprints": {FINGERPRINT: hashlib.sha256(identity).hexdigest()},
        "properties": {
            "register": register.name,
            "operator": layer.kind,
            "terms": layer.terms,
            "outputs": layer.outputs,
            "unsafeOutputs": len(verdict.unsafe),
            "worstOutput": verdict.worst,
            "bitsNeeded": int(verdict.bits_needed.max()),
        },
    }


def _message(text: str) -> Document:
    """Plain text: of its own it holds neither placeholders, which braces make, nor links, which "](" makes."""
    plain = escape_text(text).replace("](", "] (")
    return {"text": plain.replace("{", "{{").replace("}", "}}")}
