"""cdefs for pace.py"""

cimport cython

cdef long long _BUSY


cdef class Pace:
    cdef long long _done

    @cython.locals(new="long long")
    cpdef double after(self, long long done, double rest_s) except? -1
