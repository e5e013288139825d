"""cdefs for remembered.py"""

cimport cython


@cython.final
cdef class Remembered:
    cdef dict _entries

    @cython.locals(entries=dict)
    cpdef note(self, bytes key, str reason, long long isn, Py_ssize_t sessions=*)

    @cython.locals(entry=tuple)
    cpdef str reason(self, bytes key)

    @cython.locals(entry=tuple)
    cpdef Py_ssize_t sessions(self, bytes key) except -1

    @cython.locals(entry=tuple)
    cpdef bint is_isn(self, bytes key, long long isn) except *

    cpdef discard(self, bytes key)
