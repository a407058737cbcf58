"""A year in production, as it would have happened: the flights of 2013, three strategies, and what each was worth.

`managed` retrains when the monitor's rule says that the model has become worse, through the gates; `frozen` never does;
`blind` does each month, whatever comes. All three score the same rows, whose features the project's own engine has
computed as of the moment of each prediction. Run: python -m examples.year
"""
