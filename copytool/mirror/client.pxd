"""cdefs for client.py"""

cimport cython

from ..wire cimport octets
from ..wire cimport seq as serial
from ..wire.segment cimport Segment
from .config cimport MirrorConfig
from .counters cimport EngineCounters
from .session cimport ReadySessions, Session
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


cdef class ClientConnection(Timed):
    cdef double _check_at
    cdef double _check_delay_s
    cdef MirrorConfig _config
    cdef EngineCounters _counters
    cdef double _gap_since
    cdef bint _is_doubted
    cdef bint _is_over
    cdef bint _is_suspect
    cdef object _owner
    cdef ReadySessions _ready
    cdef double _whole_at
    cdef public bytes flow
    cdef public double heard_at
    cdef public unsigned int isn
    cdef public double known_open_at
    cdef public double opened_at
    cdef public list sessions
    cdef public ClientStream stream

    cpdef receive(self, Segment segment, const unsigned char[::1] buffer, double now)
    cdef bint _may_be_a_probe(self, Segment segment) except *

    @cython.locals(
        stream=ClientStream,
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

    @cython.locals(stream=ClientStream)
    cdef _watch_hole(self, unsigned int next_seq, double now)

    @cython.locals(limit="long long", held="long long", full=bint, session=Session)
    cdef _wake_sessions(self, double now)

    cpdef double next_timer(self) except? -1
    cpdef handle_timer(self, double now)
