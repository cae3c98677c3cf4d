"""Integers, ranges, registers, rounding: the mathematics below everything else. Pure; numpy only."""
