"""Tables of measured results beside published ones: what to run, running it, writing it down."""
