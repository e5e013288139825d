"""The checks of `copytool check`, one idea a module: what is looked at, what is wrong with it, and what helps.

Nothing here is changed on the host, and nothing is imported that the target may lack: there the package runs as it
is, with nothing but Python.
"""
