"""Sweeps: a grid of tasks, methods, λ, priors and seeds as jobs that any machine can take up.

A job is one papermill execution of `book/train.ipynb` that trains agents of one task, in a folder
named by the hash of its configuration. What a job is doing is read from its folder alone; a job
whose agents another run of the sweep's folder has trained is done.
"""
