"""The tasks are no installed package: fab finds them in the source tree, and so do the tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3]))
