"""Table 1 of autosamus.txt: SAMUS with and without multi-scale feature fusion.

Command: tools/run_table.py configs/tables/autosamus_1.py --scale tiny --data-root PATH
"""

title = "Ablation: multi-scale feature fusion (MSFF)"
source = "autosamus.txt, table 1"
protocol = (
    "CAMUS, single images; Dice + MSE, Adam at 5e-4, batch 1, 200 epochs, the checkpoint of least "
    "loss is tested. Not stated: split, structures, prompts, unit of HD."
)
dataset = dict(split="ratio")

measured = (
    "dice", "iou", "hd_mm", "hd95_mm", "hd_px", "empty", "dice_lv", "dice_myo", "dice_la",
)  # fmt: skip
published = dict(dice="Dice, %", hd="HD, unit not stated")
compared = ("dice_with_empty_as_0", "hd95_mm")
baseline = "SAMUS"

rows = [
    dict(
        name="SAMUS",
        config="samus_msff.py",
        options={"model.backbone.conv_plugins": []},
        published=dict(dice=91.13, hd=11.76),
    ),
    dict(name="SAMUS + MSFF", config="samus_msff.py", published=dict(dice=92.07, hd=3.47)),
]

notes = (
    "The published row without MSFF is no re-run: 91.13 / 11.76 is, digit for digit, what the "
    "SAMUS paper reports for the left ventricle of CAMUS with one model for all of its ultrasound "
    "data.",
    "Its HD of 11.76 is that paper's, in pixels by a Manhattan rule of its own; 3.47 in the row "
    "with MSFF is on another scale. The two published rows are no ablation of one another.",
    "The text speaks of a gain of about 0.95; 92.07 - 91.13 is 0.94.",
)
