"""``python -m oaq.cli`` is ``oaq``."""

import sys

from oaq.cli.main import main

sys.exit(main())
