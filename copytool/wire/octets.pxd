"""The functions of octets.py in C, for the modules that are compiled."""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp, memcpy

cdef extern from "<arpa/inet.h>" nogil:
    unsigned int ntohl(unsigned int)
    unsigned int htonl(unsigned int)
    unsigned short ntohs(unsigned short)
    unsigned short htons(unsigned short)


@cython.boundscheck(False)
@cython.wraparound(False)
cdef inline const unsigned char* at_(const unsigned char[::1] view, Py_ssize_t at) noexcept:
    return &view[at]


cdef inline unsigned int get16(const unsigned char[::1] view, Py_ssize_t at) noexcept:
    cdef const unsigned char* octets = at_(view, at)
    return octets[0] << 8 | octets[1]


cdef inline unsigned int get32(const unsigned char[::1] view, Py_ssize_t at) noexcept:
    cdef unsigned int number
    memcpy(&number, at_(view, at), 4)
    return ntohl(number)


cdef inline void put16(bytearray buffer, Py_ssize_t at, unsigned int number) noexcept:
    cdef unsigned short swapped = htons(<unsigned short>number)
    memcpy(PyByteArray_AS_STRING(buffer) + at, &swapped, 2)


cdef inline void put32(bytearray buffer, Py_ssize_t at, unsigned int number) noexcept:
    cdef unsigned int swapped = htonl(number)
    memcpy(PyByteArray_AS_STRING(buffer) + at, &swapped, 4)


cdef inline void put(bytearray buffer, Py_ssize_t at, bytes octets) noexcept:
    memcpy(PyByteArray_AS_STRING(buffer) + at, PyBytes_AS_STRING(octets), PyBytes_GET_SIZE(octets))


cdef inline int append32(bytearray buffer, unsigned int number) except -1:
    cdef Py_ssize_t size = PyByteArray_GET_SIZE(buffer)
    PyByteArray_Resize(buffer, size + 4)
    put32(buffer, size, number)
    return 0


cdef inline int append(bytearray buffer, const unsigned char[::1] source, Py_ssize_t start, Py_ssize_t end) except -1:
    cdef Py_ssize_t size = PyByteArray_GET_SIZE(buffer)
    PyByteArray_Resize(buffer, size + end - start)
    memcpy(PyByteArray_AS_STRING(buffer) + size, at_(source, start), end - start)
    return 0


cdef inline bytes take(const unsigned char[::1] view, Py_ssize_t start, Py_ssize_t end):
    return PyBytes_FromStringAndSize(<const char*>at_(view, start), end - start)


cdef inline bytes part_of(bytearray buffer, Py_ssize_t start, Py_ssize_t end):
    return PyBytes_FromStringAndSize(PyByteArray_AS_STRING(buffer) + start, end - start)


cdef inline bytes join_slices(
    const unsigned char[::1] view, Py_ssize_t first, Py_ssize_t first_size, Py_ssize_t second, Py_ssize_t second_size
):
    cdef bytes joined = PyBytes_FromStringAndSize(NULL, first_size + second_size)
    cdef char* octets = PyBytes_AS_STRING(joined)
    memcpy(octets, at_(view, first), first_size)
    memcpy(octets + first_size, at_(view, second), second_size)
    return joined


cdef inline bytes join_ends(bytes src, unsigned int src_port, bytes dst, unsigned int dst_port):
    cdef Py_ssize_t size = PyBytes_GET_SIZE(src)
    cdef bytes joined = PyBytes_FromStringAndSize(NULL, 2 * size + 4)
    cdef char* octets = PyBytes_AS_STRING(joined)
    cdef unsigned int ports = htonl(src_port << 16 | dst_port)
    memcpy(octets, PyBytes_AS_STRING(src), size)
    memcpy(octets + size, PyBytes_AS_STRING(dst), size)
    memcpy(octets + 2 * size, &ports, 4)
    return joined


cdef inline unsigned int sum_octets(const unsigned char* octets, Py_ssize_t size) noexcept:
    # Of 32-bit digits in any byte order: the sum comes out in that order (RFC 1071, section 2), and is swapped once.
    cdef unsigned long long total = 0
    cdef unsigned int digit
    cdef unsigned short half
    while size >= 4:
        memcpy(&digit, octets, 4)
        total += digit
        octets += 4
        size -= 4
    if size >= 2:
        memcpy(&half, octets, 2)
        total += half
        octets += 2
        size -= 2
    if size:
        half = htons(<unsigned short>(octets[0] << 8))
        total += half
    # Masked by a cast: Cython would make the literal a Python object, and the sum with it.
    total = <unsigned int>total + (total >> 32)
    total = <unsigned int>total + (total >> 32)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return ntohs(<unsigned short>total)


cdef inline unsigned int ones_sum(const unsigned char[::1] view, Py_ssize_t start, Py_ssize_t end) noexcept:
    return sum_octets(at_(view, start), end - start)


cdef inline unsigned int ones_sum_of(bytes octets, Py_ssize_t size) noexcept:
    return sum_octets(<const unsigned char*>PyBytes_AS_STRING(octets), size)


cdef inline bint is_ipv4_mapped(const unsigned char[::1] view, Py_ssize_t at) noexcept:
    return memcmp(at_(view, at), b"\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0


cdef inline bint are_same(
    const unsigned char[::1] view, Py_ssize_t first, Py_ssize_t second, Py_ssize_t size
) noexcept:
    return memcmp(at_(view, first), at_(view, second), size) == 0


cdef extern from * nogil:
    """
    #define copytool_load(at) __atomic_load_n((at), __ATOMIC_ACQUIRE)
    #define copytool_store(at, value) __atomic_store_n((at), (value), __ATOMIC_RELEASE)
    """
    unsigned int copytool_load(const unsigned int* at)
    void copytool_store(unsigned int* at, unsigned int value)


cdef inline unsigned int native16(const unsigned char[::1] view, Py_ssize_t at) noexcept:
    cdef unsigned short number
    memcpy(&number, at_(view, at), 2)
    return number


cdef inline unsigned int native32(const unsigned char[::1] view, Py_ssize_t at) noexcept:
    cdef unsigned int number
    memcpy(&number, at_(view, at), 4)
    return number


cdef inline unsigned int load_status(const unsigned char[::1] view, Py_ssize_t at) noexcept:
    return copytool_load(<const unsigned int*>at_(view, at))


cdef inline void store_status(const unsigned char[::1] view, Py_ssize_t at, unsigned int status) noexcept:
    copytool_store(<unsigned int*>at_(view, at), status)
