/**
 * `_icmp`: echo requests of a client over one stream (specification 7). The client never learns that a request could
 * not be sent or was not answered, because the format has no way to say it.
 */
import type { EchoChannel } from '../contract/echo-channel.ts'
import type { Counters } from '../counters.ts'
import { EndpointError } from '../errors.ts'
import { DatagramQueue, type QueuedDatagram } from '../relay/datagram-queue.ts'
import type { Forwarder, TunnelContext, TunnelEnd } from '../contract/forwarder.ts'
import type { StreamEnd } from '../contract/stream-end.ts'
import {
  encodeIcmpReply,
  ICMP_REPLY_BYTES,
  ICMP_REQUEST_BYTES,
  IcmpRequestDecoder,
  type IcmpReply,
} from '../wire/icmp-frame.ts'
import { StreamLifetime, type StreamHandlers } from './stream-lifetime.ts'

/** Sends echo requests; `egress/icmp.ts` does. */
interface EchoSender {
  open(user: string, onReply: (reply: IcmpReply) => void): EchoChannel
}

interface IcmpForwarderOptions {
  /** Undefined when ICMP is not enabled. */
  readonly sender: EchoSender | undefined
  readonly counters: Counters
  /** Replies that may wait for one slow client. */
  readonly queueCapacity: number
}

export class IcmpForwarder implements Forwarder<undefined> {
  readonly #options: IcmpForwarderOptions

  constructor(options: IcmpForwarderOptions) {
    this.#options = options
  }

  /** Without raw sockets it is `not_available`. */
  open(_target: undefined, context: TunnelContext): void {
    const { sender } = this.#options
    if (sender === undefined)
      return context.onRefused(new EndpointError('not_available', 'ICMP is not enabled'))
    context.onOpen({
      run: (stream) => {
        const running = new IcmpStream(stream, context, sender, this.#options).run()
        void running.then(
          (end) => context.onEnd(end),
          (error: unknown) => context.onFault(error),
        )
      },
      destroy: () => {},
    })
  }
}

class EncodedReply implements QueuedDatagram {
  readonly size = ICMP_REPLY_BYTES
  readonly #reply: IcmpReply

  constructor(reply: IcmpReply) {
    this.#reply = reply
  }

  writeTo(target: Buffer, offset: number): void {
    target.set(encodeIcmpReply(this.#reply), offset)
  }
}

/** One `_icmp` stream while it runs. */
class IcmpStream implements StreamHandlers {
  readonly #stream: StreamEnd
  readonly #context: TunnelContext
  readonly #decoder = new IcmpRequestDecoder()
  readonly #channel: EchoChannel
  readonly #queue: DatagramQueue
  #uplinkBytes = 0
  #downlinkBytes = 0

  constructor(stream: StreamEnd, context: TunnelContext, sender: EchoSender, options: IcmpForwarderOptions) {
    this.#stream = stream
    this.#context = context
    const capacity = options.queueCapacity
    this.#queue = new DatagramQueue(stream.io, {
      maxBytes: capacity * ICMP_REPLY_BYTES,
      maxDatagrams: capacity,
      onDrop: () => options.counters.count('icmp_drops', 'queue'),
    })
    this.#channel = sender.open(context.user, (reply) => {
      if (this.#queue.push(new EncodedReply(reply))) this.#downlinkBytes += ICMP_REPLY_BYTES
    })
  }

  /** Runs until the client ends the stream, it is reset, or the context's signal fires. Never rejects. */
  async run(): Promise<TunnelEnd> {
    const reason = await new StreamLifetime(this.#stream, this.#context, this).run()
    return { reason, uplinkBytes: this.#uplinkBytes, downlinkBytes: this.#downlinkBytes }
  }

  onData(chunk: Buffer): void {
    for (const request of this.#decoder.push(chunk)) {
      this.#uplinkBytes += ICMP_REQUEST_BYTES
      this.#channel.send(request)
    }
  }

  /** The client has ended its own side, so it is not waiting for answers any more. */
  onClientEnd(): void {
    this.#channel.close()
    this.#queue.end()
  }

  onEnd(): void {
    this.#channel.close()
    this.#queue.close()
  }
}
