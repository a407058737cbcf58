"""DVC: what it would do, what it has cached, and runs of it; what it keeps private is in the module `private`."""
