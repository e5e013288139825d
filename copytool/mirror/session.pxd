"""cdefs for session.py"""

cimport cython

from ..link.records cimport ResponseRecord
from .asleep cimport Asleep, Awake
from .common cimport Common
from .config cimport MirrorConfig
from .counters cimport EngineCounters
from .histogram cimport Histogram
from .release cimport ReleaseRule
from .responses cimport ResponseSide
from .sender cimport Sender
from .stream cimport ClientStream
from .timers cimport Timed

cdef double NEVER
cdef int CLOSED
cdef int OPEN
cdef int PUSHED
cdef int URGENT
cdef Py_ssize_t PIECE_BYTES
cdef Py_ssize_t _SMALL
cdef double _DOUBT_S
cdef double _REST_S


cdef class Session(Timed):
    cdef Asleep _asleep
    cdef Awake _awake
    cdef Common _common
    cdef double _delivered_at
    cdef double _doubted_until
    cdef long long _fin_seen
    cdef list _pending
    cdef long long _reset_seen
    cdef public double active_at
    cdef public double close_by
    cdef public object connection
    cdef public bytes flow
    cdef public Session next_copy
    cdef public str outcome
    cdef public long long pending_bytes
    cdef public long long queued
    cdef public ClientStream stream
    cdef public long long turns
    cdef unsigned char _fin_released
    cdef unsigned char _is_watched
    cdef unsigned char _reset_released
    cdef public unsigned char is_ready

    cpdef long long buffered(self) noexcept
    cpdef long long footprint(self) noexcept
    cdef Py_ssize_t _pending_pieces(self) noexcept
    cdef bint _is_closing(self) noexcept

    cpdef serve_soon(self)

    cpdef bint is_asleep(self) noexcept

    @cython.locals(awake=Awake, asleep=Asleep)
    cpdef bint rest(self) except *

    @cython.locals(awake=Awake)
    cpdef Awake wake(self)

    cpdef expedite(self, double now)
    cpdef bint stays_awake(self, double now) except *

    @cython.locals(size=Py_ssize_t, counters=EngineCounters, pending=list)
    cpdef queue(self, tuple piece)

    @cython.locals(octets=bytes, seen="long long", marks=int, last=bytes, last_seen="long long", last_marks=int)
    cdef bint _joins_last(self, list pending, tuple piece) except *

    cpdef finish(self, long long seen)
    cpdef reset(self, long long seen)

    @cython.locals(
        awake=Awake,
        sender=Sender,
        responses=ResponseSide,
        delivered="long long",
        received="long long",
        taken="long long",
        has_answered=bint,
    )
    cpdef receive_response(self, ResponseRecord record, double now)

    @cython.locals(awake=Awake)
    cpdef advance(self, double now, bint is_timer=*)

    @cython.locals(sender=Sender)
    cdef _advance(self, Awake awake, double now)

    @cython.locals(rule=ReleaseRule, sender=Sender, latest_seen="long long", rtt_s=double, idle_since=double)
    cdef _release(self, Awake awake, double now)

    @cython.locals(
        rule=ReleaseRule,
        sender=Sender,
        latest_seen="long long",
        rtt_s=double,
        idle_since=double,
        released=Py_ssize_t,
        octets=bytes,
        seen="long long",
        marks=int,
        captured_at=double,
        lag=Histogram,
    )
    cdef bint _release_pending(self, list pending, Awake awake, double now) except *

    cdef str _failure_outcome(self, Sender sender)
    cdef bint _may_be_alike(self, Sender sender, double now) except *

    @cython.locals(awake=Awake, sender=Sender, undelivered="long long", counters=EngineCounters)
    cpdef end(self, str outcome, double now, str reason=*)

    @cython.locals(idle_at=double, awake=Awake)
    cpdef double next_timer(self) except? -1

    @cython.locals(config=MirrorConfig)
    cpdef handle_timer(self, double now)
