"""``python bench [--quick]``: measures the labkit of this checkout, whichever may be installed beside it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

try:
    from command import command
except ModuleNotFoundError as error:
    sys.exit(f"bench: {error.name} is not installed for {sys.executable}. In the checkout: pip install -e .")

if __name__ == "__main__":
    sys.exit(command())
