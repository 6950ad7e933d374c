"""What a benchmark found: kept in a file, and shown."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """Write the figures as JSON, in a folder that is made if need be, and print them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")
    Console().print_json(data=report)
