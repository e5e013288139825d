# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Packets by the ten million: mutated, taken in and checked in C, with the compiled flavour.

What it changes in a packet is what packets.py changes. A packet lies in the middle of other octets, as in a ring. Each
function makes `count` packets of those in `pool` and returns None, or the (last) packet that broke something.
"""

from libc.string cimport memcmp, memcpy, memmove, memset

from copytool.link.collector cimport ResponseCollector
from copytool.mirror.engine cimport Engine
from copytool.wire.segment cimport Segment, are_checksums_valid, parse_segment

cdef enum:
    BEFORE = 64
    ROOM = 2048
    REASONS = 9

ctypedef unsigned char octet
ctypedef unsigned int u32
ctypedef unsigned long long u64

cdef u64 state = 88172645463325252

cdef octet[16] ODD = [0, 1, 2, 3, 4, 5, 6, 7, 8, 0x0F, 0x20, 0x40, 0x7F, 0x80, 0xFE, 0xFF]
cdef octet[12] FLAGS = [0x02, 0x10, 0x18, 0x18, 0x11, 0x04, 0x14, 0x12, 0x06, 0x30, 0x00, 0x3F]
cdef octet[12] EXTENSIONS = [0, 43, 44, 50, 51, 59, 60, 60, 135, 6, 17, 58]
cdef int[12] STEPS = [1, 1, 2, 3, 10, 100, 1460, -1, -1, -2, -100, -1460]


cdef inline u32 chance(u32 limit) noexcept nogil:
    """Return a number below `limit` (xorshift64)."""
    global state
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return <u32>(((state >> 32) * limit) >> 32)


cdef inline u32 get16(const octet* at) noexcept nogil:
    return at[0] << 8 | at[1]


cdef inline void put16(octet* at, u32 number) noexcept nogil:
    at[0] = <octet>(number >> 8)
    at[1] = <octet>number


cdef inline u32 get32(const octet* at) noexcept nogil:
    return get16(at) << 16 | get16(at + 2)


cdef inline void add32(octet* at, int step) noexcept nogil:
    cdef u32 number = get32(at) + <u32>step
    put16(at, number >> 16)
    put16(at + 2, number)


cdef u64 sum16(const octet* at, Py_ssize_t size) noexcept nogil:
    cdef u64 total = 0
    while size > 1:
        total += get16(at)
        at += 2
        size -= 2
    return total + (at[0] << 8 if size else 0)


cdef inline u32 folded(u64 total) noexcept nogil:
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return <u32>total ^ 0xFFFF


cdef Py_ssize_t tcp_start(const octet* packet, Py_ssize_t size) noexcept nogil:
    """Return where the TCP header should be, 0 if it is not there."""
    cdef Py_ssize_t start = (packet[0] & 15) << 2
    cdef octet following
    if size < 40:
        return 0
    if packet[0] >> 4 != 4:
        start, following = 40, packet[6]
        while following in (0, 43, 60) and start + 8 <= size:
            following = packet[start]
            start += (packet[start + 1] + 1) << 3
    return start if 20 <= start <= size - 20 else 0


cdef void make_valid(octet* packet, Py_ssize_t size) noexcept nogil:
    """Put length and checksums right."""
    cdef Py_ssize_t start = tcp_start(packet, size)
    cdef u64 pseudo
    if not start:
        return
    if packet[0] >> 4 == 4:
        put16(packet + 2, <u32>size)
        put16(packet + 10, 0)
        put16(packet + 10, folded(sum16(packet, start)))
        pseudo = sum16(packet + 12, 8)
    else:
        put16(packet + 4, <u32>size - 40)
        pseudo = sum16(packet + 8, 32)
    put16(packet + start + 16, 0)
    put16(packet + start + 16, folded(pseudo + 6 + (size - start) + sum16(packet + start, size - start)))


cdef Py_ssize_t mutate(octet* packet, Py_ssize_t size) noexcept nogil:
    """Change the packet in one place; return its new size."""
    cdef Py_ssize_t start = tcp_start(packet, size)
    cdef Py_ssize_t half
    cdef u32 kind = chance(22)
    if size < 40 or not start:
        kind %= 4
    if kind == 0 and size:
        packet[chance(<u32>size)] ^= 1 << chance(8)
    elif kind == 1 and size:
        packet[chance(<u32>size if size < 80 else 80)] = ODD[chance(16)]
    elif kind == 2:
        return chance(<u32>size + 1)
    elif kind == 3 and size:
        packet[0] = <octet>((packet[0] & 0xF0 | chance(16)) if chance(4) else chance(256))
    elif kind < 7:
        add32(packet + start + 4, STEPS[chance(12)] if chance(8) else <int>chance(0xFFFFFFFF))
    elif kind < 9:
        add32(packet + start + 8, STEPS[chance(12)] if chance(8) else <int>chance(0xFFFFFFFF))
    elif kind < 12:
        packet[start + 13] = FLAGS[chance(12)]
    elif kind == 12:
        packet[start + 12] = <octet>(chance(16) << 4)
    elif kind == 13:
        put16(packet + start + 14, chance(65536) if chance(2) else chance(3))
    elif kind == 14:
        put16(packet + start + 18, chance(60))
        packet[start + 13] |= 0x20
    elif kind == 15:
        packet[start + 1] = <octet>(packet[start + 1] + chance(4))
    elif kind == 16 and start + 24 <= size:
        packet[start + 20 + chance(<u32>(size - start - 20))] = ODD[chance(16)]
        packet[start + 13] |= 2
    elif kind == 17:  # LAND
        half = 4 if packet[0] >> 4 == 4 else 16
        memcpy(packet + (12 if half == 4 else 8), packet + (16 if half == 4 else 24), half)
        if chance(4):
            memcpy(packet + start, packet + start + 2, 2)
    elif packet[0] >> 4 == 4:
        if kind == 18:
            put16(packet + 6, (chance(2) << 13) | chance(4) * 7)
        elif kind == 19:
            packet[9] = EXTENSIONS[chance(12)]
        else:
            put16(packet + 2, <u32>size + chance(5) - 2 if chance(4) else chance(65536))
    elif kind < 21 and size < ROOM - 256:
        half = 8 * (1 + (chance(3) if chance(8) else 0))
        memmove(packet + 40 + half, packet + 40, size - 40)
        memset(packet + 40, 0, half)
        packet[40], packet[6] = packet[6], EXTENSIONS[chance(12)]
        packet[41] = <octet>(half // 8 - 1) if chance(8) else ODD[chance(16)]
        return size + half
    else:
        put16(packet + 4, <u32>size + chance(5) - 42 if chance(4) else chance(65536))
    return size


cdef Py_ssize_t fill(octet* packet, bytes model, u32 untouched) noexcept:
    """Write a packet that is like `model`; one of `untouched` + 1 times just like it."""
    cdef Py_ssize_t size = len(model)
    cdef u32 changes
    memcpy(packet, <const octet*>model, size)
    if untouched and not chance(untouched + 1):
        return size
    for changes in range(1 + chance(3)):
        size = mutate(packet, size)
    if chance(2):
        make_valid(packet, size)
    return size


cdef bint is_sound(Segment segment, const octet* packet, Py_ssize_t at, Py_ssize_t size) except -1:
    """Return whether a segment's fields are those of the packet at `at`, and lie inside it."""
    cdef Py_ssize_t start = segment.tcp_start - at
    cdef Py_ssize_t header = segment.payload_start - segment.tcp_start
    cdef Py_ssize_t half = 4 if packet[0] >> 4 == 4 else 16
    cdef const octet* key = <const octet*>segment.key
    cdef const octet* tcp = packet + start
    if segment.ip_start != at or start < 20 or header < 20 or header > 60:
        return False
    if not 0 <= segment.captured_len <= segment.payload_len or start + header + segment.captured_len > size:
        return False
    if header != tcp[12] >> 4 << 2 or segment.flags != tcp[13] or segment.window != <int>get16(tcp + 14):
        return False
    if segment.seq != get32(tcp + 4) or segment.ack != get32(tcp + 8):
        return False
    if len(segment.key) != 2 * half + 4 or memcmp(key, packet + (12 if half == 4 else 8), 2 * half):
        return False
    if memcmp(key + 2 * half, tcp, 4) or (not memcmp(key, key + half, half) and not memcmp(tcp, tcp + 2, 2)):
        return False
    return 0 <= segment.mss <= 0xFFFF and -1 <= segment.window_scale <= 14


def seed(u64 number):
    """Begin another sequence of packets."""
    global state
    state = number or 1


def parse(list pool, long count, long[::1] reasons):
    """parse_segment() and are_checksums_valid(): each packet twice, among zeros and among ones.

    reasons: counts how often each was returned.
    """
    cdef bytearray memory = bytearray(ROOM + 2 * BEFORE)
    cdef octet[::1] view = memory
    cdef octet* packet = &view[BEFORE]
    cdef Segment segment = Segment()
    cdef u32 models = <u32>len(pool)
    cdef Py_ssize_t size
    cdef long done
    cdef int reason
    cdef bint valid
    for done in range(count):
        size = fill(packet, <bytes>pool[chance(models)], 0)
        memset(packet + size, 0xFF, BEFORE)
        reason = parse_segment(segment, view, BEFORE, size)
        if not reason:
            valid = are_checksums_valid(segment, view)
            if not is_sound(segment, packet, BEFORE, size):
                return bytes(memory[BEFORE : BEFORE + size])
            memset(packet + size, 0, BEFORE)
            if are_checksums_valid(segment, view) != valid:
                return bytes(memory[BEFORE : BEFORE + size])
        memset(packet + size, 0, BEFORE)
        if not 0 <= reason < REASONS or parse_segment(segment, view, BEFORE, size) != reason:
            return bytes(memory[BEFORE : BEFORE + size])
        reasons[reason] += 1
    return None


def collect(list pool, long count, ResponseCollector collector):
    """ResponseCollector.receive_packet(): nothing is raised. Whoever calls looks at the counters."""
    cdef bytearray memory = bytearray(ROOM + 2 * BEFORE)
    cdef octet[::1] view = memory
    cdef octet* packet = &view[BEFORE]
    cdef u32 models = <u32>len(pool)
    cdef Py_ssize_t size
    cdef long done
    for done in range(count):
        size = fill(packet, <bytes>pool[chance(models)], 0)
        try:
            collector.receive_packet(view, chance(2), BEFORE, size)
        except Exception:
            return bytes(memory[BEFORE : BEFORE + size])
    return None


def mirror(list pool, long count, Engine engine, double now):
    """Engine.receive_segment() of packets that follow each other in `pool`, most of them changed."""
    cdef bytearray memory = bytearray(ROOM + 2 * BEFORE)
    cdef octet[::1] view = memory
    cdef octet* packet = &view[BEFORE]
    cdef u32 models = <u32>len(pool)
    cdef u32 model = chance(models)
    cdef Py_ssize_t size
    cdef long done
    for done in range(count):
        model = (model + 1) % models if chance(8) else chance(models)
        size = fill(packet, <bytes>pool[model], 2)
        try:
            engine.receive_segment(view, now, chance(8) != 0, BEFORE, size)
        except Exception:
            return bytes(memory[BEFORE : BEFORE + size])
    return None


def answer(list pool, long count, Engine engine, double now, on_failure):
    """Engine.receive_records() of RECORDS frames with up to 16 records like those in `pool`, in this order or not."""
    cdef bytearray memory = bytearray(56 * 16)
    cdef octet[::1] view = memory
    cdef octet* record
    cdef u32 models = <u32>len(pool)
    cdef u32 model = chance(models)
    cdef u32 records, index
    cdef long done = 0
    while done < count:
        records = 1 + chance(16)
        for index in range(records):
            model = (model + 1) % models if chance(8) else chance(models)
            record = &view[index * 56]
            memcpy(record, <const octet*><bytes>pool[model], 56)
            change_record(record)
        engine.receive_records(view[: records * 56], now, on_failure)
        done += records
    return None


cdef void change_record(octet* record) noexcept nogil:
    cdef u32 kind = chance(10)
    if kind < 3:
        add32(record + 36 + 4 * chance(3), STEPS[chance(12)] if chance(8) else <int>chance(0xFFFFFFFF))
    elif kind == 3:
        record[52] = FLAGS[chance(12)]
    elif kind == 4:
        put16(record + 48, chance(65536) if chance(2) else chance(3))
    elif kind == 5:
        put16(record + 50, chance(1500) if chance(2) else chance(3))
    elif kind == 6:
        record[53 + chance(3)] = ODD[chance(16)]
    elif kind == 7:
        record[chance(56)] = <octet>chance(256)
