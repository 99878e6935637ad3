/** Frames that a stranger may send over HTTP/2, most of them wrong. Only the data; `probe.ts` sends it. */
import {
  ACK,
  END_HEADERS,
  END_STREAM,
  frame,
  headerBlock,
  PADDED,
  PREFACE,
  PRIORITY,
  uint32,
} from './http2-frames.ts'
import {
  after,
  atOnce,
  data,
  GET,
  headers,
  http2,
  NO_WINDOW,
  replaced,
  settings,
  withFields,
} from './http2-probe.ts'
import { END } from './probe.ts'
import type { Probe } from './probe.ts'

const REQUEST = headers(GET)
const REQUEST_LINE = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'
const POST = replaced(':method', 'POST')
const LARGE = replaced(':path', '/large.txt')
const PING = frame('PING', { payload: '12345678' })
const MAX_WINDOW = 0x7fffffff
const DEFAULT_WINDOW = 65_535
const MAX_FRAME_BYTES = 16_384
/** As many streams as nginx allows at a time, and as many PRIORITY frames before a request. */
const NGINX_STREAMS = 128

const cancel = (stream: number, code = 8): Buffer => frame('RST_STREAM', { stream, payload: uint32(code) })
const credit = (stream: number, bytes: number): Buffer =>
  frame('WINDOW_UPDATE', { stream, payload: uint32(bytes) })
const priority = (stream: number, parent: number): Buffer =>
  frame('PRIORITY', { stream, payload: Buffer.concat([uint32(parent), Buffer.from([15])]) })
const continuation = (payload: Buffer, flags = END_HEADERS, stream = 1): Buffer =>
  frame('CONTINUATION', { flags, stream, payload })
const padded = (bytes: number, content: Buffer, padding: number): Buffer =>
  Buffer.concat([Buffer.from([bytes]), content, Buffer.alloc(padding)])
const prioritized = (parent: number, block: Buffer): Buffer =>
  Buffer.concat([uint32(parent), Buffer.from([15]), block])
const requests = (count: number): Buffer[] =>
  Array.from({ length: count }, (_, index) => headers(GET, END_HEADERS | END_STREAM, 1 + 2 * index))

/** A block in two parts. */
const [FIRST, REST] = [GET.subarray(0, 20), GET.subarray(20)]

const CONNECTION: Probe[] = [
  { ...http2('what is announced'), shows: 'all frames' },
  http2('silence'),
  http2('preface only', PREFACE),
  http2('half a preface', PREFACE.slice(0, 10)),
  http2('HTTP/1.1 request', REQUEST_LINE),
  http2('garbage', Buffer.alloc(64, 7)),
  http2('preface without SETTINGS', PREFACE, frame('PING', { payload: '12345678' })),
  after('SETTINGS'),
  after('request', headers(GET)),
  after('request for a missing page', headers(replaced(':path', '/missing'))),
  after('PING', frame('PING', { payload: '12345678' })),
  after('PING of 7 bytes', frame('PING', { payload: '1234567' })),
  after('PING on a stream', frame('PING', { stream: 1, payload: '12345678' })),
  after('SETTINGS of 5 bytes', frame('SETTINGS', { payload: '12345' })),
  after('SETTINGS acknowledged with content', frame('SETTINGS', { flags: ACK, payload: '123456' })),
  after(
    'SETTINGS with a window too large',
    frame('SETTINGS', { payload: Buffer.from([0, 4, 255, 255, 255, 255]) }),
  ),
  after('DATA on stream 0', frame('DATA', { payload: 'x' })),
  after('DATA on an idle stream', frame('DATA', { stream: 1, payload: 'x' })),
  after('HEADERS on stream 0', headers(GET, END_HEADERS | END_STREAM, 0)),
  after('HEADERS on an even stream', headers(GET, END_HEADERS | END_STREAM, 2)),
  after('HEADERS that do not end', headers(GET, END_STREAM)),
  after(
    'HEADERS, then DATA of another stream',
    headers(GET, END_STREAM),
    frame('DATA', { stream: 1, payload: 'x' }),
  ),
  after('broken header block', headers(Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]))),
  after('CONTINUATION alone', frame('CONTINUATION', { stream: 1, flags: END_HEADERS, payload: GET })),
  after('WINDOW_UPDATE of nothing', frame('WINDOW_UPDATE', { payload: uint32(0) })),
  after('WINDOW_UPDATE too far', frame('WINDOW_UPDATE', { payload: uint32(0x7fffffff) })),
  after('RST_STREAM of an idle stream', frame('RST_STREAM', { stream: 1, payload: uint32(8) })),
  after('PUSH_PROMISE', frame('PUSH_PROMISE', { stream: 1, payload: uint32(2) })),
  after('PRIORITY', frame('PRIORITY', { stream: 1, payload: Buffer.from([0, 0, 0, 0, 15]) })),
  after('unknown frame', frame(99, { payload: 'x' })),
  after('frame of 16385 bytes', frame('DATA', { stream: 1, payload: Buffer.alloc(16_385) })),
  after('GOAWAY', frame('GOAWAY', { payload: Buffer.alloc(8) })),
  after('our end', END),
]

const DATA: Probe[] = [
  atOnce('padded DATA of no bytes', data('', PADDED)),
  atOnce('DATA with more padding than content', data(padded(5, Buffer.from('abcd'), 0), PADDED)),
  atOnce('DATA that is all padding', data(padded(4, Buffer.alloc(0), 4), PADDED)),
  atOnce('DATA on an even stream', data('x', 0, 2)),
  atOnce('request, then DATA', REQUEST, data('x')),
  atOnce('request that goes on', headers(GET, END_HEADERS)),
  atOnce('request that goes on, then DATA', headers(GET, END_HEADERS), data('x'), data('y', END_STREAM)),
  atOnce('POST with content', headers(POST, END_HEADERS), data('abc', END_STREAM)),
  atOnce(
    'POST with more content than the window',
    headers(POST, END_HEADERS),
    ...Array.from({ length: 5 }, () => data(Buffer.alloc(MAX_FRAME_BYTES))),
  ),
  atOnce('stalled answer, then DATA', NO_WINDOW, REQUEST, data('x')),
  atOnce(
    'stalled answer to a request that goes on, then more DATA than the window',
    NO_WINDOW,
    headers(GET, END_HEADERS),
    ...Array.from({ length: 5 }, () => data(Buffer.alloc(MAX_FRAME_BYTES))),
  ),
]

const HEADERS: Probe[] = [
  atOnce('HEADERS again after the answer', REQUEST, REQUEST),
  atOnce(
    'stream 5, then 3',
    headers(GET, END_HEADERS | END_STREAM, 5),
    headers(GET, END_HEADERS | END_STREAM, 3),
  ),
  atOnce('stalled answer, then HEADERS', NO_WINDOW, REQUEST, REQUEST),
  atOnce('trailers', headers(POST, END_HEADERS), data('abc'), headers(headerBlock([['x', 'y']]))),
  atOnce(
    'HEADERS that depend on themselves',
    headers(prioritized(1, GET), END_HEADERS | END_STREAM | PRIORITY),
  ),
  atOnce('HEADERS with a priority', headers(prioritized(7, GET), END_HEADERS | END_STREAM | PRIORITY)),
  atOnce('HEADERS with half a priority', headers(Buffer.alloc(3), END_HEADERS | END_STREAM | PRIORITY)),
  atOnce('HEADERS of a priority alone', headers(Buffer.alloc(5), END_HEADERS | END_STREAM | PRIORITY)),
  atOnce('HEADERS of no bytes', headers(Buffer.alloc(0))),
  atOnce('HEADERS with padding', headers(padded(5, GET, 5), END_HEADERS | END_STREAM | PADDED)),
  atOnce('HEADERS with too much padding', headers(padded(255, GET, 0), END_HEADERS | END_STREAM | PADDED)),
  atOnce(
    'HEADERS that are all padding',
    headers(padded(40, Buffer.alloc(0), 40), END_HEADERS | END_STREAM | PADDED),
  ),
  atOnce('HEADERS with unknown flags', headers(GET, END_HEADERS | END_STREAM | 0xd2)),
  atOnce('HEADERS with the reserved bit', headers(GET, END_HEADERS | END_STREAM, 0x80000001)),
  atOnce('CONTINUATION', headers(FIRST, END_STREAM), continuation(REST)),
  atOnce('CONTINUATION of no bytes', headers(GET, END_STREAM), continuation(Buffer.alloc(0))),
  atOnce(
    'padded HEADERS, then CONTINUATION',
    headers(padded(5, FIRST, 5), END_STREAM | PADDED),
    continuation(REST),
  ),
  atOnce('CONTINUATION of another stream', headers(FIRST, END_STREAM), continuation(REST, END_HEADERS, 3)),
  atOnce(
    'CONTINUATION that ends the stream',
    headers(FIRST, 0),
    continuation(REST, END_HEADERS | END_STREAM),
  ),
  atOnce('CONTINUATION after the last', REQUEST, continuation(Buffer.alloc(0))),
  atOnce('HEADERS, then PING', headers(FIRST, END_STREAM), PING),
  atOnce('HEADERS, then an unknown frame', headers(FIRST, END_STREAM), frame(99, { stream: 1 })),
]

const CONTROL: Probe[] = [
  atOnce('PRIORITY of 4 bytes', frame('PRIORITY', { stream: 1, payload: Buffer.alloc(4) })),
  atOnce('PRIORITY on stream 0', priority(0, 1)),
  atOnce('PRIORITY that depends on itself', priority(1, 1)),
  atOnce('127 PRIORITY', ...Array.from({ length: NGINX_STREAMS - 1 }, () => priority(1, 3))),
  atOnce('128 PRIORITY', ...Array.from({ length: NGINX_STREAMS }, () => priority(1, 3))),
  atOnce('RST_STREAM of 3 bytes', frame('RST_STREAM', { stream: 1, payload: Buffer.alloc(3) })),
  atOnce('RST_STREAM on stream 0', cancel(0)),
  atOnce('RST_STREAM after the answer', REQUEST, cancel(1), PING),
  atOnce('stalled answer, then RST_STREAM', NO_WINDOW, REQUEST, cancel(1), PING),
  atOnce('SETTINGS on a stream', frame('SETTINGS', { stream: 1 })),
  ...(
    [
      ['push as 2', 2, 2],
      ['push as 1', 2, 1],
      ['the largest window', 4, MAX_WINDOW],
      ['frames too small', 5, MAX_FRAME_BYTES - 1],
      ['frames too large', 5, 0x1000000],
      ['no table', 1, 0],
      ['an unknown key', 99, 7],
    ] as const
  ).map(([what, id, value]) => atOnce(`SETTINGS with ${what}`, settings([id, value]))),
  atOnce('SETTINGS three times', settings(), settings(), settings()),
  atOnce('SETTINGS acknowledged twice', frame('SETTINGS', { flags: ACK }), frame('SETTINGS', { flags: ACK })),
  atOnce('SETTINGS with two flags', frame('SETTINGS', { flags: ACK | 2 })),
  atOnce('PING acknowledged', frame('PING', { flags: ACK, payload: '12345678' }), PING),
  atOnce('PING acknowledged on a stream', frame('PING', { flags: ACK, stream: 1, payload: '12345678' })),
  atOnce('GOAWAY of 7 bytes', frame('GOAWAY', { payload: Buffer.alloc(7) })),
  atOnce('GOAWAY on a stream', frame('GOAWAY', { stream: 1, payload: Buffer.alloc(8) })),
  atOnce('GOAWAY, then a request', frame('GOAWAY', { payload: Buffer.alloc(12) }), REQUEST),
  atOnce('WINDOW_UPDATE of 3 bytes', frame('WINDOW_UPDATE', { payload: Buffer.alloc(3) })),
  atOnce('WINDOW_UPDATE of nothing on a stream', credit(1, 0)),
  atOnce('WINDOW_UPDATE of an idle stream', credit(1, 1)),
  atOnce('WINDOW_UPDATE to the limit', credit(0, MAX_WINDOW - DEFAULT_WINDOW)),
  atOnce('WINDOW_UPDATE after the answer', REQUEST, credit(1, MAX_WINDOW)),
  atOnce('stalled answer, then WINDOW_UPDATE too far', headers(LARGE), credit(1, MAX_WINDOW)),
  atOnce(
    'stalled answer, then SETTINGS with a window too far',
    headers(LARGE),
    credit(1, MAX_WINDOW - DEFAULT_WINDOW),
    settings([4, MAX_WINDOW]),
  ),
  atOnce(
    'unknown frame of 20000 bytes',
    frame(99, { stream: 7, flags: 255, payload: Buffer.alloc(20_000) }),
    PING,
  ),
  atOnce('three requests', ...requests(3)),
  atOnce('a request and PING', REQUEST, PING),
  atOnce('one stream more than allowed', NO_WINDOW, ...requests(NGINX_STREAMS + 1)),
]

const ANSWERS: Probe[] = [
  atOnce('large file', headers(LARGE)),
  atOnce(
    'large file, frames of any size',
    settings([5, 0xffffff], [4, 70_000]),
    credit(0, 70_000),
    headers(LARGE),
  ),
  atOnce('large file, window of 4 bytes', settings([4, 4]), headers(LARGE)),
  atOnce('window of 4 bytes, then 2 more', settings([4, 4]), REQUEST, credit(1, 2)),
  { ...atOnce('request, to the letter', REQUEST), shows: 'header blocks' },
  { ...atOnce('no table, then a request, to the letter', settings([1, 0]), REQUEST), shows: 'header blocks' },
  {
    ...atOnce('missing page, to the letter', headers(replaced(':path', '/missing'))),
    shows: 'header blocks',
  },
  { ...atOnce('POST, to the letter', headers(POST)), shows: 'header blocks' },
  { ...atOnce('HEAD, to the letter', headers(replaced(':method', 'HEAD'))), shows: 'header blocks' },
  {
    ...atOnce('not modified, to the letter', headers(withFields(['if-none-match', '*']))),
    shows: 'header blocks',
  },
  { ...atOnce('range, to the letter', headers(withFields(['range', 'bytes=0-3']))), shows: 'header blocks' },
  {
    ...atOnce('unsatisfiable range, to the letter', headers(withFields(['range', 'bytes=999999-']))),
    shows: 'header blocks',
  },
]

export const HTTP2_FRAME_PROBES: readonly Probe[] = [
  ...CONNECTION,
  ...DATA,
  ...HEADERS,
  ...CONTROL,
  ...ANSWERS,
]
