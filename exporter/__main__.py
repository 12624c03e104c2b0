"""`python -m exporter`. Belongs here: starting the command line, nothing else."""

import sys

from exporter.cli import main

if __name__ == "__main__":
    sys.exit(main())
