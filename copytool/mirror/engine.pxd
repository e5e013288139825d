"""cdefs for engine.py"""

cimport cython

from ..link.records cimport ResponseRecord
from ..wire cimport build, octets
from ..wire cimport segment as tcp
from ..wire.segment cimport Segment
from .admission cimport Admission
from .client cimport ClientConnection
from .common cimport Common
from .config cimport MirrorConfig
from .counters cimport EngineCounters
from .emitter cimport Emitter
from .events cimport SessionEnded
from .handshakes cimport Handshakes
from .mapping cimport ClientNetwork
from .remembered cimport Remembered
from .sender cimport Sender
from .session cimport Session
from .targets cimport Targets
from .timers cimport TimerQueue

cdef int ACK
cdef int RST
cdef int SYN
cdef Py_ssize_t RECORD_SIZE
cdef Py_ssize_t _MAX_WAITING
cdef double NEVER
cdef double REST_S


cdef class Engine:
    cdef public MirrorConfig config
    cdef public EngineCounters counters
    cdef Targets _targets
    cdef public ClientNetwork _network
    cdef readonly Admission admission
    cdef Segment _segment
    cdef Handshakes _handshakes
    cdef object _midstream
    cdef ResponseRecord _record
    cdef dict _connections
    cdef dict _sessions
    cdef Remembered _remembered
    cdef readonly TimerQueue _timers
    cdef list _awake
    cdef list _ready
    cdef double _rest_at
    cdef Emitter _emitter
    cdef dict _commons
    cdef list _outbox
    cdef object _events
    cdef object _checks
    cdef double _drops_at

    @cython.locals(counters=EngineCounters, segment=Segment, reason=int, connection=ClientConnection)
    cpdef receive_segment(
        self,
        const unsigned char[::1] buffer,
        double now,
        bint is_checked=*,
        Py_ssize_t start=*,
        Py_ssize_t size=*,
        double captured_at=*,
    )

    @cython.locals(record=ResponseRecord, at=Py_ssize_t)
    cpdef receive_records(self, const unsigned char[::1] body, double now, object on_failure)

    @cython.locals(session=Session)
    cpdef receive_response(self, ResponseRecord record, double now)

    @cython.locals(outbox=list, ready=list, served=Py_ssize_t, session=Session, packets=list)
    cpdef list packets_to_send(self, double now, Py_ssize_t limit=*)

    cpdef bint is_busy(self) except -1

    @cython.locals(counters=EngineCounters)
    cpdef bint is_pressed(self) except -1

    cpdef next_event(self)
    cpdef ClientConnection next_check(self)
    cpdef double next_timer(self) except? -1

    @cython.locals(session=Session, common=Common)
    cpdef handle_timer(self, double now)

    cdef _watch_awake(self, double now)

    @cython.locals(sender=Sender)
    cpdef session_ended(self, Session session, str reason, double now)

    cpdef connection_ended(self, ClientConnection connection)
    cpdef bint feedback_is_up(self)
    cpdef bint saw_drops_since(self, double since)
    cpdef ask_whether_open(self, ClientConnection connection)
    cpdef reschedule(self, ClientConnection connection)
    cdef Common _common_of(self, tuple target)

    @cython.locals(counters=EngineCounters, segment=Segment, key=bytes, target=tuple)
    cdef ClientConnection _receive_unusual(
        self, ClientConnection connection, const unsigned char[::1] buffer, double now, bint is_checked
    )

    @cython.locals(connection=ClientConnection)
    cpdef bint is_any_left_out(self, double opened_until) except -1

    @cython.locals(isn="long long", connection=ClientConnection)
    cdef _note_syn(self, bytes key, bytes packet)

    @cython.locals(syn=Segment, handshakes=Handshakes)
    cdef ClientConnection _complete_handshake(self, bytes key, tuple target, ClientConnection connection, double now)

    @cython.locals(common=Common, connection=ClientConnection, client=bytes, mirror=bytes, sessions=int)
    cdef ClientConnection _open(self, bytes key, tuple target, Segment syn, double now)

    cdef bint _is_left_out(self, bytes key) except *

    @cython.locals(sender=Sender, session=Session)
    cdef Session _open_session(
        self, bytes mirror, Common common, ClientConnection connection, Segment syn, double now
    )
