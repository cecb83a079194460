"""What runs inside a worker's own interpreter (`python -s -P -S -m sandbox.zygote`). Standard library only.

Nothing here may import from the rest of `align`: it is not on that interpreter's path.
"""
