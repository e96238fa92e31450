"""What each op should give, said a second time: naive loops over single numbers in float64.

Nothing here imports minicnn, so nothing here can share its mistakes; a test asserts it. Slow, and meant to be: an
oracle is right because it is too plain to be wrong.

naive.py has arithmetic, reductions, shapes, products and losses; windows.py convolution and pooling with a geometry of
their own; philox.py random bits and dropout; at_kinks.py the gradients that ops promise where no derivative exists;
arrays.py what else arrays do, from picking by position to einsum; resize.py resizing.
"""
