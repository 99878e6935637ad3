/** What the dials of an egress share: whom they ask, and what they open connections with. */
import type { Socket } from 'node:net'
import type { Clock } from '../clock.ts'
import type { TcpEnd } from '../contract/stream-end.ts'
import type { Counters } from '../counters.ts'
import { EndpointError, type RefusalCode } from '../errors.ts'
import type { IpAddress } from '../wire/ip-address.ts'
import type { Connector } from './connection.ts'
import type { Deadlines } from './deadlines.ts'

/** The part of `EgressPolicy` that dialling needs. */
export interface DialPolicy {
  refusal(address: string, port: number): RefusalCode | undefined
  nameRefusal(port: number): RefusalCode | undefined
}

/** The part of `Resolver` that dialling needs. */
export interface DialResolver {
  resolve(host: string, options: { signal: AbortSignal }): Promise<IpAddress[]>
}

/** What all dials of an egress share. */
export interface DialEnvironment {
  readonly policy: DialPolicy
  readonly resolver: DialResolver
  /** Covers name resolution and every attempt. */
  readonly deadlines: Deadlines
  readonly clock: Clock
  readonly counters: Counters
  /** Whether there is a descriptor for one more connection. */
  readonly mayDial: () => boolean
  open(address: string, port: number, connector: Connector): Socket
  /** Counts what is worth counting. */
  onFailedConnection(error: Error): void
  endOf(socket: Socket): TcpEnd
}

/** Counted as it is made. */
export function noDescriptor({ counters }: DialEnvironment): EndpointError {
  counters.count('outbound_descriptors_exhausted')
  return new EndpointError('limit_exceeded', 'no descriptor is left for a connection')
}
