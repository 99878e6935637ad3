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

export type Authority =
  Target | { readonly kind: 'udp' } | { readonly kind: 'icmp' } | { readonly kind: 'check' }
