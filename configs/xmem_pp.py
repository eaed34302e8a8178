"""XMem++: XMem with the masks of both ends of a film given, which act on all frames between (2023).

On CAMUS these are end diastole and end systole, the two frames that people label in most data: of
its table the frames between are what counts. Data: CAMUS, whole films to test.
Command: tools/train.py configs/xmem_pp.py --data-root PATH
"""

_base_ = "xmem.py"

model = dict(prompted=(0, -1), permanent=True)
