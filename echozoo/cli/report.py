"""Make one HTML page of a test run: tables, curves, best and worst images, failures.

echozoo test configs/samus_tra.py work_dirs/samus_tra --data-root /data/CAMUS
echozoo report work_dirs/samus_tra
"""

from __future__ import annotations

from echozoo.errors import one_line_errors
from echozoo.options import command_parser
from echozoo.visualization.report import write_report


@one_line_errors
def main() -> None:
    """Write the page."""
    parser = command_parser(__doc__)
    parser.add_argument("work_dir", help="the folder of a test: it holds results.json")
    parser.add_argument("-o", "--out", help="the page (default: WORK_DIR/report.html)")
    args = parser.parse_args()
    print(write_report(args.work_dir, args.out))
