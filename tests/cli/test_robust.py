"""``oaq robust``: sets, exit codes, certificates, pages."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from oaq.cli import main
from oaq.program.files import save
from oaq.reference.run import run
from oaq.robust import Options, largest_radius, load_certificate
from tests.robust.networks import centre, perceptron

PROGRAM = perceptron(2)
LAWS = tuple(perceptron(6, (3, 4, 2), law) for law in ("fixed_point", "float32_half_even"))
"""One network under two laws of rounding."""
OTHER = perceptron(7, (3, 4, 2))


@pytest.fixture
def net(tmp_path: Path) -> Path:
    save(PROGRAM, tmp_path / "net.oaq")
    folder = tmp_path / "digits"
    folder.mkdir()
    for seed in range(3):
        np.save(
            folder / f"digit{seed}.npy", PROGRAM.tensors["x"].affine.scale * centre(PROGRAM, seed).astype(np.float32)
        )
    return tmp_path / "net.oaq"


def test_a_proved_set_is_exit_code_0_and_its_certificate_can_be_checked(oaq, net: Path, tmp_path: Path) -> None:
    code, out, err = oaq(
        "robust", net, "--input", tmp_path / "digits", "--radius", 0, "--out", tmp_path / "certificates"
    )
    assert (code, err) == (0, "")
    assert "3 sets: 3 robust, 0 refuted, 0 undecided" in out
    proofs = sorted((tmp_path / "certificates").iterdir())
    assert [path.name for path in proofs] == [f"digit{seed}-0.robust.oaq" for seed in range(3)]
    code, out, err = oaq("robust", net, "--check", *proofs)
    assert (code, err) == (0, "")
    assert out.count("holds: proved") == 3


def test_certificates_of_two_inputs_never_take_one_name(oaq, net: Path, tmp_path: Path) -> None:
    again = tmp_path / "digits" / "more" / "digit1.npy"
    again.parent.mkdir()
    again.write_bytes((tmp_path / "digits" / "digit1.npy").read_bytes())
    flags = ("--input", tmp_path / "digits", "--radius", 0)
    code, _, err = oaq("robust", net, *flags, "--out", tmp_path / "out")
    assert code == 2
    assert "would have one name" in err
    assert not (tmp_path / "out").exists()
    assert oaq("robust", net, *flags)[0] == 0


def test_a_counterexample_is_exit_code_1(oaq, net: Path, tmp_path: Path) -> None:
    lines, page = tmp_path / "answers.jsonl", tmp_path / "page.html"
    arguments = ("--radius", 200, "--lines", lines, "--html", page, "--out", tmp_path / "out")
    code, out, _ = oaq("robust", net, "--input", tmp_path / "digits", *arguments)
    assert code == 1
    assert "an input of the set is called" in out
    answers = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [answer["input"] for answer in answers] == ["digit0.npy", "digit1.npy", "digit2.npy"]
    assert "refuted" in {answer["state"] for answer in answers}
    assert "<td>refuted</td>" in page.read_text()
    refutation = next(path for path in sorted((tmp_path / "out").iterdir()) if b"refuted" in path.read_bytes())
    code, out, _ = oaq("robust", net, "--check", refutation)
    assert code == 1
    assert "holds: refuted" in out


def test_a_limit_is_exit_code_3(oaq, tmp_path: Path) -> None:
    hard = perceptron(0, (24, 24, 16, 10))
    save(hard, tmp_path / "hard.oaq")
    np.save(tmp_path / "x.npy", 0.01 * centre(hard, 1).astype(np.float32))
    code, out, _ = oaq(
        "robust", tmp_path / "hard.oaq", "--input", tmp_path / "x.npy", "--radius", 1, "--seconds", 0.01, "--json"
    )
    assert code == 3
    answer = json.loads(out)["sets"][0]
    assert answer["state"] == "undecided"
    assert answer["open"][0]["bound"] >= 0


def test_what_a_solver_prints_is_not_in_the_document(tmp_path: Path, capfd, monkeypatch) -> None:
    optimize = pytest.importorskip("scipy.optimize", reason="NOT RUN: no SciPy, no solver")
    calls = []

    def loud(*arguments: object, **options: object) -> object:
        os.write(1, b"HighsMipSolverData::transformNewIntegerFeasibleSolution tmpSolver.run();\n")
        calls.append((arguments, options))
        return type("Answer", (), {"x": None, "status": 1})

    monkeypatch.setattr(optimize, "milp", loud)
    hard = perceptron(0, (24, 24, 16, 10))
    save(hard, tmp_path / "hard.oaq")
    np.save(tmp_path / "x.npy", 0.01 * centre(hard, 1).astype(np.float32))
    flags = ("--radius", "1", "--seconds", "0.5", "--solver", "highs", "--json")
    code = main(["robust", str(tmp_path / "hard.oaq"), "--input", str(tmp_path / "x.npy"), *flags])
    printed = capfd.readouterr()
    assert calls
    assert json.loads(printed.out)["sets"][0]["state"] == "undecided"
    assert code == 3
    assert "HighsMipSolverData" in printed.err


def test_other_sets_and_the_largest_radius(oaq, net: Path, tmp_path: Path) -> None:
    x = tmp_path / "digits" / "digit2.npy"
    assert oaq("robust", net, "--input", x, "--brightness", 3)[0] in (0, 1)
    assert oaq("robust", net, "--input", x, "--contrast", "90,110", "--on", "sums")[0] in (0, 1)
    code, out, _ = oaq("robust", net, "--input", x, "--largest", "--json")
    answer = json.loads(out)["sets"][0]
    assert answer["largest_proved"] == largest_radius(PROGRAM, centre(PROGRAM, 2), options=Options()).proved
    assert code == (1 if answer["state"] == "refuted" else 3)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "nothing to ask about"),
        (("--input", "digits"), "one set at a time"),
        (("--input", "digits", "--brightness", 1, "--largest"), "one set at a time"),
        (("--input", "digits", "--patch", "0:1,0:1"), "not a rectangle"),
        (("--input", "digits", "--radius", "-1"), "a distance is at least 0"),
        (("--input", "digits", "--radius", 1, "--seconds", 0), "more than 0 seconds"),
        (("--check", "net.oaq"), "not a certificate of robustness"),
        (("--input", "nowhere", "--radius", 1), "no such file"),
        (("--input", "no\0where", "--radius", 1), "no such file"),
        (("--input", "digits", "--brightness", "-1"), "a distance is at least 0"),
        (("--input", "digits", "--radius", 1, "--out", "a\0b"), "cannot be a folder"),
        (("--input", "digits", "--radius", 1, "--out", "net.oaq"), "cannot be a folder"),
        (("--input", "digits", "--radius", 0, "--lines", "a\0b"), "cannot be written"),
        (("--input", "digits", "--radius", 0, "--html", "nowhere/page.html"), "cannot be written"),
        (("--check", "a\0b"), "cannot be read"),
        (("--check", "nowhere"), "cannot be read"),
    ],
)
def test_bad_input_is_exit_code_2(oaq, net: Path, arguments, sentence: str, monkeypatch) -> None:
    monkeypatch.chdir(net.parent)
    code, _, err = oaq("robust", net, *arguments)
    assert code == 2
    assert sentence in err


@pytest.mark.parametrize("flags", [("--radius", 10**30), ("--brightness", 10**30), ("--contrast", f"{10**30}")])
def test_a_distance_past_8_bits_is_that_of_all_integers(oaq, net: Path, tmp_path: Path, flags) -> None:
    x = tmp_path / "digits" / "digit0.npy"
    code, out, err = oaq("robust", net, "--input", x, *flags, "--out", tmp_path / "proofs", "--json")
    assert err == ""
    assert json.loads(out)["sets"][0]["state"] == ("refuted" if code else "robust")
    assert (
        f"holds: {'refuted' if code else 'proved'}"
        in oaq("robust", net, "--check", *(tmp_path / "proofs").iterdir())[1]
    )


def test_a_changed_certificate_is_exit_code_1(oaq, net: Path, tmp_path: Path) -> None:
    oaq("robust", net, "--input", tmp_path / "digits" / "digit2.npy", "--radius", 1, "--out", tmp_path)
    path = tmp_path / "digit2-0.robust.oaq"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    code, out, _ = oaq("robust", net, "--check", path)
    assert code == 1
    assert "does NOT hold" in out


def test_a_report_shows_certificates_that_hold_and_refuses_others(oaq, net: Path, tmp_path: Path) -> None:
    for radius in (0, 200):
        folder = tmp_path / f"radius{radius}"
        oaq("robust", net, "--input", tmp_path / "digits", "--radius", radius, "--out", folder)
    proofs = [*sorted((tmp_path / "radius0").iterdir()), *sorted((tmp_path / "radius200").iterdir())]
    _, out, err = oaq("report", net, "--out", tmp_path / "page.html", "--robust", *proofs)
    assert err == ""
    page = (tmp_path / "page.html").read_text()
    assert page.count("<td>robust</td>") >= 3
    assert "<td>refuted</td>" in page
    assert "ball: norm inf, radius 200" in page
    assert "Certificates of robustness, checked" in out
    save(perceptron(3), tmp_path / "other.oaq")
    code, _, err = oaq("report", tmp_path / "other.oaq", "--robust", proofs[0])
    assert code == 2
    assert "is for another program" in err
    assert "make another with" in err


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A network under two laws of rounding, and a folder of its inputs."""
    save(LAWS[0], tmp_path / "first.oaq")
    save(LAWS[1], tmp_path / "second.oaq")
    folder = tmp_path / "inputs"
    folder.mkdir()
    for seed in range(2):
        np.save(folder / f"x{seed}.npy", np.float32(0.01) * centre(LAWS[0], seed).astype(np.float32))
    return tmp_path / "first.oaq", tmp_path / "second.oaq", folder


def test_equal_outputs_on_a_box_are_exit_code_0_and_the_certificate_can_be_checked(oaq, pair, tmp_path: Path) -> None:
    first, second, inputs = pair
    flags = ("--input", inputs, "--radius", 1, "--steps", 3, "--out", tmp_path / "out", "--html", tmp_path / "p.html")
    code, out, err = oaq("robust", first, "--equivalent", second, *flags)
    assert (code, err) == (0, "")
    assert "2 sets: 2 equivalent, 0 refuted, 0 undecided" in out
    assert "outputs differ by at most 3" in out
    assert (tmp_path / "p.html").read_text().count("<td>equivalent</td>") == 2
    proofs = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in proofs] == [f"x{seed}-0.equivalent.oaq" for seed in range(2)]
    code, out, err = oaq("robust", first, "--equivalent", second, "--check", *proofs)
    assert (code, err) == (0, "")
    assert out.count("holds: proved") == 2
    code, out, _ = oaq("robust", second, "--equivalent", first, "--check", *proofs, "--json")
    assert code == 1
    assert [proof["holds"] for proof in json.loads(out)["certificates"]] == [False, False]


def test_a_certificate_of_equivalence_needs_the_second_program(oaq, pair, tmp_path: Path) -> None:
    first, second, inputs = pair
    oaq("robust", first, "--equivalent", second, "--input", inputs, "--radius", 0, "--steps", 3, "--out", tmp_path)
    code, _, err = oaq("robust", first, "--check", tmp_path / "x0-0.equivalent.oaq")
    assert code == 2
    assert "about two programs" in err
    code, _, err = oaq("report", first, "--robust", tmp_path / "x0-0.equivalent.oaq")
    assert code == 2
    assert "about two programs" in err


def test_certificates_of_both_kinds_are_checked_together(oaq, pair, tmp_path: Path) -> None:
    first, second, inputs = pair
    flags = ("--input", inputs / "x0.npy", "--radius", 0, "--out", tmp_path)
    oaq("robust", first, *flags)
    oaq("robust", first, "--equivalent", second, *flags, "--steps", 3)
    proofs = (tmp_path / "x0-0.robust.oaq", tmp_path / "x0-0.equivalent.oaq")
    code, out, _ = oaq("robust", first, "--equivalent", second, "--check", *proofs)
    assert code == 0
    assert out.count("holds: proved") == 2


def test_outputs_that_differ_are_exit_code_1_and_the_input_is_in_the_certificate(oaq, pair, tmp_path: Path) -> None:
    first, _, inputs = pair
    save(OTHER, tmp_path / "other.oaq")
    pair_flags = ("robust", first, "--equivalent", tmp_path / "other.oaq")
    lines = tmp_path / "answers.jsonl"
    flags = ("--input", inputs / "x0.npy", "--radius", 2, "--out", tmp_path / "out", "--lines", lines, "--json")
    code, out, _ = oaq(*pair_flags, *flags)
    document = json.loads(out)
    answer = document["sets"][0]
    assert (code, answer["state"], answer["steps"]) == (1, "refuted", 0)
    assert document["equivalent"] == str(tmp_path / "other.oaq")
    assert json.loads(lines.read_text()) == answer
    certificate = load_certificate(tmp_path / "out" / "x0-0.equivalent.oaq")
    witness = certificate.arrays["witness"][None]
    first_output, other_output = (run(program, witness).outputs[0].astype(int) for program in (LAWS[0], OTHER))
    assert np.abs(first_output - other_output).max() == answer["difference"] > 0
    code, out, _ = oaq(*pair_flags, "--check", tmp_path / "out" / "x0-0.equivalent.oaq")
    assert code == 1
    assert "holds: refuted" in out
    code, out, _ = oaq(*pair_flags, *flags[:4])
    assert code == 1
    assert f"outputs differ by {answer['difference']}, more than 0" in out


def test_equivalence_that_is_open_at_the_limit_is_exit_code_3(oaq, tmp_path: Path) -> None:
    hard = [perceptron(0, (24, 24, 16, 10), law) for law in ("fixed_point", "float32_half_even")]
    for name, program in zip(("a", "b"), hard, strict=True):
        save(program, tmp_path / f"{name}.oaq")
    np.save(tmp_path / "x.npy", np.float32(0.01) * centre(hard[0], 1).astype(np.float32))
    flags = ("--input", tmp_path / "x.npy", "--radius", 16, "--steps", 60, "--seconds", 0.01)
    code, out, _ = oaq("robust", tmp_path / "a.oaq", "--equivalent", tmp_path / "b.oaq", *flags)
    assert code == 3
    assert "open at outputs 0, 1, 2, 3, 4, 5 and 4 more" in out
    assert "0 equivalent, 0 refuted, 1 undecided" in out


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--radius", 1, "--largest"), "leave --largest out"),
        (("--radius", 1, "--on", "sums"), "leave --on sums out"),
        (("--radius", 1, "--solver", "highs"), "leave --solver out"),
        (("--brightness", 3), "leave --brightness out"),
        (("--contrast", "90"), "leave --contrast out"),
        (("--radius", 1, "--steps", "-1"), "differ by 0 to 255"),
        (("--radius", 1, "--steps", 256), "differ by 0 to 255"),
        ((), "one set at a time"),
    ],
)
def test_what_means_nothing_for_two_programs_is_exit_code_2(oaq, pair, flags, sentence: str) -> None:
    first, second, inputs = pair
    code, _, err = oaq("robust", first, "--equivalent", second, "--input", inputs, *flags)
    assert code == 2
    assert sentence in err


def test_second_programs_that_cannot_be_compared_are_exit_code_2(oaq, pair, tmp_path: Path) -> None:
    first, _, inputs = pair
    save(perceptron(1, (3, 4, 5)), tmp_path / "wider.oaq")
    save(perceptron(1, (4, 4, 2)), tmp_path / "input.oaq")
    sentences = {"wider.oaq": "2 outputs", "input.oaq": "is not the input", "nowhere.oaq": "cannot be read"}
    for name, sentence in {**sentences, "no\0where.oaq": "cannot be read"}.items():
        code, _, err = oaq("robust", first, "--equivalent", tmp_path / name, "--input", inputs, "--radius", 1)
        assert (code, sentence in err) == (2, True), err
    code, _, err = oaq("robust", first, "--input", inputs, "--radius", 1, "--steps", 2)
    assert code == 2
    assert "--equivalent FILE2" in err
