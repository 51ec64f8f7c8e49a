"""``python -m polymodal``, as ``torchrun -m polymodal`` needs it."""

import sys

from polymodal.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
