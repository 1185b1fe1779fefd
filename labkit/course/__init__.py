"""The course: one folder for each notebook, with what it runs, what it claims, what it draws and what it asks.

A notebook calls the functions of its folder, shows what they return, and gives it to :func:`labkit.check`. In each
folder ``claims.py`` declares what the notebook claims, with its experiment and its judge; ``labkit.course.claims``
collects them, and with it a claim can be put to the test on its own (``python -m labkit soak``).
"""
