"""The benchmark is no installed package: it is run from the source tree, and so it is here."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3]))
