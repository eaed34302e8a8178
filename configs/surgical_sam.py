"""SurgicalSAM: a learnt prototype of each structure prompts SAM, whose decoder trains.

Data: CAMUS, see _base_/datasets/camus.py; no prompts. Weights: tools/download_weights.py sam_vit_b
Command: tools/train.py configs/surgical_sam.py --data-root PATH
"""

_base_ = "sam_finetune.py"

_unused = ("decoder.iou_prediction_head.*", "decoder.output_hypernetworks_mlps.[123].*")
model = dict(
    prompt_head=dict(_delete_=True, type="PrototypePromptHead", num_structures=3, num_tokens=2),
    loss=dict(dice_weight=1.0, ce_weight=0.0),
    # What says whether a structure is asked for are SAM's points, foreground and background.
    frozen=(
        "backbone.*",
        "prompt_head.encoder.*",
        "prompt_head.asked.*",
        "prompt_head.others.*",
        *_unused,
    ),
)
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=1e-4))

# There are no weights of SAM's at --scale tiny, so all of it trains from scratch.
scales = dict(
    tiny=dict(
        model=dict(
            prompt_head=dict(hidden_dims=64),
            frozen=("prompt_head.encoder.*", *_unused),
        )
    )
)
