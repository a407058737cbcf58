"""The commits of the trunk and what each changed and measured."""
