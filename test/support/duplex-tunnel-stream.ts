/**
 * A `TunnelStream` made of any stream's end, as a transport makes one of its frames: a window that is credited, at most
 * one write after a false, and each event once. Complains when it is used against the contract.
 */
import type { Duplex } from 'node:stream'
import type { StreamEnd, StreamReset } from '../../src/contract/stream-end.ts'
import type { TunnelLoss, TunnelReceiver, TunnelStream } from '../../src/contract/tunnel-stream.ts'

const WINDOW_BYTES = 262_144

export class DuplexTunnelStream implements TunnelStream {
  readonly showsLoss = false
  deliveredBytes = 0
  creditedBytes = 0
  /** What was done against the contract. */
  readonly complaints: string[] = []
  readonly #end: StreamEnd
  readonly #io: Duplex
  #receiver: TunnelReceiver | undefined
  #cancelled = false
  #receivedEnd = false
  #sentEnd = false
  #over = false
  #writesWithoutRoom = 0

  constructor(end: StreamEnd) {
    this.#end = end
    this.#io = end.io
  }

  get unsentBytes(): number {
    return this.#io.writableLength
  }

  start(receiver: TunnelReceiver): void {
    if (this.#receiver !== undefined) this.complaints.push('started twice')
    this.#receiver = receiver
    if (this.#cancelled) return this.#lose('cancelled')
    if (this.#io.destroyed) return this.#onClose()
    const early = this.#io.read() as Buffer | null
    if (early !== null) this.#onData(early)
    this.#io.on('data', this.#onData)
    this.#io.on('end', this.#onEnd)
    this.#io.on('drain', this.#onDrain)
    this.#io.on('finish', this.#onFinish)
    // A transport hears of a loss at once; 'close' comes in a later turn.
    this.#io.on('error', this.#onClose)
    this.#io.on('close', this.#onClose)
    if (this.#io.readableEnded) this.#onEnd()
    this.#io.resume()
  }

  write(from: Buffer, start: number, end: number): boolean {
    if (this.#over || this.#sentEnd) this.complaints.push('written after the end')
    const room = this.#io.write(Buffer.from(from.subarray(start, end)))
    // The buffer is the caller's again: nobody may look at it later.
    from.fill(0xdd, start, end)
    this.#writesWithoutRoom = room ? 0 : this.#writesWithoutRoom + 1
    if (this.#writesWithoutRoom > 2) this.complaints.push('written without room')
    return room
  }

  end(): void {
    if (this.#over || this.#sentEnd) this.complaints.push('ended after the end')
    this.#sentEnd = true
    if (this.#io.writableFinished) this.#onFinish()
    else this.#io.end()
  }

  credit(bytes: number): void {
    this.creditedBytes += bytes
    if (bytes <= 0 || this.creditedBytes > this.deliveredBytes) this.complaints.push('credited too much')
    if (this.deliveredBytes - this.creditedBytes < WINDOW_BYTES) this.#io.resume()
  }

  reset(reason: StreamReset): void {
    this.#stop()
    this.#end.reset(reason)
    this.#io.resume()
  }

  /** As `Exchange.cancel`. */
  cancel(): void {
    // A transport also cancels when the client's stream closes; the loss that is about to be reported says more.
    if (this.#io.destroyed && this.#receiver !== undefined) return
    this.#cancelled = true
    if (this.#receiver !== undefined) this.#lose('cancelled')
  }

  #lose(how: TunnelLoss): void {
    if (this.#over) return
    this.#stop()
    this.#receiver?.onLost(how)
  }

  #stop(): void {
    this.#over = true
    this.#io.off('data', this.#onData)
    this.#io.off('end', this.#onEnd)
    this.#io.off('drain', this.#onDrain)
    this.#io.off('finish', this.#onFinish)
    this.#io.off('error', this.#onClose)
    this.#io.off('close', this.#onClose)
  }

  readonly #onData = (chunk: Buffer): void => {
    this.deliveredBytes += chunk.length
    if (this.deliveredBytes - this.creditedBytes >= WINDOW_BYTES) this.#io.pause()
    this.#receiver?.onData(chunk)
  }

  readonly #onEnd = (): void => {
    this.#receivedEnd = true
    if (this.#sentEnd && this.#io.writableFinished) this.#stop()
    this.#receiver?.onEnd()
  }

  readonly #onDrain = (): void => {
    this.#writesWithoutRoom = 0
    this.#receiver?.onRoom()
  }

  readonly #onFinish = (): void => {
    // Node itself ends the writable side of an HTTP/2 stream that its peer resets.
    if (!this.#sentEnd || this.#over) return
    if (this.#receivedEnd) this.#stop()
    this.#receiver?.onFlushed()
  }

  readonly #onClose = (): void => {
    const { wasReset = this.#io.errored !== null } = this.#end
    this.#lose(wasReset ? 'reset' : 'left')
  }
}
