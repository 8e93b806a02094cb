"""Functions Node... -> Node: what several op rows make together. They check shapes and dtypes as users see
them."""
