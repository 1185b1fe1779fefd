"""What is wrong with somebody else's stream: one request measured, a few more with one thing changed, and what follows.

Three floors: an observation is data (``observation.py``), a rule is a function of observations (``rules/``, each rule
names its row of docs/symptoms.md), words are made of what the rules found (``report.py``).
"""
