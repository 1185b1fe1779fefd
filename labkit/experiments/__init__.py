"""What the notebooks run: one module for each, whose functions start what they need and return what was seen.

A notebook calls these functions, shows what they return, and gives it to :func:`labkit.checks.check`. ``EXPERIMENTS``
of each module maps the id of a claim to a function without arguments that does all of it once, at the notebook's size:
with it a claim can be put to the test on its own (``python -m labkit.soak``).
"""
