"""Section 3.3 of autosamus.txt: models that prompt themselves beside those that are clicked on.

Command: tools/run_table.py configs/tables/autosamus_apg.py --scale tiny --data-root PATH
"""

title = "Automatic prompts (AutoSAMUS) beside manual ones"
source = "autosamus.txt, section 3.3"
protocol = (
    "The section describes AutoSAMUS: the prompt generator replaces the prompt encoder of a "
    "trained SAMUS and trains alone. The document publishes no number of it."
)
# One split for all, so that no test patient was in the training of what a row starts from.
dataset = dict(split="ratio")

measured = (
    "dice", "iou", "hd_mm", "hd95_mm", "hd_px", "tci", "area_change", "bad_sequences", "empty",
    "dice_lv", "dice_myo", "dice_la",
)  # fmt: skip
compared = ("dice_with_empty_as_0", "hd95_mm", "tci")

rows = [
    dict(name="SAMUS, one click", config="samus.py"),
    dict(
        name="AutoSAMUS",
        config="autosamus.py",
        starts_from="SAMUS, one click",
        baseline="SAMUS, one click",
    ),
    dict(name="SAMUS + MSFF, one click", config="samus_msff.py"),
    dict(
        name="AutoSAMUS + MSFF",
        config="autosamus_msff.py",
        starts_from="SAMUS + MSFF, one click",
        baseline="SAMUS + MSFF, one click",
    ),
    dict(name="SAMUS + TRA, one click", config="samus_tra.py"),
    dict(
        name="AutoSAMUS + TRA",
        config="autosamus_tra.py",
        starts_from="SAMUS + TRA, one click",
        baseline="SAMUS + TRA, one click",
    ),
]

notes = (
    "The clicked rows are told where each structure is, by a pixel of the reference; the AutoSAMUS "
    "rows are told nothing.",
)
