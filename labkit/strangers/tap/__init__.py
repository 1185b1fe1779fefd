"""``labkit tap``: a relay between any client and any server that holds nothing back and tells what passed.

``tap`` is the whole of it. ``relay`` passes bytes on, by ``far`` (TLS, ``rewriting``) or ``forward`` (as a proxy);
``reading`` dissects them afterwards into happenings, which ``log`` keeps. ``exchanges`` makes of these what each
exchange was; ``telling``, ``summing``, ``page`` and ``making`` (a run) say it; ``pairing``, ``comparing`` are of two.
"""
