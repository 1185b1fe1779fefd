"""Every Python that is started with this folder on its path has the lie of ``LABKIT_PLANTED`` in it, a lab's too."""

import os

if os.environ.get("LABKIT_PLANTED"):
    from planted.plants import PLANTS

    PLANTS[os.environ["LABKIT_PLANTED"]].plant()
