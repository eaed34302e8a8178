"""The auto-prompting SAM: convolutions down and up SAM's embedding prompt its decoder.

As described in arXiv 2308.14936, which came without code: adapters along time stand for those of
its volumes, SAM's own decoder for its light one.

Data: CAMUS, clips of 8 frames; no prompts. Weights: tools/download_weights.py sam_vit_b
Command: tools/train.py configs/auto_prompt_sam.py --data-root PATH
"""

_base_ = "sam_finetune.py"

_unused = ("decoder.iou_prediction_head.*", "decoder.output_hypernetworks_mlps.[123].*")
model = dict(
    backbone=dict(inserts=[dict(type="STAdapter", at="blocks.*", when="before_attention")]),
    prompt_head=dict(_delete_=True, type="DownUpPromptHead", num_structures=3),
    frozen=("backbone.*", "prompt_head.encoder.*", *_unused),
    trainable=("backbone.inserts.*",),
)

# There are no weights of SAM's at --scale tiny, so all of it trains from scratch.
scales = dict(
    tiny=dict(
        model=dict(
            prompt_head=dict(widths=(64, 64)),
            frozen=("prompt_head.encoder.*", *_unused),
            trainable=(),
        )
    )
)
