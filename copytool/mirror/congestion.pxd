"""cdefs for congestion.py"""

cimport cython

cdef long long _INITIAL_WINDOW_SEGMENTS
cdef long long _MAX_WINDOW
cdef int _DUPLICATES_FOR_LOSS


@cython.final
cdef class Congestion:
    cdef int _duplicates
    cdef bint _in_recovery
    cdef long long _mss
    cdef long long _recover
    cdef long long _threshold
    cdef public long long window

    @cython.locals(grown="long long")
    cpdef bint acknowledge(self, long long octets, long long una) except *
    cpdef bint note_duplicates(self, int count, long long una, long long sent_to) except *
    cpdef time_out(self, long long una, long long sent_to, bint window_is_closed)
    cdef _reduce(self, long long in_flight)
