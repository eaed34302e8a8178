"""AutoSAMUS: SAMUS that prompts itself; its prompt generator alone trains (autosamus.txt, 3.3).

Data: CAMUS, single images, no prompts. It starts from a trained SAMUS: train configs/samus.py
first, or give published weights: --cfg-options model.pretrained.path=checkpoints/samus.pth
Command: tools/train.py configs/autosamus.py --data-root PATH
"""

_base_ = "_base_/autosamus.py"

_samus = ("backbone.*", "prompt_head.encoder.*", "decoder.*")
_parts = ("backbone", "prompt_head.encoder", "decoder")
model = dict(
    prompt_head=dict(_delete_=True, type="APG", num_structures=3),
    frozen=_samus,
    trainable=(),
    pretrained=dict(_delete_=True, path="work_dirs/samus", parts=_parts),
)

# Frozen and started at this size as at the full one.
scales = dict(
    tiny=dict(
        model=dict(
            prompt_head=dict(num_heads=4, head_dims=16, ffn_dims=256),
            frozen=_samus,
            pretrained=dict(_delete_=True, path="work_dirs/samus_tiny", parts=_parts),
        )
    )
)
