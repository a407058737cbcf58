"""Stage validate: tables held to their contract, offending rows set aside."""
