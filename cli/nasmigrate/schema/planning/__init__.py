"""The parts of the planner, one job each; `schema.planner` puts them together."""
