/** Everything that is wrong with the configuration, in one error. */
import { EndpointError } from '../errors.ts'
import type { ConfigIssue } from './settings.ts'

export class ConfigError extends EndpointError {
  readonly problems: readonly ConfigIssue[]
  readonly warnings: readonly ConfigIssue[]

  constructor(problems: readonly ConfigIssue[], warnings: readonly ConfigIssue[] = []) {
    super('config_invalid', problems.map(formatIssue).join('\n'))
    this.name = 'ConfigError'
    this.problems = problems
    this.warnings = warnings
  }
}

/** `vpn.toml: listen_address: "x" is not allowed; allowed is …` */
export function formatIssue({ file, path, message }: ConfigIssue): string {
  return path === '' ? `${file}: ${message}` : `${file}: ${path}: ${message}`
}
