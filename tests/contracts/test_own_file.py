"""``pytest tests/contracts --part FILE``: the parts of a user's own file, good and bad."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest
from calls import KINDS
from killing import run_tool
from parts import own_file

from echozoo.registry import METRICS

OF_ANOTHER_KIND = """
from echozoo.registry import METRICS

@METRICS.register_module()
class OwnMetric: ...
"""
FOLDER = Path(__file__).resolve().parent
PYTEST = Path(pytest.__file__).with_name("__main__.py")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Run the tests of this folder on a file of parts: exit status, and what was printed."""
    monkeypatch.chdir(tmp_path)
    plain = ("-q", "-p", "no:xdist", "-p", "no:cacheprovider")

    def run(file: Path, *options: str, faults: Iterable[str] = ()) -> tuple[int, str]:
        words = (FOLDER, "--part", file, *plain, *options)
        return run_tool(PYTEST, *words, FAULTY=" ".join(faults))

    return run


def test_a_part_of_every_kind_passes_and_what_is_not_tested_is_named(run: Callable) -> None:
    status, said = run(FOLDER / "own_parts.py", "-vv")
    assert status == 0, said
    assert "not tested here: OwnMetric (metric)" in said
    tested = set(re.findall(r"\[(\w+)-Own\w+(?:-\d)?[\]-].* PASSED", said))
    assert tested == set(KINDS)
    assert "SKIPPED" not in said


FAULTS = {
    "batch": "test_a_batch_of_two_is_two_of_one[temporal-OwnGate-0]",
    "sees": "test_encoders_are_what_they_say[encoder-OwnEncoder]",
    "device": "test_all_of_it_moves_to_another_device[encoder-OwnEncoder]",
    "grid": "test_necks_keep_the_grids_of_maps[neck-OwnNeck]",
    "structures": "test_prompt_heads_embed_what_they_ask_for[head-OwnScribbles]",
    "sparse": "test_decoders_decode_each_structure_alone[decoder-OwnDecoder]",
    "idle": "test_every_parameter_and_input_learns[decode_head-OwnHead]",
    "merge": "test_adapters_keep_names_and_merge[adapter-OwnGain]",
    "state": "test_memories_remember_masks_and_their_state_can_be_kept[memory-OwnMemory]",
    "labelled": "test_losses_count_what_is_labelled_alone[loss-OwnLoss]",
    "sign": "test_losses_of_label_maps_want_the_right_class[map_loss-OwnMapLoss]",
    "patients": "test_a_patient_is_in_one_subset[dataset-OwnClinic]",
    "values": "test_samples_are_clips_whose_labels_are_those_of_the_files[dataset-OwnClinic-1]",
}


def test_each_fault_is_seen_where_it_is(run: Callable) -> None:
    _, said = run(FOLDER / "own_parts.py", faults=FAULTS)
    failed = set(re.findall(r"^FAILED \S+::(\S+)", said, re.MULTILINE))
    assert set(FAULTS.values()) - failed == set()
    assert "OwnGate-1" in " ".join(failed), "the other variant is tested, too"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("metric.py", OF_ANOTHER_KIND, r"OwnMetric \(metric\): not tested here"),
        ("empty.py", "", "no registered part"),
        ("absent.py", None, "no such file"),
    ],
)
def test_what_is_not_tested_does_not_pass(tmp_path: Path, name, text, said) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    config = SimpleNamespace(getoption=lambda *_, **__: str(tmp_path / name))
    with pytest.raises(pytest.UsageError, match=f"{name}: {said}"):
        own_file(config)
    METRICS.module_dict.pop("OwnMetric", None)
