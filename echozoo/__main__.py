"""`python -m echozoo`: the command `echozoo`, by the Python that runs it."""

from echozoo.cli import main

if __name__ == "__main__":
    main()
