"""cdefs for histogram.py"""

cimport cython

cdef int _BUCKETS
cdef double _PER_S


@cython.final
cdef class Histogram:
    cdef list _counts
    cdef double _sum_s
    cdef readonly long long count

    @cython.locals(units="long long", index=int)
    cpdef note(self, double seconds)
