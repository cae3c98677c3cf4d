"""MODEL on the command line."""

from __future__ import annotations

import sys

import pytest

from oaq.cli import models
from oaq.errors import FormatError

torch = pytest.importorskip("torch")

NET = """
import torch

def make():
    return torch.nn.Conv2d(3, 4, 3)

net = torch.nn.ReLU()
number = 3
"""


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "some_net.py"
    path.write_text(NET)
    yield path
    sys.modules.pop("some_net", None)


@pytest.mark.parametrize("name", ["make", "net"])
def test_a_file_gives_a_module_in_eval_mode(net, name):
    assert not models.load(f"{net}:{name}").training


def test_a_module_on_the_path_is_found(net, monkeypatch):
    monkeypatch.syspath_prepend(net.parent)
    assert isinstance(models.load("some_net:make"), torch.nn.Conv2d)


def test_an_exported_file_needs_no_code(tmp_path):
    program = torch.export.export(torch.nn.Conv2d(3, 4, 3).eval(), (torch.zeros(1, 3, 8, 8),))
    torch.export.save(program, tmp_path / "net.pt2")
    made = models.load(str(tmp_path / "net.pt2"))
    assert made(torch.zeros(1, 3, 8, 8)).shape == (1, 4, 6, 6)


def test_everything_else_is_one_clear_error(net, tmp_path):
    (tmp_path / "broken.py").write_text("def make(:\n")
    (tmp_path / "bad.pt2").write_bytes(b"nonsense")
    cases = {
        str(net): "does not name a model: write FILE.py:NAME",
        f"{net}:": "does not name a model",
        f"{net}:other": "does not define 'other'",
        f"{net}:number": "is a int, not a torch.nn.Module",
        f"{tmp_path}/none.py:make": "none.py: no such file",
        f"{tmp_path}/broken.py:make": "broken.py: line 1: ",
        "surely_no_such_module:make": "no such module",
        f"{tmp_path}/none.pt2": "none.pt2: no such file",
        f"{tmp_path}/bad.pt2": "is not a file written by torch.export.save",
    }
    for spec, words in cases.items():
        with pytest.raises(FormatError, match=words):
            models.load(spec)
