"""Stage rivals: the models that the gates compare with."""
