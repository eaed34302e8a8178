"""The systems that the documents name, on the same data with the same measures.

Command: tools/run_table.py configs/tables/related.py --scale tiny --data-root PATH --seeds 0 1 2
"""

title = "Systems that the documents compare themselves with"
source = "SAMUS paper (arXiv 2309.06824), its table of models trained on US30K, tested on CAMUS"
protocol = (
    "One model a system, fine-tuned on US30K, a collection of ultrasound images with CAMUS in it; "
    "Dice of each structure. Not stated here: split, prompts."
)
dataset = dict(split="ratio")

measured = (
    "dice", "iou", "hd_mm", "hd95_mm", "hd_px", "empty", "dice_lv", "dice_myo", "dice_la",
)  # fmt: skip
published = dict(lv="LV Dice, %", myo="MYO Dice, %", la="LA Dice, %")
compared = ("dice_with_empty_as_0", "hd95_mm")
baseline = "U-Net"

rows = [
    dict(name="U-Net", config="unet.py"),
    dict(name="SAM, decoder fine-tuned", config="sam_finetune.py"),
    dict(name="SAMUS", config="samus.py", published=dict(lv=91.13, myo=83.11, la=92.00)),
    dict(name="MedSAM", config="medsam.py", published=dict(lv=87.52, myo=76.07, la=88.06)),
    dict(name="SAMed", config="samed.py", published=dict(lv=87.67, myo=82.60, la=90.92)),
    dict(
        name="Medical SAM Adapter", config="msa.py", published=dict(lv=90.95, myo=82.47, la=91.80)
    ),
    dict(name="Medical SAM Adapter, 3-D", config="msa_3d.py"),
    dict(name="MA-SAM", config="ma_sam.py"),
    dict(name="SAM-Med2D", config="sam_med2d.py"),
    dict(name="nnU-Net, architecture only", config="nnunet.py"),
    dict(name="nnSAM", config="nnsam.py"),
    dict(name="MISSFormer", config="missformer.py"),
    dict(name="AutoSAM, dense prompt", config="autosam_dense.py"),
    dict(name="AutoSAM, class tokens", config="autosam_tokens.py"),
    dict(name="UV-SAM", config="uv_sam.py"),
    dict(name="AdapterShadow", config="adapter_shadow.py"),
    dict(name="Segment Any Cell", config="sac.py"),
    dict(name="Auto-prompting SAM", config="auto_prompt_sam.py"),
    dict(name="SurgicalSAM", config="surgical_sam.py"),
    dict(name="AdaptiveSAM", config="adaptive_sam.py"),
    dict(name="SP-SAM", config="sp_sam.py"),
]

notes = (
    "The published numbers are of another protocol than any measured one: one model for all of "
    "US30K, where here each model sees CAMUS alone. They are of the SAMUS paper, which fine-tuned "
    "its rivals; the systems' own papers have none on CAMUS.",
    "SAM, SAMUS, MedSAM, both Medical SAM Adapters and SAM-Med2D are given a click or a box a "
    "structure that comes from the reference, in tests too; the others are given nothing.",
    "Adapters of a frozen SAM have nothing to adapt at the tiny scale, where all of a small SAM "
    "trains from scratch: their rows show that they train and test, not what they are worth. "
    "SurgicalSAM's prototypes, AdaptiveSAM's and SP-SAM's texts are learnt from nothing there.",
    "Of the rows without published numbers none on CAMUS is known here.",
)
