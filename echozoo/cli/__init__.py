"""The command `echozoo`: a file of this folder is a command, its first line says what it does.

Each has a ``main`` that reads ``sys.argv``; a file of ``tools/`` runs the same one from a checkout.
This file alone must be understood by any Python, and needs nothing that has to be installed.
"""

import ast
import difflib
import importlib
import sys
from pathlib import Path

import echozoo

OLDEST = (3, 10)


def names():
    """Names of the commands."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(file.stem for file in files if not file.stem.startswith("_"))


def run(name):
    """Run a command with the options of ``sys.argv``; this does not return.

    What keeps any command from starting, an old Python or a package that is not there, is said in
    one line.

    Args:
        name: One of `names`.
    """
    if sys.version_info < OLDEST:
        found, wanted = (".".join(map(str, one[:2])) for one in (sys.version_info, OLDEST))
        sys.exit(f"error: {sys.executable} is Python {found}, wanted {wanted} or newer")
    try:
        importlib.import_module(f"echozoo.cli.{name}").main()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "echozoo"):
            raise
        sys.exit(
            f"error: {package} is not installed for {sys.executable}: install echozoo with pip (in "
            "a checkout: pip install -r requirements.txt), or use the Python that has it"
        )


def main():
    """Run the command that the command line names, or list all."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print(overview())
    elif name == "--version":
        print(f"echozoo {echozoo.__version__}")
    elif name in names():
        sys.argv = [f"echozoo {name}", *sys.argv[2:]]
        run(name)
    else:
        close = difflib.get_close_matches(name, names(), n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        sys.exit(f"error: echozoo {name}: no such command{hint} (echozoo --help lists them)")


def overview():
    """Say what each command does, a line each."""
    lines = ["usage: echozoo COMMAND ...", ""]
    for name in names():
        text = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
        lines.append(f"  {name:10}{ast.get_docstring(ast.parse(text)).partition(chr(10))[0]}")
    return "\n".join([*lines, "", "echozoo COMMAND --help shows its options."])
