"""Is my client right? Streams, lines, parts, answers and messages as awkward as their specifications allow.

Each case says what a right client has in hand at the end. These values are written down by hand beside the bytes, or
composed from pieces by the rules of the clause: no decoder of the kit had a part in them.
"""
