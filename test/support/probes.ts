/** What a stranger may send to find out who answers. Only the data; `probe.ts` sends it. */
import { PREFACE } from './http2-frames.ts'
import { HTTP2_FIELD_PROBES } from './http2-field-probes.ts'
import { HTTP2_FRAME_PROBES } from './http2-frame-probes.ts'
import { END } from './probe.ts'
import type { Probe } from './probe.ts'

type Send = Probe['send']

const HTTP1 = { ALPNProtocols: ['http/1.1'] }
const HTTP2 = { ALPNProtocols: ['h2'] }
const WEAK = 'DEFAULT@SECLEVEL=0'
const REQUEST = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'
const CLOSE = 'Connection: close\r\n'

/** For these tests a TLS 1.2 ClientHello needs no real content; what matters is the record around it. */
const RECORD = Buffer.from([0x16, 0x03, 0x01, 0x00, 0x05])

const HANDSHAKES: Probe[] = [
  ...[
    [['h2']],
    [['http/1.1']],
    [['h2', 'http/1.1']],
    [['http/1.1', 'h2']],
    [['foo']],
    [['http/1.0']],
    [['h3']],
    [['foo', 'http/1.1']],
    [['h3', 'h2']],
  ].map(([ALPNProtocols = []]) => ({
    name: `alpn ${ALPNProtocols.join(' ')}`,
    tls: { ALPNProtocols },
    send: [],
    shows: 'frames' as const,
  })),
  { name: 'no alpn, request', tls: {}, send: [REQUEST] },
  ...(['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const).map((version) => ({
    name: `only ${version}`,
    tls: { minVersion: version, maxVersion: version, ciphers: WEAK, ...HTTP1 },
    send: [REQUEST],
  })),
  ...[
    'ECDHE-ECDSA-AES128-GCM-SHA256',
    'ECDHE-ECDSA-CHACHA20-POLY1305',
    'ECDHE-ECDSA-AES128-SHA',
    'ECDHE-ECDSA-AES256-SHA384',
    'AES128-SHA',
  ].map((ciphers) => ({
    name: `only ${ciphers}`,
    tls: { ciphers, maxVersion: 'TLSv1.2' as const },
    send: [],
  })),
  ...['P-256', 'P-384', 'P-521', 'X25519'].map((ecdhCurve) => ({
    name: `group ${ecdhCurve}`,
    tls: { ecdhCurve },
    send: [],
  })),
  ...['other.example', 'LOCALHOST', 'a.localhost'].map((servername) => ({
    name: `server name ${servername}`,
    tls: { servername, ...HTTP1 },
    send: [`GET / HTTP/1.1\r\nHost: ${servername}\r\n${CLOSE}\r\n`],
  })),
  {
    name: 'no server name',
    tls: { servername: '', ...HTTP1 },
    send: [`GET / HTTP/1.1\r\nHost: x\r\n${CLOSE}\r\n`],
  },
  { name: 'no server name, h2', tls: { servername: '', ...HTTP2 }, send: [], shows: 'frames' },
  { name: 'close after the handshake', tls: HTTP1, send: [END] },
  { name: 'close after the handshake, h2', tls: HTTP2, send: [END], shows: 'frames' },
]

const bare = (name: string, ...send: Send): Probe => ({ name: `bare: ${name}`, send })

const BARE: Probe[] = [
  bare('nothing', END),
  bare('silence'),
  bare('plain request', REQUEST),
  bare('plain request without version', 'GET /\r\n'),
  bare('plain HTTP/2 preface', PREFACE),
  bare('plain CONNECT', 'CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n'),
  bare('SSH', 'SSH-2.0-OpenSSH_9.9\r\n'),
  bare('SOCKS5', Buffer.from([5, 1, 0])),
  bare('zeros', Buffer.alloc(64)),
  bare('high bytes', Buffer.alloc(64, 0xff)),
  bare('SSLv2 hello', Buffer.from([0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10])),
  bare(
    'SSLv2 hello, whole',
    Buffer.from([0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10, ...Array(37).fill(5)]),
  ),
  bare('handshake record of nonsense', RECORD, 'hello'),
  bare('handshake record header only', RECORD),
  bare('handshake record, then the end', RECORD, END),
  bare('alert record', Buffer.from([0x15, 3, 1, 0, 2, 2, 40])),
  bare('application data record', Buffer.from([0x17, 3, 3, 0, 5]), 'hello'),
  bare('change cipher record', Buffer.from([0x14, 3, 3, 0, 1, 1])),
  bare('record of 65535 bytes', Buffer.from([0x16, 3, 1, 0xff, 0xff]), Buffer.alloc(2000)),
  bare('record of no bytes', Buffer.from([0x16, 3, 1, 0, 0])),
  bare('record of version 9', Buffer.from([0x16, 9, 9, 0, 5]), 'hello'),
  bare('ServerHello', Buffer.from([0x16, 3, 3, 0, 4, 2, 0, 0, 0])),
  bare('ClientHello of no bytes', Buffer.from([0x16, 3, 1, 0, 4, 1, 0, 0, 0])),
]

const http1 = (name: string, ...send: Send): Probe => ({ name: `http1: ${name}`, tls: HTTP1, send })
const head = (line: string, ...fields: string[]): string =>
  [line, 'Host: localhost', ...fields, '', ''].join('\r\n')

const HTTP1_PROBES: Probe[] = [
  { ...http1('request, to the letter', REQUEST), shows: 'text' },
  { ...http1('method PUT, to the letter', head('PUT / HTTP/1.1')), shows: 'text' },
  http1('request', REQUEST),
  http1('request and close', head('GET / HTTP/1.1', 'Connection: close')),
  http1('HTTP/1.0', 'GET / HTTP/1.0\r\n\r\n'),
  http1('HTTP/1.0 keep-alive', head('GET / HTTP/1.0', 'Connection: keep-alive')),
  http1('two requests at once', REQUEST + head('GET /missing HTTP/1.1')),
  http1('request, then our end', REQUEST, END),
  http1('HEAD', head('HEAD / HTTP/1.1')),
  http1('missing', head('GET /missing HTTP/1.1')),
  http1('directory', head('GET /dir HTTP/1.1')),
  http1('not modified', head('GET / HTTP/1.1', 'If-None-Match: *')),
  http1('range', head('GET / HTTP/1.1', 'Range: bytes=0-3')),
  http1('unsatisfiable range', head('GET / HTTP/1.1', 'Range: bytes=99999-')),
  ...['OPTIONS', 'PUT', 'DELETE', 'PATCH', 'TRACE', 'PROPFIND', 'FOO', 'G_T-X', 'get'].map((method) =>
    http1(`method ${method}`, head(`${method} / HTTP/1.1`)),
  ),
  http1('OPTIONS *', head('OPTIONS * HTTP/1.1')),
  http1('POST', head('POST / HTTP/1.1', 'Content-Length: 3') + 'a=b'),
  http1('POST without content', head('POST / HTTP/1.1', 'Content-Length: 100')),
  http1('POST, then a request', head('POST /missing HTTP/1.1', 'Content-Length: 3') + `a=b${REQUEST}`),
  http1(
    'POST in chunks',
    head('POST /missing HTTP/1.1', 'Transfer-Encoding: chunked') + '3\r\na=b\r\n0\r\n\r\n',
  ),
  http1('bad chunk', head('POST /missing HTTP/1.1', 'Transfer-Encoding: chunked') + 'zz\r\n'),
  { ...http1('unknown expectation, to the letter', head('GET / HTTP/1.1', 'Expect: foo')), shows: 'text' },
  http1('unknown expectation', head('GET / HTTP/1.1', 'Expect: foo')),
  http1(
    'unknown expectation with content',
    head('POST / HTTP/1.1', 'Expect: foo', 'Content-Length: 3') + 'a=b',
  ),
  http1('expect', head('POST /missing HTTP/1.1', 'Expect: 100-continue', 'Content-Length: 3')),
  http1(
    'expect, GET with content',
    head('GET / HTTP/1.1', 'Expect: 100-continue', 'Content-Length: 2', 'Connection: close') + 'ab',
  ),
  http1('huge content', head('POST / HTTP/1.1', 'Content-Length: 9999999999')),
  http1('bad content-length', head('POST / HTTP/1.1', 'Content-Length: x')),
  http1('two content-lengths', head('POST / HTTP/1.1', 'Content-Length: 1', 'Content-Length: 2')),
  http1('length and chunks', head('POST / HTTP/1.1', 'Content-Length: 4', 'Transfer-Encoding: chunked')),
  http1('unknown transfer-encoding', head('POST / HTTP/1.1', 'Transfer-Encoding: foo')),
  http1('no host', 'GET / HTTP/1.1\r\n\r\n'),
  http1('two hosts', head('GET / HTTP/1.1', 'Host: b')),
  http1('bad host', 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n'),
  http1('absolute form', head('GET http://localhost/ HTTP/1.1')),
  http1('target without slash', head('GET foo HTTP/1.1')),
  http1('HTTP/1.2', head('GET / HTTP/1.2')),
  http1('HTTP/2.0', head('GET / HTTP/2.0')),
  http1('HTTP/0.9', 'GET /\r\n'),
  http1('version nonsense', head('GET / XTTP/1.1')),
  http1('HTTP/2 preface', PREFACE),
  http1('line feeds only', 'GET / HTTP/1.1\nHost: localhost\n\n'),
  http1('empty lines first', `\r\n\r\n${REQUEST}`),
  http1('two spaces', head('GET  / HTTP/1.1')),
  http1('folded field', head('GET / HTTP/1.1', ' folded: x')),
  http1('space in a field name', head('GET / HTTP/1.1', 'Bad Name: x')),
  http1('field without colon', head('GET / HTTP/1.1', 'foo')),
  http1('control character in a field', head('GET / HTTP/1.1', 'X: \u0001')),
  http1('space after the version', head('GET / HTTP/1.1 ')),
  http1('UTF-8 in the target', Buffer.from(head('GET /\u00e9 HTTP/1.1'))),
  http1('NUL in a field', head('GET / HTTP/1.1', 'X: a\0b')),
  http1('control character in the target', head('GET /\u0001 HTTP/1.1')),
  http1('climbing path', head('GET /../../etc/passwd HTTP/1.1')),
  http1('bad escape', head('GET /%zz HTTP/1.1')),
  http1('field of 9000 bytes', head('GET / HTTP/1.1', `X: ${'a'.repeat(9000)}`)),
  http1(
    '40000 bytes of fields',
    head('GET / HTTP/1.1', ...Array.from({ length: 5 }, () => `X: ${'a'.repeat(8000)}`)),
  ),
  http1('target of 9000 bytes', head(`GET /${'a'.repeat(9000)} HTTP/1.1`)),
  http1('4000 bytes of cookies', head('GET / HTTP/1.1', `Cookie: ${'a'.repeat(4000)}`)),
  http1('200 fields', head('GET / HTTP/1.1', ...Array.from({ length: 200 }, (_, index) => `X-${index}: 1`))),
  http1('half a request', 'GET / HTTP/1.1\r\nHo'),
  http1('half a request, then our end', 'GET / HTTP/1.1\r\nHo', END),
  http1('garbage', Buffer.from([0, 1, 2, 3])),
  http1('upgrade to websocket', head('GET / HTTP/1.1', 'Upgrade: websocket', 'Connection: Upgrade')),
  http1(
    'upgrade to h2c',
    head('GET / HTTP/1.1', 'Upgrade: h2c', 'Connection: Upgrade, HTTP2-Settings', 'HTTP2-Settings: '),
  ),
  http1('Chrome, missing', head('GET /missing HTTP/1.1', 'User-Agent: Mozilla/5.0 Chrome/140.0')),
  http1('CONNECT without credentials', 'CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n'),
]

/** Every probe; names are unique. */
export const PROBES: readonly Probe[] = [
  ...HANDSHAKES,
  ...BARE,
  ...HTTP1_PROBES,
  ...HTTP2_FRAME_PROBES,
  ...HTTP2_FIELD_PROBES,
]
