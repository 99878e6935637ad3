/**
 * A raw ICMP or ICMPv6 socket on the event loop (specification 7). Node has none, so libc is called through koffi, but
 * only to open, configure and send: for receiving, the descriptor takes the place of a UDP socket that Node already
 * watches. `docs/decisions/003-raw-sockets.md` says why, and what this relies on. Linux only. Needs CAP_NET_RAW.
 */
import { createSocket, type Socket } from 'node:dgram'
import { getSystemErrorMap, getSystemErrorName } from 'node:util'
import koffi from 'koffi'
import { EndpointError } from '../errors.ts'
import { ICMP_TYPES_WANTED, ICMPV6_TYPES_WANTED } from './icmp-packet.ts'

// <sys/socket.h>, <netinet/in.h>, <linux/icmp.h> and <fcntl.h>; the same numbers on x86-64 and arm64.
const AF_INET = 2
const AF_INET6 = 10
const SOCK_DGRAM = 2
const SOCK_RAW = 3
const SOCK_NONBLOCK = 0o4000
const CLOSE_ON_EXEC = 0o2000000
const IPPROTO_ICMP = 1
const IPPROTO_ICMPV6 = 58
const SOL_SOCKET = 1
const SO_RCVBUF = 8
const SO_BINDTODEVICE = 25
const SOL_IP = 0
const IP_TTL = 2
const SOL_IPV6 = 41
const IPV6_UNICAST_HOPS = 16
const SOL_RAW = 255
const ICMP_FILTER = 1
const ICMPV6_FILTER = 1
const EPERM = 1
const EACCES = 13
const EAFNOSUPPORT = 97

/** `sizeof(struct sockaddr_in)` and `sizeof(struct sockaddr_in6)`. */
const SOCKADDR_IN_BYTES = 16
const SOCKADDR_IN6_BYTES = 28

interface Libc {
  socket(family: number, type: number, protocol: number): number
  setsockopt(fd: number, level: number, name: number, value: Buffer, length: number): number
  sendto(fd: number, data: Buffer, length: number, flags: number, address: Buffer, size: number): number
  dup3(from: number, to: number, flags: number): number
  close(fd: number): number
}

let loaded: Libc | undefined

/** The C library that the process itself uses: with `null` no file name has to be guessed (glibc, musl). */
function libc(): Libc {
  if (loaded !== undefined) return loaded
  const library = koffi.load(null)
  loaded = {
    socket: library.func('int socket(int, int, int)'),
    setsockopt: library.func('int setsockopt(int, int, int, const void *, unsigned int)'),
    sendto: library.func('long sendto(int, const void *, unsigned long, int, const void *, unsigned int)'),
    dup3: library.func('int dup3(int, int, int)'),
    close: library.func('int close(int)'),
  }
  return loaded
}

export interface RawSocketOptions {
  readonly family: 4 | 6
  /** Sends and receives through this interface only (SO_BINDTODEVICE). */
  readonly interfaceName?: string | undefined
  readonly receiveBufferBytes: number
  /** IPv4: the packet with its IP header; IPv6: the ICMPv6 message. `source` is text and may carry a zone. */
  readonly onPacket: (packet: Buffer, source: string) => void
  readonly onError: (error: Error) => void
}

/** `EAGAIN`, `ENETUNREACH`. */
export type SystemCode = `E${string}`

export interface RawSocket {
  /**
   * Sends an ICMP message with the given TTL or hop limit (1 to 255) to an address of 4 or 16 bytes. Never blocks.
   * Returns the name of the system's error (`EAGAIN`, `ENETUNREACH`), undefined on success.
   */
  send(message: Buffer, destination: Uint8Array, hops: number): SystemCode | undefined
  /** Idempotent. */
  close(): void
}

/**
 * @throws EndpointError `config_invalid` without CAP_NET_RAW or without the interface, `unsupported` when the kernel
 * lacks the address family.
 */
export function openRawSocket(options: RawSocketOptions): RawSocket {
  if (process.platform !== 'linux') throw new EndpointError('config_invalid', 'ICMP needs Linux')
  const v4 = options.family === 4
  const family = v4 ? AF_INET : AF_INET6
  const flags = SOCK_NONBLOCK | CLOSE_ON_EXEC
  const raw = libc().socket(family, SOCK_RAW | flags, v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6)
  if (raw < 0) throw openError(options.family)
  try {
    configure(raw, options)
    return new WatchedRawSocket(raw, options)
  } finally {
    // At this point either the copy is in use or the attempt has failed.
    libc().close(raw)
  }
}

function openError(family: 4 | 6): EndpointError {
  const errno = koffi.errno()
  if (errno === EPERM || errno === EACCES) {
    return new EndpointError(
      'config_invalid',
      'ICMP needs the capability CAP_NET_RAW: put AmbientCapabilities=CAP_NET_RAW into the systemd unit, ' +
        `or run: setcap cap_net_raw+ep ${process.execPath}`,
    )
  }
  const code = errno === EAFNOSUPPORT ? 'unsupported' : 'config_invalid'
  return new EndpointError(code, `cannot open an ICMP socket for IPv${family}: ${errnoText(errno)}`)
}

function errnoText(errno: number): string {
  return getSystemErrorMap().get(-errno)?.join(': ') ?? `errno ${errno}`
}

function configure(fd: number, options: RawSocketOptions): void {
  const { family, interfaceName } = options
  // A set bit blocks the type; 32-bit words in the byte order of the machine.
  const filter = family === 4 ? new Uint32Array(1) : new Uint32Array(8)
  filter.fill(0xffff_ffff)
  for (const type of family === 4 ? ICMP_TYPES_WANTED : ICMPV6_TYPES_WANTED) {
    filter[type >>> 5] = (filter[type >>> 5] ?? 0) & ~(1 << (type & 31))
  }
  const filterBytes = Buffer.from(filter.buffer)
  if (family === 4) setOption(fd, SOL_RAW, ICMP_FILTER, filterBytes, 'ICMP_FILTER')
  else setOption(fd, IPPROTO_ICMPV6, ICMPV6_FILTER, filterBytes, 'ICMPV6_FILTER')
  setOption(fd, SOL_SOCKET, SO_RCVBUF, intBytes(options.receiveBufferBytes), 'SO_RCVBUF')
  if (interfaceName !== undefined) {
    const name = Buffer.from(`${interfaceName}\0`)
    setOption(fd, SOL_SOCKET, SO_BINDTODEVICE, name, `interface ${interfaceName}`)
  }
}

function setOption(fd: number, level: number, name: number, value: Buffer, what: string): void {
  if (libc().setsockopt(fd, level, name, value, value.length) === 0) return
  throw new EndpointError('config_invalid', `ICMP socket: ${what}: ${errnoText(koffi.errno())}`)
}

function intBytes(value: number): Buffer {
  return Buffer.from(new Int32Array([value]).buffer)
}

class WatchedRawSocket implements RawSocket {
  readonly #watcher: Socket
  readonly #family: 4 | 6
  readonly #fd: number
  /** `struct sockaddr_in` or `sockaddr_in6`; only the address changes. */
  readonly #address: Buffer
  readonly #hops = new Int32Array(1)
  readonly #hopsBytes = Buffer.from(this.#hops.buffer)
  #closed = false

  constructor(raw: number, options: RawSocketOptions) {
    this.#family = options.family
    const family = options.family === 4 ? AF_INET : AF_INET6
    this.#address = Buffer.alloc(options.family === 4 ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES)
    new Uint16Array(this.#address.buffer, this.#address.byteOffset, 1)[0] = family
    this.#watcher = createSocket(options.family === 4 ? 'udp4' : 'udp6')
    this.#watcher.on('error', options.onError)
    this.#watcher.on('message', (packet, from) => options.onPacket(packet, from.address))
    this.#fd = this.#adopt(raw, family)
  }

  /**
   * Node opens a plain UDP socket. Before the event loop starts to watch its descriptor (it does so when it next waits
   * for events), the raw socket takes over that descriptor. Both steps must happen in the same turn.
   */
  #adopt(raw: number, family: number): number {
    const fd = libc().socket(family, SOCK_DGRAM | SOCK_NONBLOCK | CLOSE_ON_EXEC, 0)
    if (fd < 0) throw openError(this.#family)
    this.#watcher.bind({ fd })
    if (libc().dup3(raw, fd, CLOSE_ON_EXEC) < 0) {
      const error = openError(this.#family)
      this.#watcher.close()
      throw error
    }
    return fd
  }

  send(message: Buffer, destination: Uint8Array, hops: number): SystemCode | undefined {
    if (this.#closed) return 'EBADF'
    if (this.#hops[0] !== hops) {
      this.#hops[0] = hops
      const [level, name] = this.#family === 4 ? [SOL_IP, IP_TTL] : [SOL_IPV6, IPV6_UNICAST_HOPS]
      if (libc().setsockopt(this.#fd, level, name, this.#hopsBytes, this.#hopsBytes.length) !== 0) {
        this.#hops[0] = 0
        return errnoName()
      }
    }
    this.#address.set(destination, this.#family === 4 ? 4 : 8)
    const sent = libc().sendto(this.#fd, message, message.length, 0, this.#address, this.#address.length)
    return sent < 0 ? errnoName() : undefined
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#watcher.close()
  }
}

function errnoName(): SystemCode {
  return getSystemErrorName(-koffi.errno()) as SystemCode
}
