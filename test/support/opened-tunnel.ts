/** A tunnel of a forwarder without a dispatcher, in promises. */
import { pino } from 'pino'
import type { Forwarder, OpenTunnel, TunnelContext, TunnelEnd } from '../../src/contract/forwarder.ts'
import type { StreamEnd } from '../../src/contract/stream-end.ts'

type ContextOptions = Partial<Pick<TunnelContext, 'user' | 'log' | 'privacy' | 'signal'>>

export interface OpenedTunnel {
  readonly tunnel: OpenTunnel
  readonly run: (stream: StreamEnd) => Promise<TunnelEnd>
}

/** Rejects with what the forwarder refuses with. */
export function openTunnel<Target>(
  forwarder: Forwarder<Target>,
  target: Target,
  options: ContextOptions = {},
): Promise<OpenedTunnel> {
  const opened = Promise.withResolvers<OpenedTunnel>()
  const ended = Promise.withResolvers<TunnelEnd>()
  const { signal = new AbortController().signal } = options
  forwarder.open(target, {
    user: options.user ?? 'alice',
    sessionId: 'session-1',
    protocol: 'HTTP2',
    log: options.log ?? pino({ level: 'silent' }),
    privacy: options.privacy ?? 'full',
    cancellation: signal,
    signal,
    onOpen: (tunnel) =>
      opened.resolve({
        tunnel,
        run: (stream) => {
          tunnel.run(stream)
          return ended.promise
        },
      }),
    onRefused: opened.reject,
    onEnd: ended.resolve,
    onFault: ended.reject,
  })
  return opened.promise
}
