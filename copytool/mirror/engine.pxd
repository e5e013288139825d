"""cdefs for engine.py"""

cimport cython

from ..link.records cimport ResponseRecord
from ..wire cimport build, octets
from ..wire cimport segment as tcp
from ..wire.segment cimport Segment
from .client cimport ClientConnection
from .config cimport MirrorConfig
from .counters cimport EngineCounters
from .session cimport ReadySessions, Session
from .timers cimport TimerQueue

cdef int ACK
cdef int RST
cdef int SYN
cdef Py_ssize_t RECORD_SIZE


cdef class Engine:
    cdef public MirrorConfig config
    cdef public EngineCounters counters
    cdef object _targets
    cdef public object _network
    cdef object _clients
    cdef object _sampler
    cdef Segment _segment
    cdef object _handshakes
    cdef object _midstream
    cdef ResponseRecord _record
    cdef dict _connections
    cdef dict _sessions
    cdef object _remembered
    cdef readonly TimerQueue _timers
    cdef ReadySessions _ready
    cdef list _outbox
    cdef object _events
    cdef object _checks
    cdef double _drops_at
    cdef bint _feedback

    @cython.locals(counters=EngineCounters, segment=Segment, reason=int, connection=ClientConnection)
    cpdef receive_segment(
        self,
        const unsigned char[::1] buffer,
        double now,
        bint is_checked=*,
        Py_ssize_t start=*,
        Py_ssize_t size=*,
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
    cpdef handle_timer(self, double now)
