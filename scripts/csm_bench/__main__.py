"""`python -m scripts.csm_bench`, from the repository's root; see --help."""

import json
import signal
import sys

from scripts.csm_bench.machine import about
from scripts.csm_bench.plan import plan
from scripts.csm_bench.process import run_jobs
from scripts.csm_bench.report import Report
from scripts.csm_bench.settings import Options, parse_args
from scripts.csm_bench.tables import tables


def main() -> int:
    """Runs the bench and prints tables, or JSON."""
    options = parse_args()
    # So that a measurement's process is ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    report = run(options) if options.table is None else Report.read(options.table)
    print(json.dumps(report.as_json(), indent=1) if options.json else tables(report))
    return 0


def run(options: Options) -> Report:
    """Measures everything that there is time for."""
    settings = options.settings
    report = Report(about(settings), options.out)
    jobs = plan(settings, reference=options.reference)
    run_jobs(jobs, settings, report, budget_s=options.budget_s, say=say)
    return report


def say(text: str) -> None:
    """Progress, beside the report."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
