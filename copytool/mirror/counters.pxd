"""cdefs for counters.py"""

cimport cython

from .emitter cimport SenderCounters
from .histogram cimport Histogram
from .release cimport ReleaseCounters

cdef long long _PIECE_BYTES


@cython.final
cdef class EngineCounters:
    cdef public long long accepted
    cdef public long long captured
    cdef public long long client_packets
    cdef public long long delivered
    cdef public long long discarded
    cdef public dict dropped
    cdef public long long duplicate
    cdef public dict ignored
    cdef public long long ignored_total
    cdef public long long joined
    cdef readonly Histogram lag
    cdef public dict outcomes
    cdef public long long pieces
    cdef public long long queued
    cdef public ReleaseCounters release
    cdef public long long responses
    cdef public long long seen
    cdef public SenderCounters sender
    cdef public dict undelivered
    cdef public long long undelivered_total
    cdef public long long unknown_responses

    cpdef ignore(self, str reason, long long size)

    cpdef long long buffered(self) noexcept

    @cython.locals(held="long long")
    cpdef long long footprint(self) noexcept
