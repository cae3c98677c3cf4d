"""The workflow that would publish: started by hand alone, with settings for every system."""

from __future__ import annotations

import tomllib
from typing import Any

import yaml

from tests.packaging.environments import ROOT

WORKFLOW: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "publish.yml").read_text())


def test_nothing_but_a_person_starts_it_and_publishing_is_asked_for() -> None:
    triggers = WORKFLOW[True]  # YAML reads "on" as true
    assert list(triggers) == ["workflow_dispatch"]
    assert triggers["workflow_dispatch"]["inputs"]["publish"]["default"] is False
    assert WORKFLOW["jobs"]["publish"]["if"] == "inputs.publish"
    assert WORKFLOW["permissions"] == {"contents": "read"}


def test_every_system_has_a_runner_and_wheels_are_asked_what_the_recipe_asks() -> None:
    runners = " ".join(WORKFLOW["jobs"]["native"]["strategy"]["matrix"]["runner"])
    assert all(
        word in runners for word in ("ubuntu-latest", "ubuntu-24.04-arm", "macos-14", "macos-15-intel", "windows")
    )
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
    assert settings["build"] == "cp311-* cp312-*" and settings["config-settings"] == {"wheel.py-api": "cp312"}
    assert "skip" not in settings, "musllinux is built too"
    path = settings["test-command"].removeprefix("python {project}/")
    assert (ROOT / path).is_file()
