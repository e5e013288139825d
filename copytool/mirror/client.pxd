"""cdefs for client.py"""

cimport cython

from ..wire cimport octets
from ..wire cimport seq as serial
from ..wire.segment cimport Segment
from .common cimport Common
from .config cimport MirrorConfig
from .counters cimport EngineCounters
from .session cimport Session
from .stream cimport ClientStream
from .timers cimport Timed

cdef double NEVER
cdef int ACK
cdef int FIN
cdef int PSH
cdef int RST
cdef int SYN
cdef int URG
cdef Py_ssize_t PIECE_BYTES
cdef long long _MAX_WINDOW
cdef double _CHECK_AGAIN_S
cdef double _GAP_AFTER_DROPS_S
cdef double _DROPS_S
cdef double _MAX_CHECK_DELAY_S
cdef double _CHECK_TOGETHER_S


cdef class ClientConnection(Timed):
    cdef double _check_at
    cdef double _check_delay_s
    cdef Common _common
    cdef Session _first
    cdef double _gap_since
    cdef object _owner
    cdef double _whole_at
    cdef public bytes flow
    cdef public double heard_at
    cdef public double known_open_at
    cdef public double opened_at
    cdef public ClientStream stream
    cdef public unsigned int isn
    cdef unsigned char _is_doubted
    cdef unsigned char _is_over
    cdef unsigned char _is_suspect

    @cython.locals(before=Session)
    cpdef add(self, Session session)

    @cython.locals(before=Session)
    cdef _remove(self, Session session)

    cpdef receive(self, Segment segment, const unsigned char[::1] buffer, double now)
    cdef bint _may_be_a_probe(self, Segment segment) except *

    @cython.locals(
        stream=ClientStream,
        counters=EngineCounters,
        session=Session,
        duplicate="long long",
        unread="long long",
        next_seq="unsigned int",
        held_pieces=Py_ssize_t,
        was_finished=bint,
        pieces=list,
        piece=tuple,
    )
    cdef _receive_stream(self, Segment segment, const unsigned char[::1] buffer, double now)

    @cython.locals(stream=ClientStream, ahead="long long")
    cdef _receive_reset(self, Segment segment, double now)

    @cython.locals(session=Session)
    cpdef client_gone(self, double now)

    @cython.locals(stream=ClientStream)
    cdef _watch_hole(self, unsigned int next_seq, double now)

    @cython.locals(config=MirrorConfig, limit="long long", held="long long", full=bint, session=Session)
    cdef _wake_sessions(self, double now)

    cpdef bint is_mirrored(self) except *

    @cython.locals(session=Session)
    cpdef end_sessions(self, str outcome, double now, str reason)

    cpdef session_ended(self, Session session, str reason, double now)

    @cython.locals(gap_at=double)
    cpdef double next_timer(self) except? -1
    @cython.locals(limit_s=double)
    cpdef handle_timer(self, double now)


cdef double _together(double when) except? -1
