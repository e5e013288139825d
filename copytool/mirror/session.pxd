"""cdefs for session.py"""

cimport cython

from ..link.records cimport ResponseRecord
from .config cimport MirrorConfig
from .counters cimport EngineCounters
from .release cimport ReleaseRule
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


@cython.final
cdef class ReadySessions:
    cdef public list sessions

    cpdef add(self, Session session)


cdef class Session(Timed):
    cdef MirrorConfig _config
    cdef EngineCounters _counters
    cdef double _delivered_at
    cdef double _doubted_until
    cdef bint _fin_released
    cdef long long _fin_seen
    cdef list _pending
    cdef bint _reset_released
    cdef long long _reset_seen
    cdef ReleaseRule _rule
    cdef public double active_at
    cdef public double close_by
    cdef public object connection
    cdef public bytes flow
    cdef public bint is_ready
    cdef public double opened_at
    cdef public str outcome
    cdef public long long pending_bytes
    cdef public long long queued
    cdef public str reason
    cdef public Sender sender
    cdef public ClientStream stream
    cdef public long long turns

    cpdef long long buffered(self) noexcept
    cpdef long long footprint(self) noexcept
    cdef bint _is_closing(self) noexcept

    @cython.locals(size=Py_ssize_t)
    cpdef queue(self, tuple piece)

    @cython.locals(octets=bytes, seen="long long", marks=int, last=bytes, last_seen="long long", last_marks=int)
    cdef bint _joins_last(self, tuple piece) except *

    cpdef finish(self, long long seen)
    cpdef reset(self, long long seen)

    @cython.locals(sender=Sender, delivered="long long", received="long long", taken="long long", has_answered=bint)
    cpdef receive_response(self, ResponseRecord record, double now)

    cpdef advance(self, double now, bint is_timer=*)

    @cython.locals(sender=Sender)
    cdef _advance(self, double now)

    @cython.locals(rule=ReleaseRule, latest_seen="long long", rtt_s=double, idle_since=double)
    cdef _release(self, double now)

    @cython.locals(
        pending=list,
        rule=ReleaseRule,
        sender=Sender,
        latest_seen="long long",
        rtt_s=double,
        idle_since=double,
        released=Py_ssize_t,
        octets=bytes,
        seen="long long",
        marks=int,
        is_all=bint,
    )
    cdef bint _release_pending(self, double now) except *

    cpdef double next_timer(self) except? -1
    cpdef handle_timer(self, double now)
