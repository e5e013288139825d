"""cdefs for release.py"""

cimport cython

from .config cimport MirrorConfig
from .habits cimport TargetHabits
from .histogram cimport Histogram

cdef double NEVER
cdef double _QUIET_GAPS
cdef double PER_RESPONSE
cdef int _COMPLETE
cdef int _EQUAL
cdef int _LONGER
cdef int _SHORTER


@cython.final
cdef class ReleaseCounters:
    cdef readonly Histogram answer_time
    cdef public long long answered
    cdef public long long held
    cdef public long long quiet


@cython.final
cdef class ReleaseRule:
    cdef double _answered_at
    cdef long long _base_received
    cdef long long _base_seen
    cdef double _began_at
    cdef MirrorConfig _config
    cdef ReleaseCounters _counters
    cdef bint _differed
    cdef bint _finished
    cdef readonly TargetHabits _habits
    cdef double _longest_gap_s
    cdef long long _received
    cdef double _released_at
    cdef long long _released_at_received
    cdef long long _turn_seen
    cdef double _waiting_since
    cdef public bint in_write
    cdef public long long turns
    cdef public double wake_at

    @cython.locals(gap=double)
    cpdef note_received(self, long long received, bint finished, double now)

    cpdef note_end(self, long long seen, double now)

    @cython.locals(answer_is=int, equal=bint)
    cpdef bint may_release(
        self, long long seen, long long latest_seen, double idle_since, double rtt_s, double now
    ) except *

    @cython.locals(answer="long long", in_flight=bint)
    cdef int _compare(self, long long share, long long latest_share, double now) except -1

    cdef _begin_turn(self, long long seen, double now)

    @cython.locals(
        held_since=double, is_shorter=bint, hold_limit_s=double, held_until=double, quiet_until=double
    )
    cdef bint _is_over(
        self, int answer_is, long long seen, double idle_since, double rtt_s, double now
    ) except *

    @cython.locals(longest_s=double, quiet_s=double, took_s=double)
    cdef double _quiet_until(self, double idle_since, double rtt_s, double now, bint is_shorter=*) except? -1
