"""Labels by people: which rows are shown to annotators, in their tools' formats, and what comes back of them."""
