"""DVC: what it would do, what it has cached, and the only modules that use what it keeps private."""
