"""How far a repository has come: the ML Test Score and the five levels of maturity, of what a commit proves."""
