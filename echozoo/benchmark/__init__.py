"""How fast and how large: forward, training step, data and measures beside a reference.

`timing` runs the sides by turns, `memory` measures each in a process of its own, `flops` counts
what a network computes and what the machine can. `networks` puts them together for forward and
training step, `data` and `measures` are parts of their own; `report` shows and writes.
"""
