"""The engine: launching, hooks, the optimiser's parameters."""
