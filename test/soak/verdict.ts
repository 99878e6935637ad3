/** What a soak has shown: everything that is wrong, in words. */

export interface Sample {
  readonly atMinutes: number
  readonly rssMib: number
}

export interface Findings {
  readonly samples: readonly Sample[]
  readonly failures: ReadonlyMap<string, number>
  /** Lines of the log that warn or complain, by their text. */
  readonly complaints: ReadonlyMap<string, number>
  /** Lanes that were made to fail. */
  readonly laneFailures: number
  /** In the end, when nobody is connected any more. */
  readonly stats: Readonly<Record<string, number>>
  readonly gauges: readonly string[]
  readonly descriptorsBefore: number
  readonly descriptorsAfter: number
  readonly exitCode: number | null
}

/** Nothing in a soak should lead to any of these. */
export const NEVER = [
  'auth_delayed',
  'auth_not_delayed',
  'decoy_failures',
  'http1_head_timeouts',
  'http1_malformed_requests',
  'http1_send_timeouts',
  'http2_limits_met',
  'http2_stuck_downloads',
  'http2_stuck_uploads',
  'http3_faults',
  'http3_handshake_timeouts',
  'http3_head_floods',
  'http3_malformed_requests',
  'outbound_descriptors_exhausted',
  'spill_overflows',
  'user_limits_met',
]
/** Growth that is noise, over what is looked at. */
const MAX_GROWTH_MIB = 8
const MAX_GROWTH_SHARE = 0.05
const EXPECTED_COMPLAINT = 'a lane has failed and is started again'

/** Empty when all is well. */
export function judge(findings: Findings): string[] {
  const { failures, complaints, stats, laneFailures } = findings
  return [
    ...[...failures].map(([what, count]) => `failed ${count} times: ${what}`),
    ...[...complaints]
      .filter(([text, count]) => text !== EXPECTED_COMPLAINT || count !== laneFailures)
      .map(([text, count]) => `in the log ${count} times: ${text}`),
    ...suspicious(stats),
    ...findings.gauges
      .map((name) => [name, stats[name] ?? 0] as const)
      .filter(([, value]) => value !== 0)
      .map(([name, value]) => `${name} is ${value} in the end`),
    ...judgeMemory(findings.samples),
    ...(findings.descriptorsAfter > findings.descriptorsBefore
      ? [`${findings.descriptorsAfter} descriptors in the end, ${findings.descriptorsBefore} before`]
      : []),
    ...(findings.exitCode === 0 ? [] : [`the endpoint ended with ${findings.exitCode}`]),
  ]
}

/** Counters that should be zero and are not. */
export function suspicious(stats: Readonly<Record<string, number>>): string[] {
  return Object.entries(stats)
    .filter(([key, value]) => NEVER.includes(key.replace(/\{.*/, '')) && value !== 0)
    .map(([key, value]) => `${key} ${value}`)
}

function judgeMemory(samples: readonly Sample[]): string[] {
  const growth = growthMib(samples)
  const limit = Math.max(MAX_GROWTH_MIB, MAX_GROWTH_SHARE * (samples.at(-1)?.rssMib ?? 0))
  return growth > limit ? [`grew by ${growth.toFixed(1)} MiB over the last two thirds`] : []
}

/** By how much memory grows over the last two thirds, by the straight line that fits best; 0 for fewer than 2 samples. */
export function growthMib(samples: readonly Sample[]): number {
  const last = samples.slice(Math.floor(samples.length / 3))
  const mean = (values: readonly number[]): number =>
    values.reduce((total, value) => total + value, 0) / values.length
  const atMinutes = last.map((sample) => sample.atMinutes)
  const [middle, average] = [mean(atMinutes), mean(last.map(({ rssMib }) => rssMib))]
  const spread = mean(atMinutes.map((at) => (at - middle) ** 2))
  if (last.length < 2 || spread === 0) return 0
  const slope = mean(last.map((sample) => (sample.atMinutes - middle) * (sample.rssMib - average))) / spread
  return slope * ((atMinutes.at(-1) ?? 0) - (atMinutes[0] ?? 0))
}
