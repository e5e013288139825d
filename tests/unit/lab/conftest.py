"""The lab role's pure modules, imported as its Ansible modules see them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "roles/lab/module_utils"))
