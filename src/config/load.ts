/**
 * Turns the paths of `vpn.toml` and `hosts.toml` into checked settings, or into a list of everything wrong with them.
 */
import { resolve } from 'node:path'
import { ConfigError } from './config-error.ts'
import { checkHosts, checkVpn } from './cross-checks.ts'
import type { VpnChecks } from './cross-checks.ts'
import { loadClients } from './load-clients.ts'
import { loadHosts } from './load-hosts.ts'
import { loadRules } from './load-rules.ts'
import { readToml, resolveBeside } from './config-file.ts'
import { Findings, readFields } from './read.ts'
import { afterReload, keysThatTakeARestart } from './restart-keys.ts'
import { warnOfCoveredRules } from './rule-coverage.ts'
import type { ClientSettings, Settings, VpnSettings } from './settings.ts'
import { vpnFields } from './vpn-fields.ts'

interface LoadOptions {
  /** What the endpoint runs with: keys that take a restart keep these values. */
  readonly running?: VpnSettings
}

export interface LoadedSettings extends Settings {
  /** Keys that were changed in the file and take a restart. */
  readonly waiting: readonly string[]
}

/**
 * Reads all four official files. Paths in them are relative to the working directory or, where nothing is there, to the
 * file that names them.
 *
 * What is checked is what will be in force: with `running`, a file that is sound by itself may not be sound together
 * with the keys that stay as they are.
 *
 * Rejects with a `ConfigError` that has every problem of every file.
 */
export async function loadSettings(
  vpnPath: string,
  hostsPath: string,
  { running }: LoadOptions = {},
): Promise<LoadedSettings> {
  const findings = new Findings()
  const read = loadVpn(vpnPath, findings)
  const vpn = read && running ? afterReload(running, read) : read
  const hosts = loadHosts(resolve(hostsPath), hostsPath, findings)
  const clients = loadClients(vpn?.credentials_file ?? null, findings)
  const rules = loadRules(vpn?.rules_file ?? null, findings)
  if (vpn !== undefined) {
    checkVpn({
      vpn,
      file: vpnPath,
      credentials: credentialsState(vpn, vpnPath, clients, findings),
      rules,
      findings,
    })
    if (hosts !== undefined) checkHosts({ vpn, hosts, file: hostsPath, vpnFile: vpnPath, findings })
  }
  if (rules && vpn?.rules_file) await warnOfCoveredRules(rules, vpn.rules_file, findings)
  noteWithoutEffect(vpnPath, findings)
  const { problems, warnings } = findings
  if (
    problems.length > 0 ||
    vpn === undefined ||
    hosts === undefined ||
    clients === undefined ||
    rules === undefined
  )
    throw new ConfigError(problems, warnings)
  const waiting = read && running ? keysThatTakeARestart(running, read) : []
  return { vpn, hosts, clients, rules, warnings, waiting }
}

/**
 * A file in which every user is wrong does not count as a file without users, nor does one whose name is wrong: these
 * problems say enough.
 */
function credentialsState(
  { credentials_file: file }: VpnSettings,
  vpnPath: string,
  clients: readonly ClientSettings[] | undefined,
  findings: Findings,
): VpnChecks['credentials'] {
  const isTold = findings.problems.some(
    (each) => each.file === file || (each.file === vpnPath && each.path === 'credentials_file'),
  )
  if (clients === undefined || isTold) return 'unreadable'
  return clients.length > 0 ? 'some' : 'none'
}

/** Makes paths absolute here, so that a later change of directory does not matter. */
function loadVpn(vpnPath: string, findings: Findings): VpnSettings | undefined {
  const file = resolve(vpnPath)
  const raw = readToml(file, vpnPath, 'Invalid settings file', findings)
  if (raw === undefined) return undefined
  const vpn = readFields(vpnFields, raw, vpnPath, findings)
  if (vpn === undefined) return undefined
  const beside = (path: string | null) => (path === null ? null : resolveBeside(path, file))
  const { decoy, http3 } = vpn.culvert
  return {
    ...vpn,
    credentials_file: beside(vpn.credentials_file),
    rules_file: beside(vpn.rules_file),
    culvert: {
      ...vpn.culvert,
      decoy: { ...decoy, root: beside(decoy.root) },
      http3: { ...http3, spill_directory: beside(http3.spill_directory) },
    },
  }
}

/** One warning for all keys that are set but have no effect. */
function noteWithoutEffect(file: string, findings: Findings): void {
  const parts = [
    findings.later.size > 0 ? `not built yet: ${[...findings.later].join(', ')}` : '',
    findings.ignored.size > 0 ? `accepted for compatibility: ${[...findings.ignored].join(', ')}` : '',
  ].filter((part) => part !== '')
  if (parts.length > 0) findings.warn(file, '', `keys without effect (${parts.join('; ')})`)
}
