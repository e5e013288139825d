"""cdefs for events.py"""

cimport cython


@cython.final
cdef class SessionEnded:
    cdef bytes _flow
    cdef bytes _mirror_flow
    cdef readonly str outcome
    cdef readonly str reason
    cdef readonly long long turns
    cdef readonly long long client_bytes
    cdef readonly long long delivered_bytes
    cdef readonly long long undelivered_bytes
    cdef readonly long long response_bytes
    cdef readonly double duration_s
