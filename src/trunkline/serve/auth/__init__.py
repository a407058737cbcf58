"""Who may ask: API keys, tokens, scopes, and how often."""
