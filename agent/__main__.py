"""`python -m agent` is `csm-agent`."""

import sys

from agent.cli import main

sys.exit(main())
