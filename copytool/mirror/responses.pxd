"""cdefs for responses.py"""

cimport cython

from ..link.records cimport ResponseRecord
from ..wire cimport seq as serial

cdef double NEVER
cdef int FIN
cdef int SYN
cdef long long _MAX_JUMP
cdef int _MAX_DOUBLINGS


@cython.final
cdef class ResponseSide:
    cdef unsigned int _irs
    cdef long long _acked_to
    cdef double _delayed_ack_s
    cdef long long _unacked_segments
    cdef int _doublings
    cdef bint _went_alone
    cdef public double ack_at
    cdef public bint finished
    cdef public long long received

    cpdef open(self, unsigned int irs, double now)
    cpdef unsigned int newest(self) noexcept
    cpdef unsigned int acknowledged(self) noexcept
    cpdef unsigned int acknowledge(self, bint is_alone) noexcept

    @cython.locals(newer="long long", due=double)
    cpdef bint receive(self, ResponseRecord record, double now) except *

    cpdef bint is_initial(self, unsigned int seq) noexcept
    cpdef bint is_expected(self, unsigned int seq) noexcept
    cpdef bint is_plausible(self, unsigned int seq) noexcept
