"""What a GPU is for: the systems at full size on the stills, from scratch.

Command: tools/run_table.py configs/tables/full_size.py --data-root PATH
With the speed: tools/full_size.sh PATH OUT
"""

title = "Full size, from scratch, on CAMUS's stills"
source = "none: no published table has these rows"
protocol = (
    "CAMUS, single images, end diastole and end systole, split by the files beside the data; from "
    "random weights, as SAM's and ImageNet's are not at hand everywhere; prompts, where a row "
    "takes some, from the reference masks."
)
dataset = dict(split="files", frames="ed_es")

measured = (
    "dice", "hd_mm", "hd95_mm", "assd_mm", "empty", "dice_lv", "dice_myo", "dice_la",
)  # fmt: skip
compared = ("dice_with_empty_as_0", "hd95_mm")
baseline = "U-Net"

rows = [
    dict(name="U-Net", config="unet.py"),
    dict(name="CE-Net", config="ce_net.py", options={"model.pretrained": None}),
    dict(name="nnU-Net's architecture", config="nnunet.py"),
    dict(name="SAMUS, a click a structure", config="samus.py", options={"model.pretrained": None}),
    dict(
        name="SAMUS + TRA, a click a structure",
        config="samus_tra.py",
        options={"model.pretrained": None},
    ),
]
