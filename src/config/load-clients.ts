/** `credentials.toml`: the users, including the spellings that the reference endpoint accepts. */
import { readToml } from './config-file.ts'
import { credentialsFields } from './credentials-fields.ts'
import { readFields, type Findings } from './read.ts'
import type { ClientAlias, ClientSettings } from './settings.ts'

type Entry = Omit<ClientSettings, 'aliases'>
/** Stands in `docs/sample/credentials.toml`. */
const SAMPLE_PASSWORD = credentialsFields.client.fields.password.example

type Credentials = Pick<ClientAlias, 'username' | 'password'>

/**
 * No file means no users. Returns undefined when the file is wrong. Neither passwords nor their lengths are ever
 * reported.
 */
export function loadClients(file: string | null, findings: Findings): readonly ClientSettings[] | undefined {
  if (file === null) return []
  const raw = readToml(file, file, 'Invalid credentials file', findings)
  if (raw === undefined) return undefined
  const entries = readFields(credentialsFields, raw, file, findings)?.client ?? []
  const seen = new Set<string>()
  for (const entry of entries) {
    const path = findings.placeOf(entry)
    if (seen.has(entry.username)) findings.problem(file, path, `Username must be unique: ${entry.username}`)
    seen.add(entry.username)
    if (entry.password === SAMPLE_PASSWORD)
      findings.warn(
        file,
        path,
        'the password is that of the sample, which everybody can read: choose another',
      )
    if (`${entry.username}${entry.password}${entry.password_previous ?? ''}`.includes('\0'))
      findings.problem(file, path, 'username and password must not contain a NUL character')
  }
  return entries.map((entry) => ({
    ...entry,
    aliases: aliasesOf(entry, {
      warn: (message) => findings.warn(file, findings.placeOf(entry), message),
      problem: (message) => findings.problem(file, findings.placeOf(entry), message),
      wrong: findings.isWrong(file, findings.placeOf(entry)),
    }),
  }))
}

interface Report {
  readonly warn: (message: string) => void
  readonly problem: (message: string) => void
  /** Whether a key of the user was wrong, and stands here as if it were absent. */
  readonly wrong: boolean
}

function aliasesOf(entry: Entry, report: Report): ClientAlias[] {
  const aliases = spellingsOf(entry, report.warn).map((each) => ({ ...each, validUntil: null }))
  return [...aliases, ...formerOf(entry, report)]
}

/** The previous password. It stays after its time: as long as it is in the file, what it opened goes on. */
function formerOf(entry: Entry, { warn, problem, wrong }: Report): ClientAlias[] {
  const { username, password_previous: password, previous_until: validUntil } = entry
  if (password === null && validUntil === null) return []
  if (password === null || validUntil === null) {
    if (!wrong) problem('password_previous and previous_until belong together')
    return []
  }
  if (validUntil <= Date.now()) {
    warn(`password_previous has ended on ${new Date(validUntil).toISOString()} and lets nobody in`)
  }
  const former = { username, password }
  return [former, ...spellingsOf(former, () => {})].map((each) => ({ ...each, validUntil }))
}

/**
 * The reference endpoint takes the raw text of the file, removes every quotation mark, trims the ends, and never splits
 * at the colon. Clients that were set up with it keep working; the value that TOML means works as well.
 */
function spellingsOf(credentials: Credentials, warn: (message: string) => void): Credentials[] {
  const spellings: Credentials[] = []
  const stripped = { username: strip(credentials.username), password: strip(credentials.password) }
  if (stripped.username !== credentials.username || stripped.password !== credentials.password) {
    warn('quotation marks or outer blanks: accepted as written and, for compatibility, without them')
    if (stripped.username !== '' && stripped.password !== '') spellings.push(stripped)
  }
  for (const each of [credentials, ...spellings]) {
    const colon = each.username.indexOf(':')
    if (colon === -1) continue
    warn('the username contains a colon, where Basic authentication ends it')
    const username = each.username.slice(0, colon)
    spellings.push({ username, password: `${each.username.slice(colon + 1)}:${each.password}` })
  }
  return spellings
}

function strip(text: string): string {
  return text.replaceAll('"', '').trim()
}
