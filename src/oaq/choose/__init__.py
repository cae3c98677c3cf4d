"""Integer weights under the budgets of a register: bounds, scales and roundings, on arrays alone."""
