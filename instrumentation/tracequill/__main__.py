"""``python -m tracequill`` is the ``tracequill`` command."""

import sys

from tracequill._command import main

sys.exit(main())
