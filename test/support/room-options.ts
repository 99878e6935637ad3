/** The options that the lane gives the rooms when a file says nothing, for tests that build a single room. */
export const UDP_OPTIONS = {
  maxFlowsPerStream: 1024,
  maxFlowsPerUser: 4096,
  maxFlows: 16_384,
  queueBytes: 1024 * 1024,
  queueDatagrams: 4096,
} as const

export const UDP_EGRESS_OPTIONS = { maxSendQueueBytes: 256 * 1024, mayDial: (): boolean => true } as const

export const ICMP_OPTIONS = {
  interfaceName: undefined,
  requestTimeoutMs: 3000,
  maxPending: 16_384,
  maxPendingPerUser: 1024,
} as const

export const ICMP_QUEUE = { queueCapacity: 256 } as const

export const HTTP3_OPTIONS = {
  maxIdleTimeoutMs: 74_000,
  handshakeTimeoutMs: 10_000,
  initialMaxDataBytes: 104_857_600,
  maxStreamsBidi: 4096,
  disableActiveMigration: true,
  maxConnections: 10_000,
  retry: true,
  eventDebt: 0,
  isHeir: false,
} as const
