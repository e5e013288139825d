"""cdefs for rtt.py"""

cimport cython

cdef double _INITIAL_RTO_S
cdef double _MIN_RTO_S
cdef double _MAX_RTO_S


@cython.final
cdef class RttEstimator:
    cdef double _timed_at
    cdef long long _timed_end
    cdef public int backoff
    cdef public double smoothed_s
    cdef public double variation_s

    cpdef start(self, long long end, double now)
    cpdef cancel(self)
    cpdef acknowledge(self, long long position, double now)
    cpdef sample(self, double rtt_s)
    cpdef double unbounded_rto_s(self) noexcept

    @cython.locals(base=double, backed_off=double)
    cpdef double rto_s(self) noexcept
