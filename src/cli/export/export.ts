/** `culvert export`: prints what a user enters into a client (`docs/protocol.md`, "What a client is given"). */
import { createClientConfig, encodeClientLink, encodeClientToml } from './client-config.ts'
import { ConfigError, formatIssue } from '../../config/config-error.ts'
import { loadSettings } from '../../config/load.ts'
import { generatePrefix, prependAllowRule } from './random-rule.ts'
import type { Settings } from '../../config/settings.ts'
import { EndpointError } from '../../errors.ts'
import type { ExportCommand } from '../arguments.ts'
import type { ExitCode, Terminal } from '../terminal.ts'

/** A page that draws the link as a QR code. The link is in the fragment, which browsers do not send. */
const QR_PAGE = 'https://trusttunnel.org/qr.html#tt='
const LINK_PREFIX = 'tt://?'

/** Rejects with a `ConfigError` when the configuration files are wrong. */
export async function runExport(command: ExportCommand, terminal: Terminal): Promise<ExitCode> {
  let settings = await loadSettings(command.vpn, command.hosts)
  for (const warning of settings.warnings) terminal.error(`warning: ${formatIssue(warning)}\n`)
  try {
    let prefix = command.clientRandomPrefix
    if (command.generate !== undefined) {
      prefix = generatePrefix(command.generate)
      prependAllowRule(rulesFile(settings), prefix)
      settings = await loadSettings(command.vpn, command.hosts)
      if (settings.vpn.listen_protocols.quic !== null)
        terminal.error(
          'warning: the new rule asks for the TLS client random, which cannot be seen over QUIC: ' +
            'from the next start or reload on, every QUIC connection is denied\n',
        )
    }
    const { config, warnings } = createClientConfig(settings, { ...command, clientRandomPrefix: prefix })
    for (const warning of warnings) terminal.error(`warning: ${warning}\n`)
    if (command.format === 'toml') {
      terminal.out(encodeClientToml(config))
      return 0
    }
    if (config.clientRandomPskKey !== undefined)
      terminal.error('warning: a deep link cannot carry the client random PSK key; use --format toml\n')
    const link = encodeClientLink(config)
    terminal.out(`${link}\n`)
    // What a script reads is the link alone.
    const hint = command.hintAfterLink ? terminal.out : terminal.error
    hint(
      `To connect on mobile, you can scan QR code on the page: ${QR_PAGE}${link.slice(LINK_PREFIX.length)}\n`,
    )
    return 0
  } catch (error) {
    if (error instanceof ConfigError || !(error instanceof EndpointError)) throw error
    terminal.error(`${error.message}\n`)
    return 1
  }
}

function rulesFile({ vpn }: Settings): string {
  if (vpn.rules_file === null)
    throw new EndpointError('config_invalid', 'a generated prefix needs rules_file in the settings')
  return vpn.rules_file
}
