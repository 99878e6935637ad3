/** What `--help` and `--version` print. */
import { readFileSync } from 'node:fs'

export const HELP = `culvert: a VPN endpoint, compatible with TrustTunnel

  culvert try                             try it on this machine, no files needed; what it makes is kept in
                                          CULVERT_TRY_DIR or in ~/.local/state/culvert/try
  culvert serve VPN HOSTS [options]       serve with the official files vpn.toml and hosts.toml
      -l, --loglvl LEVEL                  trace, debug, info (default), warn or error
      --logfile FILE                      write the log there; SIGHUP opens it anew
      --jobs N                            lanes, each a thread (default: one per processor)
  culvert export USER -a ADDRESS VPN HOSTS [options]
                                          print what USER puts into a client
      -a, --address ADDRESS               where clients connect to: host or address, with or without a
                                          port; may be repeated
      -f, --format deeplink|toml          default deeplink
      -s, --custom-sni NAME               server name that the client sends
      -r, --client-random-prefix HEX      start of the TLS random that the client sends
      --generate-client-random-prefix     make one and allow it in the rules file; from then on every QUIC
                                          connection is denied, since its TLS random cannot be seen
        --prefix-length BYTES             default 4
        --prefix-percent PERCENT          share of its bits that are fixed, default 70
        --prefix-mask HEX                 exactly these bits instead
      --client-random-psk-key HEX         key of the TLS random; TOML only
      -n, --name NAME                     name that the client shows
      -d, --dns-upstream SERVER           resolver that the client uses; may be repeated
  culvert config [FILE]                   print a complete sample of vpn.toml (default), hosts.toml,
                                          credentials.toml or rules.toml
  culvert --help, culvert --version

Signals: SIGTERM and SIGINT let open streams end (a second one does not), SIGHUP reads the files again.
Exit codes: 0 ended in order, 1 failed, 2 wrong command line or configuration.
`

export const LEGACY_HELP = `trusttunnel_endpoint (culvert), with the arguments of the reference endpoint

  trusttunnel_endpoint VPN HOSTS [-l LEVEL] [--logfile FILE] [--jobs N] [--sentry_dsn DSN]
  trusttunnel_endpoint VPN HOSTS -c USER -a ADDRESS... [-f toml|deeplink] [-s NAME] [-r HEX]
      [--generate-client-random-prefix [--prefix-length N] [--prefix-percent N] [--prefix-mask HEX]]
      [--client-random-psk-key HEX] [-n NAME] [-d SERVER]...
  trusttunnel_endpoint --version

culvert --help explains the options.
`

export function readVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  return version
}
