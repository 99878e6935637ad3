/** A DNS server on loopback that answers from a table (RFC 1035 section 4). Use it with `await using`. */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'

const TYPE_A = 1
const TYPE_AAAA = 28
const HEADER_BYTES = 12

export interface DnsAnswer {
  readonly addresses?: readonly Uint8Array[]
  readonly ttlSecs?: number
  /** 2 SERVFAIL, 3 NXDOMAIN. */
  readonly rcode?: number
  /** The answer is sent when this resolves; at once when absent. */
  readonly after?: Promise<unknown>
}

/** For `undefined` the server stays silent. */
export type DnsZone = (name: string, family: 4 | 6) => DnsAnswer | undefined

export class DnsServer implements AsyncDisposable {
  /** `4 name` or `6 name`, in the order of arrival. */
  readonly questions: string[] = []
  readonly #socket: Socket
  #onQuestion: (() => void) | undefined

  constructor(socket: Socket, zone: DnsZone) {
    this.#socket = socket
    socket.on('message', (message, peer) => {
      const { name, family, end } = readQuestion(message)
      this.questions.push(`${family} ${name}`)
      this.#onQuestion?.()
      const answer = zone(name, family)
      if (answer === undefined) return
      const reply = (): void =>
        socket.send(writeReply(message.subarray(0, end), answer), peer.port, peer.address)
      if (answer.after === undefined) reply()
      else answer.after.then(reply, () => {})
    })
  }

  static async open(zone: DnsZone): Promise<DnsServer> {
    const socket = createSocket('udp4').bind(0, '127.0.0.1')
    await once(socket, 'listening')
    return new DnsServer(socket, zone)
  }

  get server(): string {
    return `127.0.0.1:${this.#socket.address().port}`
  }

  /** Resolves when `count` questions have arrived. */
  async asked(count: number): Promise<void> {
    while (this.questions.length < count) {
      await new Promise<void>((resolve) => (this.#onQuestion = resolve))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close()
    await once(this.#socket, 'close')
  }
}

function readQuestion(message: Buffer): { name: string; family: 4 | 6; end: number } {
  const labels: string[] = []
  let at = HEADER_BYTES
  for (let length = message[at] ?? 0; length > 0; length = message[at] ?? 0) {
    labels.push(message.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  const type = message.readUInt16BE(at + 1)
  return { name: labels.join('.').toLowerCase(), family: type === TYPE_AAAA ? 6 : 4, end: at + 5 }
}

function writeReply(question: Buffer, answer: DnsAnswer): Buffer {
  const { addresses = [], ttlSecs = 60, rcode = 0 } = answer
  const head = Buffer.from(question)
  head.writeUInt16BE(0x8180 | rcode, 2)
  head.writeUInt16BE(addresses.length, 6)
  head.writeUInt16BE(0, 10)
  const records = addresses.map((address) => {
    const record = Buffer.alloc(12)
    record.writeUInt16BE(0xc000 | HEADER_BYTES, 0)
    record.writeUInt16BE(address.length === 4 ? TYPE_A : TYPE_AAAA, 2)
    record.writeUInt16BE(1, 4)
    record.writeUInt32BE(ttlSecs, 6)
    record.writeUInt16BE(address.length, 10)
    return Buffer.concat([record, address])
  })
  return Buffer.concat([head, ...records])
}
