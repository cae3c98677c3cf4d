"""Winograd's F(2, 3) in exact integers: is it worth kernel rows? Its speed and what its bounds cost."""
