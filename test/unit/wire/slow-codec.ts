/**
 * The oracle: a second codec of the tunnel's formats, slow and obvious. It works on hexadecimal text, one field after
 * the other, and shares nothing with the codec under test.
 */
import { isIP } from 'node:net'

/** `value` in exactly `bytes` bytes. */
export function hexOf(value: number, bytes: number): string {
  return value.toString(16).padStart(bytes * 2, '0')
}

function groups(part: string): string[] {
  return part === '' ? [] : part.split(':')
}

/** 32 hex digits. IPv6 must be given with all eight groups or one `::`. */
export function slowPadded(address: string): string {
  if (isIP(address) === 4) return '0'.repeat(24) + dottedHex(address)
  const tail = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(address)
  if (tail !== null) {
    const hex = dottedHex(tail[2] ?? '')
    return slowPadded(`${tail[1]}${hex.slice(0, 4)}:${hex.slice(4)}`)
  }
  const [left = '', right] = address.split('::')
  const head = groups(left)
  const rest = right === undefined ? [] : groups(right)
  const gap = right === undefined ? 0 : 8 - head.length - rest.length
  return [...head, ...Array<string>(gap).fill('0'), ...rest].map((group) => group.padStart(4, '0')).join('')
}

function dottedHex(address: string): string {
  return address
    .split('.')
    .map((octet) => hexOf(Number(octet), 1))
    .join('')
}

/** The address as the operating system's own formatter prints it, read back from padded bytes. */
export function slowUnpadded(hex: string): { address: string; family: 4 | 6 } {
  if (hex.startsWith('0'.repeat(24)) && hex !== `${'0'.repeat(31)}1`) {
    const octets = hex.slice(24).match(/../g) ?? []
    return { address: octets.map((octet) => String(parseInt(octet, 16))).join('.'), family: 4 }
  }
  const hextets = (hex.match(/.{4}/g) ?? []).map((group) => parseInt(group, 16).toString(16))
  if (hex.startsWith(`${'0'.repeat(20)}ffff`)) {
    const octets = hex.slice(24).match(/../g) ?? []
    return { address: `::ffff:${octets.map((octet) => String(parseInt(octet, 16))).join('.')}`, family: 6 }
  }
  return { address: new URL(`http://[${hextets.join(':')}]/`).hostname.slice(1, -1), family: 6 }
}

export interface SlowUplink {
  readonly source: string
  readonly sourcePort: number
  readonly destination: string
  readonly destinationPort: number
  readonly appName: string
  readonly payloadHex: string
}

export function slowUplink(datagram: SlowUplink): string {
  const name = Buffer.from(datagram.appName).toString('hex')
  const body = [
    slowPadded(datagram.source),
    hexOf(datagram.sourcePort, 2),
    slowPadded(datagram.destination),
    hexOf(datagram.destinationPort, 2),
    hexOf(name.length / 2, 1),
    name,
    datagram.payloadHex,
  ].join('')
  return hexOf(body.length / 2, 4) + body
}

/** Every frame of a whole stream; frames that are malformed appear as their reason. */
export function slowUplinkStream(hex: string): (SlowUplink | string)[] {
  const result: (SlowUplink | string)[] = []
  let rest = hex
  while (rest.length > 0) {
    const length = parseInt(rest.slice(0, 8), 16)
    const body = rest.slice(8, 8 + length * 2)
    rest = rest.slice(8 + length * 2)
    result.push(slowUplinkBody(body))
  }
  return result
}

function slowUplinkBody(body: string): SlowUplink | string {
  if (body.length < 74) return 'too_short'
  const nameEnd = 74 + parseInt(body.slice(72, 74), 16) * 2
  if (nameEnd > body.length) return 'app_name_overrun'
  if ((body.length - nameEnd) / 2 > 65_527) return 'payload_too_long'
  const name = Buffer.from(body.slice(74, nameEnd), 'hex')
  return {
    source: slowUnpadded(body.slice(0, 32)).address,
    sourcePort: parseInt(body.slice(32, 36), 16),
    destination: slowUnpadded(body.slice(36, 68)).address,
    destinationPort: parseInt(body.slice(68, 72), 16),
    appName: name.toString('utf8'),
    payloadHex: body.slice(nameEnd),
  }
}

export function slowDownlink(datagram: Omit<SlowUplink, 'appName'>): string {
  const body = [
    slowPadded(datagram.source),
    hexOf(datagram.sourcePort, 2),
    slowPadded(datagram.destination),
    hexOf(datagram.destinationPort, 2),
    datagram.payloadHex,
  ].join('')
  return hexOf(body.length / 2, 4) + body
}

function vector(bytes: number, hex: string): string {
  return hexOf(hex.length / 2, bytes) + hex
}

function text(value: string): string {
  return Buffer.from(value, 'latin1').toString('hex')
}

/** A ClientHello message without records. */
export function slowClientHello(hello: {
  randomHex: string
  serverName?: string
  alpn: readonly string[]
  /** Bytes of padding extension, to make it large. */
  padding?: number
}): string {
  const extensions = [
    hello.serverName === undefined
      ? ''
      : `0000${vector(2, vector(2, `00${vector(2, text(hello.serverName))}`))}`,
    hello.alpn.length === 0
      ? ''
      : `0010${vector(2, vector(2, hello.alpn.map((protocol) => vector(1, text(protocol))).join('')))}`,
    `002b${vector(2, vector(1, '03040303'))}`,
    hello.padding === undefined ? '' : `0015${vector(2, '00'.repeat(hello.padding))}`,
  ].join('')
  const body = `0303${hello.randomHex}${vector(1, '')}${vector(2, '13011302')}${vector(1, '00')}${vector(2, extensions)}`
  return `01${vector(3, body)}`
}

/** `message` in TLS records of at most `fragment` bytes. */
export function slowRecords(message: string, fragment: number): string {
  const pieces = message.match(new RegExp(`(?:..){1,${fragment}}`, 'g')) ?? []
  return pieces.map((piece) => `160301${hexOf(piece.length / 2, 2)}${piece}`).join('')
}
