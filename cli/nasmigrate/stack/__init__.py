"""The container stack: compose, container health, the checklist. The only room that knows Docker."""
