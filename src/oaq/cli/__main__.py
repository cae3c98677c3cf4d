"""``python -m oaq.cli`` is ``oaq``."""

import sys

from oaq.cli import main

sys.exit(main())
