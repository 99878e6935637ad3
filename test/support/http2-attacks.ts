/** What a client over HTTP/2 may do to make the endpoint work for nothing. Only the frames, and what they lead to. */
import { ACK, END_HEADERS, END_STREAM, PADDED, frame, headerBlock, uint32 } from './http2-frames.ts'
import { connectFrame } from './raw-http2.ts'

export interface Http2Attack {
  readonly name: string
  /** Only somebody with credentials can do it, or is met by this limit first. */
  readonly forUsers?: true
  /** The label of `http2_limits_met`; undefined where RFC 9113 itself is broken. */
  readonly limit: string | undefined
  /** Of GOAWAY. */
  readonly code: number
  /** What is sent again and again until the connection ends. Streams below `first`, which is odd, are in use. */
  readonly round: (first: number) => Buffer
  /** Streams that a round uses. */
  readonly streams?: number
}

const NO_ERROR = 0
const COMPRESSION_ERROR = 9
const ENHANCE_YOUR_CALM = 11
const ROUND = 1000
const SMALL_ROUND = 10

const repeat = (count: number, make: (index: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, index) => make(index)))
const same = (count: number, one: Buffer): (() => Buffer) => {
  const all = repeat(count, () => one)
  return () => all
}

const GET = headerBlock([
  [':method', 'GET'],
  [':scheme', 'https'],
  [':path', '/'],
  [':authority', 'vpn.endpoint'],
])
const LARGE_FIELD = headerBlock([['x-large', 'v'.repeat(8000)]])
/** Literal with indexing: one entry that fills most of the table of 4096 bytes. */
const LARGE_ENTRY = Buffer.concat([Buffer.of(0x40, 1, 0x78, 0x7f, 0xa1, 0x1e), Buffer.alloc(4000, 'v')])
/** The newest entry, a byte each. */
const REFERENCES = Buffer.alloc(200, 0xbe)
const EMPTY_CONTINUATIONS = (stream: number): Buffer => repeat(40, () => frame('CONTINUATION', { stream }))

export const HTTP2_ATTACKS: readonly Http2Attack[] = [
  {
    name: 'streams that are opened and reset',
    forUsers: true,
    limit: 'client_resets',
    code: ENHANCE_YOUR_CALM,
    streams: ROUND,
    round: (first) =>
      repeat(ROUND, (index) =>
        Buffer.concat([
          connectFrame(first + 2 * index, '_udp2'),
          frame('RST_STREAM', { stream: first + 2 * index, payload: uint32(8) }),
        ]),
      ),
  },
  {
    name: 'streams that the endpoint is made to reset',
    forUsers: true,
    limit: 'own_resets',
    code: ENHANCE_YOUR_CALM,
    streams: ROUND,
    round: (first) =>
      repeat(ROUND, (index) =>
        Buffer.concat([
          connectFrame(first + 2 * index, '_udp2'),
          frame('WINDOW_UPDATE', { stream: first + 2 * index, payload: uint32(0x7fffffff) }),
        ]),
      ),
  },
  {
    name: 'resets of streams that are not open',
    limit: 'client_resets',
    code: ENHANCE_YOUR_CALM,
    round: same(ROUND, frame('RST_STREAM', { stream: 1, payload: uint32(8) })),
  },
  {
    name: 'streams above what may be open',
    limit: 'refused_streams',
    code: NO_ERROR,
    streams: ROUND / 4,
    // Without a window no answer can end its stream.
    round: (first) =>
      Buffer.concat([
        frame('SETTINGS', { payload: Buffer.concat([Buffer.of(0, 4), uint32(0)]) }),
        repeat(ROUND / 4, (index) =>
          frame('HEADERS', { stream: first + 2 * index, flags: END_HEADERS | END_STREAM, payload: GET }),
        ),
      ]),
  },
  {
    name: 'SETTINGS',
    limit: 'settings',
    code: ENHANCE_YOUR_CALM,
    round: same(SMALL_ROUND, frame('SETTINGS')),
  },
  {
    name: 'acknowledgements of SETTINGS',
    limit: 'settings',
    code: ENHANCE_YOUR_CALM,
    round: same(SMALL_ROUND, frame('SETTINGS', { flags: ACK })),
  },
  {
    name: 'PING',
    limit: 'pings',
    code: ENHANCE_YOUR_CALM,
    round: same(ROUND, frame('PING', { payload: '12345678' })),
  },
  {
    name: 'acknowledgements of PING',
    limit: 'pings',
    code: ENHANCE_YOUR_CALM,
    round: same(ROUND, frame('PING', { flags: ACK, payload: 'upload\0\0' })),
  },
  {
    name: 'PRIORITY',
    limit: 'priority',
    code: ENHANCE_YOUR_CALM,
    round: same(SMALL_ROUND, frame('PRIORITY', { stream: 3, payload: Buffer.alloc(5) })),
  },
  {
    name: 'frames of unknown types',
    limit: 'unknown_frames',
    code: ENHANCE_YOUR_CALM,
    round: same(ROUND, frame(0x77)),
  },
  {
    name: 'GOAWAY',
    limit: 'unknown_frames',
    code: ENHANCE_YOUR_CALM,
    round: same(ROUND, frame('GOAWAY', { payload: Buffer.alloc(8) })),
  },
  {
    name: 'empty DATA',
    limit: 'empty_data',
    code: ENHANCE_YOUR_CALM,
    round: same(ROUND, frame('DATA', { stream: 1 })),
  },
  {
    name: 'ends of streams that are not open',
    limit: 'empty_data',
    code: ENHANCE_YOUR_CALM,
    round: same(ROUND, frame('DATA', { stream: 99, flags: END_STREAM })),
  },
  {
    name: 'DATA of one byte',
    forUsers: true,
    limit: 'tiny_data',
    code: ENHANCE_YOUR_CALM,
    round: same(20 * ROUND, frame('DATA', { stream: 99, payload: 'x' })),
  },
  {
    name: 'WINDOW_UPDATE',
    forUsers: true,
    limit: 'window_updates',
    code: ENHANCE_YOUR_CALM,
    round: same(20 * ROUND, frame('WINDOW_UPDATE', { payload: uint32(1) })),
  },
  {
    name: 'content that nobody wants',
    limit: 'useless_bytes',
    code: NO_ERROR,
    round: same(SMALL_ROUND, frame('DATA', { stream: 99, payload: Buffer.alloc(16_384) })),
  },
  {
    name: 'padding',
    limit: 'useless_bytes',
    code: NO_ERROR,
    round: same(
      ROUND,
      frame('DATA', {
        stream: 99,
        flags: PADDED,
        payload: Buffer.concat([Buffer.of(255), Buffer.alloc(255)]),
      }),
    ),
  },
  {
    name: 'a head without end',
    limit: 'head_bytes',
    code: ENHANCE_YOUR_CALM,
    streams: 1,
    round: (stream) =>
      Buffer.concat([
        frame('HEADERS', { stream, payload: LARGE_FIELD }),
        repeat(10, () => frame('CONTINUATION', { stream, payload: LARGE_FIELD })),
      ]),
  },
  {
    name: 'a small head that becomes a large one',
    limit: 'head_bytes',
    code: ENHANCE_YOUR_CALM,
    streams: 1,
    round: (stream) =>
      frame('HEADERS', {
        stream,
        flags: END_HEADERS | END_STREAM,
        payload: Buffer.concat([LARGE_ENTRY, REFERENCES]),
      }),
  },
  {
    name: 'CONTINUATION without content',
    limit: 'continuations',
    code: ENHANCE_YOUR_CALM,
    streams: 1,
    round: (stream) =>
      Buffer.concat([frame('HEADERS', { stream, payload: GET }), EMPTY_CONTINUATIONS(stream)]),
  },
  {
    name: 'a table larger than announced',
    limit: undefined,
    code: COMPRESSION_ERROR,
    streams: 1,
    round: (stream) =>
      frame('HEADERS', {
        stream,
        flags: END_HEADERS | END_STREAM,
        // 31 + 4066: one more than 4096.
        payload: Buffer.concat([Buffer.of(0x3f, 0xe2, 0x1f), GET]),
      }),
  },
]
