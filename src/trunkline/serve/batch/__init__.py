"""Scores files of any size with a bundle: in parallel, in bounded memory, and never leaving a half-written file.

The rows are cut into parts of equal length. Each part, once scored, is a file in OUTPUT.parts/, and the parts
are joined in order as they come; only then does OUTPUT appear. A run that was killed is resumed by running it
again: what it finished is kept if the input, the bundle and the runtime are the same, and dropped otherwise.
What is written depends on the rows and the bundle alone, not on the number of threads.
"""
