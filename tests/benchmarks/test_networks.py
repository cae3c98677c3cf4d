"""What --keep keeps belongs to the sources and the options it was made with."""

from __future__ import annotations

import argparse

from benchmarks import networks
from oaq.data.preprocess import Preprocess

OPTIONS = dict.fromkeys(("calibrate", "limit", "budget", "size", "resize", "mean", "std", "interpolation"))


def test_other_options_are_another_folder() -> None:
    made = {networks.digest(argparse.Namespace(**{**OPTIONS, "limit": limit})) for limit in (16, 64)}
    assert len(made) == 2
    assert networks.digest(argparse.Namespace(**{**OPTIONS, "limit": 16})) in made


def test_another_source_is_another_folder(tmp_path, monkeypatch) -> None:
    source = tmp_path / "src" / "oaq" / "one.py"
    source.parent.mkdir(parents=True)
    monkeypatch.setattr(networks, "__file__", str(tmp_path / "benchmarks" / "networks.py"))
    made = set()
    for content in ("a = 1\n", "a = 2\n"):
        source.write_text(content)
        made.add(networks.digest(argparse.Namespace(**OPTIONS)))
    assert len(made) == 2


def test_a_network_of_another_size_sees_the_same_part_of_a_photo() -> None:
    own = Preprocess((224, 224), 256)
    flags = argparse.Namespace(size=None, resize=None)
    assert networks.of_size(own, flags) == own
    assert networks.of_size(own, argparse.Namespace(size=(640, 640), resize=None)) == Preprocess((640, 640), 731)
    assert networks.of_size(own, argparse.Namespace(size=(320, 640), resize=700)) == Preprocess((320, 640), 700)
    whole = Preprocess((224, 224))
    assert networks.of_size(whole, argparse.Namespace(size=(64, 64), resize=None)) == Preprocess((64, 64))
