/** Writes a self-signed certificate for the given names to certs/; `--help` explains it. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { createSelfSignedCertificate } from '../src/cli/try/certificate.ts'

const DAYS = 365
const DIRECTORY = fileURLToPath(new URL('../certs/', import.meta.url))
const USAGE = `usage: make-certificate.ts [--force] [--directory DIRECTORY] NAME...

Writes a self-signed certificate to cert.pem and its key to key.pem, valid for ${DAYS} days.
  NAME...                host names and addresses, the main one first
  --directory DIRECTORY  where to; by default certs/ of this checkout
  --force                replace files that are there
`

process.exitCode = run(process.argv.slice(2))

function run(args: string[]): number {
  let given: ReturnType<typeof parse>
  try {
    given = parse(args)
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`)
    return 2
  }
  const { values, positionals: names } = given
  if (values.help === true) {
    process.stdout.write(USAGE)
    return 0
  }
  if (names.length === 0) {
    process.stderr.write(USAGE)
    return 2
  }
  return write(values.directory ?? DIRECTORY, names, values.force === true)
}

function parse(args: string[]) {
  return parseArgs({
    args,
    allowPositionals: true,
    options: {
      help: { type: 'boolean', short: 'h' },
      force: { type: 'boolean' },
      directory: { type: 'string' },
    },
  })
}

function write(directory: string, names: readonly string[], force: boolean): number {
  const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')]
  const present = [cert, key].filter((path) => existsSync(path))
  if (present.length > 0 && !force) {
    process.stderr.write(`already there, kept: ${present.join(', ')}; --force replaces\n`)
    return 1
  }
  const { certificate, privateKey } = createSelfSignedCertificate({ names, days: DAYS })
  mkdirSync(directory, { recursive: true })
  // A file that is there would keep its permissions.
  for (const path of present) rmSync(path)
  writeFileSync(cert, certificate)
  writeFileSync(key, privateKey, { mode: 0o600 })
  process.stdout.write(`${cert} and ${key}: ${names.join(', ')}, valid for ${DAYS} days\n`)
  return 0
}
