/** What a CONNECT authority names (specification 5.1, 11.3 and appendix A). Values only; `authority.ts` parses. */

/** A TCP target. `address` is canonical text without brackets or zone. */
export type Target =
  | { readonly kind: 'address'; readonly address: string; readonly family: 4 | 6; readonly port: number }
  | { readonly kind: 'name'; readonly host: string; readonly port: number }

/** A destination after resolution: what is really dialled. */
export interface SocketAddress {
  readonly address: string
  readonly family: 4 | 6
  readonly port: number
}

/** A server that the operator names: `host` is a name or an address without brackets. */
interface HostPort {
  readonly host: string
  readonly port: number
}

/** Where a connection is passed on to, in the form that `net.connect` takes. */
export type PassTarget = HostPort | { readonly path: string }

/** A web server that the operator names. */
export interface HttpOrigin extends HostPort {
  /** `https:` verifies the certificate against the system's roots. */
  readonly protocol: 'http:' | 'https:'
}

/** Ports from `from` to `to`, both included. */
export interface PortRange {
  readonly from: number
  readonly to: number
}

export type Authority =
  Target | { readonly kind: 'udp' } | { readonly kind: 'icmp' } | { readonly kind: 'check' }
