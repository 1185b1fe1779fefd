"""The course: one folder for each notebook, with what it runs, what it claims, what it draws and what it asks.

A notebook calls the functions of its folder, shows what they return, and gives it to :func:`labkit.check`.
``EXPERIMENTS`` of each folder maps the id of a claim to a function without arguments that does all of it once, at the
notebook's size: with it a claim can be put to the test on its own (``python -m labkit.commands.soak``).
"""
