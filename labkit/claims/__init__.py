"""The claims: what each says and where it comes from, the rules of a verdict, the records and the predictions.

===========  ====================================================================
claim        what a claim is, and all that were declared
confidence   intervals, and the rules that make a verdict of one
finding      what a judge gives back
judging      the parts of a verdict, and the verdict that is made of them
seen         what a run saw of one technique, and the parts made of that
faults       what refutes a claim whatever it is about
checking     a claim put to the test
recording    records, as the ledger of claims keeps them
predicting   predictions, each for its question
told         a verdict as people read it
logbook      the files that they are kept in
exercises    an exercise, and the report on an answer
entry        one claim of the book, with its newest record and prediction
page         the book as a notebook shows it
verdicts     the book: all claims and what came of them on this machine
===========  ====================================================================
"""

from __future__ import annotations

from labkit.claims.checking import judge
from labkit.claims.confidence import Interval, Verdict
from labkit.claims.predicting import Prediction, predict, prediction
from labkit.claims.recording import Record, record, records, table

__all__ = [
    "Interval",
    "Prediction",
    "Record",
    "Verdict",
    "judge",
    "predict",
    "prediction",
    "record",
    "records",
    "table",
]
