"""Everything that looks at time, on films whose frames are all labelled.

Command: tools/run_table.py configs/tables/time.py --scale tiny --data-root PATH --seeds 0 1 2
"""

title = "Time: modules, losses, memories"
source = "no published table"
protocol = "Nothing of this is published together, nor on all frames of films."
dataset = dict(split="ratio")

measured = (
    "dice", "hd95_mm", "tci", "area_change", "ef_error", "roughness", "jitter", "empty",
)  # fmt: skip
compared = ("dice_with_empty_as_0", "tci", "area_change")
baseline = "SAMUS"

_tokens = {
    "model.backbone.temporal_position": "before_attention",
    "model.backbone.temporal_blocks": "all",
}
# Trained on clips from ED to ES with labels of both, tested on whole films.
_all_frames = {"test_dataloader.dataset.spread": False, "test_dataloader.dataset.labels": "all"}
_rows = [
    dict(name="U-Net", config="unet.py"),
    dict(name="SAMUS", config="samus.py"),
    dict(name="SAMUS + ST-Adapter", config="samus_st_adapter.py"),
    dict(name="SAMUS + Temp-Att", config="samus_temp_att.py"),
    dict(name="SAMUS + TRA", config="samus_tra.py"),
    dict(name="SAMUS + TRA on the ViT's tokens", config="samus_tra.py", options=_tokens),
    dict(name="SAMUS + TRA on the tokens + TemporalSmoothness", config="samus_tra_smooth.py"),
    dict(name="MemSAM", config="memsam.py"),
    dict(name="GDKVM, labels of both ends", config="gdkvm.py"),
    dict(name="XMem, first masks given", config="xmem.py"),
    dict(name="XMem++, masks of both ends given", config="xmem_pp.py"),
    dict(name="CLAS, labels of both ends", config="clas.py", options=_all_frames),
]
# Each trained network once more, its outlines smoothed along time.
rows = [
    one
    for row in _rows
    for one in (
        row,
        dict(
            name=row["name"] + ", smoothed",
            averages=(row["name"],),
            postprocess=("WhittakerSmoother",),
            baseline=row["name"],
        ),
    )
]

notes = (
    "SAMUS and its kin are clicked in every frame, MemSAM in the first; XMem and XMem++ are given "
    "masks, whose frames count nowhere.",
    "Consistency can be had by flattening the beat: the error of the area's change says so.",
)
