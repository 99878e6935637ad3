/**
 * What a load needs of a client, whatever its HTTP version. The clients do as little work as they can: they share the
 * machine with what is measured.
 */

/** How a load process reaches the endpoint. */
export interface EndpointAccess {
  readonly address: string
  readonly port: number
  readonly serverName: string
  /** Value of `proxy-authorization`. */
  readonly authorization: string
}

export type Protocol = 'h1' | 'h2' | 'h3'

/** What happens to one tunnel. Chunks are views that are valid during the call only. */
export interface TunnelListener {
  /** The answer was 200. */
  onOpen?(): void
  onData?(chunk: Buffer): void
  /** After a `write` that returned false. */
  onDrain?(): void
  /** The endpoint has ended its direction. */
  onEnd?(): void
  /** Once, last; `error` when the tunnel was refused, reset or lost. */
  onClose?(error?: Error): void
}

export interface Tunnel {
  /** False: write again after `onDrain`. The chunk must not change afterwards. */
  write(chunk: Buffer): boolean
  /** Ends our direction. */
  end(): void
}

export interface TunnelClient {
  open(authority: string, listener: TunnelListener): Tunnel
  /** Drops everything. Idempotent. */
  destroy(): void
}

/** TLS 1.3 suites in the order of deployed clients on machines with AES instructions. */
export const CLIENT_CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
].join(':')

const SETUP_LIMIT_MS = 10_000

/** Options of `tls.connect` towards the endpoint. */
export function tlsOptions({ address, port, serverName }: EndpointAccess, alpn: string) {
  return {
    host: address,
    port,
    servername: serverName,
    ALPNProtocols: [alpn],
    ciphers: CLIENT_CIPHERS,
    rejectUnauthorized: false,
    noDelay: true,
    allowHalfOpen: true,
  }
}

export async function openClient(protocol: Protocol, access: EndpointAccess): Promise<TunnelClient> {
  switch (protocol) {
    case 'h1':
      return new (await import('./http1-client.ts')).Http1Client(access)
    case 'h2':
      return (await import('./http2-client.ts')).Http2Client.open(access)
    case 'h3':
      // Imported on demand: the addon starts threads of its own.
      return (await import('./http3-client.ts')).Http3Client.open(access)
  }
}

/** Opens a tunnel and resolves with it after the 200; `listener` hears what follows. */
export function openTunnel(
  client: TunnelClient,
  authority: string,
  listener: TunnelListener,
): Promise<Tunnel> {
  const { promise, resolve, reject } = Promise.withResolvers<Tunnel>()
  const limit = setTimeout(() => reject(new Error(`no answer to CONNECT ${authority}`)), SETUP_LIMIT_MS)
  const tunnel = client.open(authority, {
    ...listener,
    onOpen: () => {
      clearTimeout(limit)
      listener.onOpen?.()
      resolve(tunnel)
    },
    onClose: (error) => {
      clearTimeout(limit)
      listener.onClose?.(error)
      reject(error ?? new Error(`CONNECT ${authority} ended before an answer`))
    },
  })
  return promise
}
