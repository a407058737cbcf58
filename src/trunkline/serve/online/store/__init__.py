"""Where the values of views are kept, by key: one protocol of three verbs, and what implements it."""
