"""cdefs for flow.py"""

cimport cython

from . cimport octets


cpdef bytes flow_key(bytes src, int src_port, bytes dst, int dst_port)

@cython.locals(end=Py_ssize_t, half=Py_ssize_t)
cpdef tuple flow_ends(bytes key)
