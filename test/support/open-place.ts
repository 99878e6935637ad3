/** Admission to an HTTP/3 transport without limits. */
import type { ConnectionPlace } from '../../src/transport/http3/transport.ts'

export const openPlace = (): ConnectionPlace => ({ handshakeDone: () => {}, release: () => {} })
