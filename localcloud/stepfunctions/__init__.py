"""Step Functions: Standard workflows in Amazon States Language with JSONata, interpreted here.

Why not moto's interpreter: docs/decisions/0003-own-state-machine-interpreter.md.
"""
